/** YAML text → a checked, frozen value, or every mistake at once with its line. Shared by the configuration files of both programs. */
import { LineCounter, parseDocument, type Document } from 'yaml'
import type * as z from 'zod'
import { MeshError } from './errors.ts'

export type ConfigProblem = { readonly line: number; readonly path: string; readonly problem: string }
export type LoadedYaml<T> = { readonly ok: true; readonly config: T } | { readonly ok: false; readonly problems: readonly ConfigProblem[] }

/** @param whereToLook follows the words "is not a setting" */
export function loadYaml<T>(schema: z.ZodType<T>, text: string, whereToLook: string): LoadedYaml<T> {
  const lines = new LineCounter()
  const doc = parseDocument(text, { lineCounter: lines, uniqueKeys: true })
  const broken = doc.errors.map((e) => ({ line: e.linePos?.[0].line ?? 1, path: '', problem: e.message.split('\n')[0]!.replace(/ at line \d+.*$/, '') }))
  if (broken.length) return { ok: false, problems: broken }
  let plain: unknown
  try { plain = doc.toJS({ maxAliasCount: 100 }) ?? {} } catch (err) {
    return { ok: false, problems: [{ line: 1, path: '', problem: err instanceof Error ? lowerFirst(err.message) : 'cannot be read' }] }
  }
  // A schema is used once per start: compiling a function for it costs more than it saves.
  const parsed = schema.safeParse(plain, { jitless: true })
  if (parsed.success) return { ok: true, config: deepFreeze(parsed.data) }
  const problems = parsed.error.issues.flatMap((issue) => problemsOf(issue, doc, lines, whereToLook))
  return { ok: false, problems: problems.sort((a, b) => a.line - b.line) }
}

/** One MESH_CONFIG_INVALID that names every line. */
export function configError(file: string, problems: readonly ConfigProblem[]): MeshError {
  const list = problems.map((p) => `\n  ${file}:${p.line}: ${p.path ? `${p.path}: ` : ''}${p.problem}`).join('')
  return new MeshError('MESH_CONFIG_INVALID', `${problems.length === 1 ? 'a mistake' : `${problems.length} mistakes`} in the configuration:${list}`)
}

function problemsOf(issue: z.core.$ZodIssue, doc: Document, lines: LineCounter, whereToLook: string): ConfigProblem[] {
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({ ...place([...issue.path, key], doc, lines), problem: `is not a setting (${whereToLook})` }))
  }
  return [{ ...place(issue.path, doc, lines), problem: lowerFirst(issue.message) }]
}

/** The line of the nearest part of the path that the file has. */
function place(path: readonly PropertyKey[], doc: Document, lines: LineCounter): { line: number; path: string } {
  const name = path.map((p, i) => (typeof p === 'number' ? `[${p}]` : `${i ? '.' : ''}${String(p)}`)).join('')
  for (let depth = path.length; depth > 0; depth--) {
    const at = keyOffset(doc, path.slice(0, depth))
    if (at !== undefined) return { line: lines.linePos(at).line, path: name }
  }
  return { line: 1, path: name }
}

function keyOffset(doc: Document, path: readonly PropertyKey[]): number | undefined {
  const parent: unknown = path.length === 1 ? doc.contents : doc.getIn(path.slice(0, -1), true)
  const last = path.at(-1)
  const { items } = (parent ?? {}) as { items?: { key?: { value?: unknown; range?: [number, number, number] }; range?: [number, number, number] }[] }
  if (!items) return undefined
  if (typeof last === 'number') return items[last]?.range?.[0]
  return items.find((pair) => pair.key?.value === last)?.key?.range?.[0]
}

const lowerFirst = (text: string): string => text.charAt(0).toLowerCase() + text.slice(1)

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value)
    for (const inner of Object.values(value)) deepFreeze(inner)
  }
  return value
}
