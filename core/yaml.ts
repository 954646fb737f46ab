/**
 * YAML text → a checked, frozen value, or every mistake at once with its line. Shared by the configuration files of
 * both programs.
 */
import {
  isAlias,
  isCollection,
  isMap,
  isNode,
  isPair,
  isScalar,
  LineCounter,
  parseDocument,
  type Document,
  type YAMLMap,
} from 'yaml'
import type * as z from 'zod'
import { MeshError } from './errors.ts'

/** `line` 0: the place has no lines, as an environment. `file`: where it is not the file that was loaded. */
export type ConfigProblem = {
  readonly line: number
  readonly path: string
  readonly problem: string
  readonly file?: string
}
export type LoadedYaml<T> =
  | { readonly ok: true; readonly config: T }
  | { readonly ok: false; readonly problems: readonly ConfigProblem[] }

/** Settings from elsewhere: `beneath` is overridden by the file, `above` overrides it. */
export type Layers = { readonly beneath?: Layer | undefined; readonly above?: Layer | undefined }
export type Layer = { readonly settings: object; originOf(path: readonly PropertyKey[]): Origin | undefined }
export type Origin = { readonly file: string; readonly line: number }

/** A YAML text as plain data, with the line of each key. */
export type ReadYaml = {
  readonly plain: unknown
  readonly problems: readonly ConfigProblem[]
  lineOf(path: readonly PropertyKey[]): number | undefined
}

/** `offset` in the text, from 0. */
export type YamlMistake = { readonly offset: number; readonly problem: string }

/** How a text is parsed that listYamlMistakes looks at: the parser compares each key of a map with all before it. */
export const PARSE_YAML = { uniqueKeys: false, prettyErrors: false } as const

/**
 * With keys that stand twice (YAML 1.2.2 §3.2.1.3), tags that nobody resolves (what they are on would be taken as if they
 * were not there), and more aliases than can be resolved in seconds. Throws RangeError for nesting so deep that the
 * stack ends.
 */
export function listYamlMistakes({ errors, warnings, contents }: Document.Parsed): readonly YamlMistake[] {
  const unresolved = warnings.filter(({ code }) => code === 'TAG_RESOLVE_FAILED')
  const told = [...errors, ...unresolved].map((e) => ({ offset: e.pos[0], problem: explainYamlFailure(e) }))
  const seen = new SeenNodes()
  seen.look(contents, 'nothing')
  const { aliases, anchors, nested, nodes } = seen
  // The parser looks at every anchor for an alias, and at every node for those that stand in what has an anchor.
  if (aliases * (aliases + anchors + nested * nodes) > MAX_ALIAS_STEPS)
    seen.found.push({ offset: 0, problem: `it has too many aliases (${aliases}) for its size` })
  return [...told, ...seen.found]
}
const MAX_ALIAS_STEPS = 10_000_000

class SeenNodes {
  nodes = 0
  anchors = 0
  aliases = 0
  /** Aliases within what has an anchor. */
  nested = 0
  readonly found: YamlMistake[] = []

  look(node: unknown, within: 'anchor' | 'nothing'): void {
    this.nodes++
    if (isAlias(node)) {
      this.aliases++
      if (within === 'anchor') this.nested++
      return
    }
    if (isPair(node)) {
      this.look(node.key, within)
      this.look(node.value, within)
      return
    }
    const hasOwn = isNode(node) && node.anchor !== undefined
    if (hasOwn) this.anchors++
    if (!isCollection(node)) return
    if (isMap(node)) this.#compareKeys(node)
    for (const item of node.items) this.look(item, hasOwn ? 'anchor' : within)
  }

  #compareKeys({ items }: YAMLMap): void {
    const keys = new Set<unknown>()
    for (const { key } of items) {
      if (!isScalar(key)) continue
      if (keys.has(key.value)) this.found.push({ offset: key.range?.[0] ?? 0, problem: 'Map keys must be unique' })
      keys.add(key.value)
    }
  }
}

/** @param thrown by the parser, or by what makes data of a document */
export function explainYamlFailure(thrown: unknown): string {
  if (!(thrown instanceof Error)) return 'it cannot be read'
  // The parser catches what the end of the stack throws, and tells it as a mistake of the text.
  if (thrown.message.includes('call stack')) return 'it is nested more deeply than can be read'
  return thrown.message.split('\n')[0]!.replace(/ at line \d+.*$/, '')
}

/** Never throws. */
export function readYaml(text: string): ReadYaml {
  try {
    return readDocument(text)
  } catch (err) {
    return {
      plain: {},
      problems: [{ line: 1, path: '', problem: lowerFirst(explainYamlFailure(err)) }],
      lineOf: () => undefined,
    }
  }
}

function readDocument(text: string): ReadYaml {
  const lines = new LineCounter()
  const doc = parseDocument(text, { ...PARSE_YAML, lineCounter: lines })
  const lineOf = (path: readonly PropertyKey[]): number | undefined => {
    const at = keyOffset(doc, path)
    return at === undefined ? undefined : lines.linePos(at).line
  }
  const broken = listYamlMistakes(doc).map(({ offset, problem }) => ({
    line: lines.linePos(offset).line || 1,
    path: '',
    problem,
  }))
  if (broken.length) return { plain: {}, problems: broken, lineOf }
  return { plain: doc.toJS({ maxAliasCount: 100 }) ?? {}, problems: [], lineOf }
}

/** @param whereToLook follows the words "is not a setting" */
export function loadYaml<T>(
  schema: z.ZodType<T>,
  text: string,
  whereToLook: string,
  layers: Layers = {},
): LoadedYaml<T> {
  const { plain, problems: broken, lineOf } = readYaml(text)
  if (broken.length) return { ok: false, problems: broken }
  // A schema is used once per start: compiling a function for it costs more than it saves.
  const parsed = schema.safeParse(over(layers.above?.settings, over(plain, layers.beneath?.settings ?? {})), {
    jitless: true,
  })
  if (parsed.success) return { ok: true, config: deepFreeze(parsed.data) }
  const problems = parsed.error.issues.flatMap((issue) =>
    problemsOf(issue, (path) => place(path, lineOf, layers), whereToLook),
  )
  return { ok: false, problems: problems.sort((a, b) => a.line - b.line) }
}

/** One MESH_CONFIG_INVALID that names every line. */
export function toConfigError(file: string, problems: readonly ConfigProblem[]): MeshError {
  const list = problems
    .map((p) => `\n  ${p.file ?? file}${p.line > 0 ? `:${p.line}` : ''}: ${p.path ? `${p.path}: ` : ''}${p.problem}`)
    .join('')
  return new MeshError(
    'MESH_CONFIG_INVALID',
    `${problems.length === 1 ? 'a mistake' : `${problems.length} mistakes`} in the configuration:${list}`,
  )
}

/** Objects are merged, everything else is replaced. */
function over(upper: unknown, lower: unknown): unknown {
  if (upper === undefined) return lower
  if (!isObject(upper) || !isObject(lower)) return upper
  return {
    ...lower,
    ...Object.fromEntries(Object.entries(upper).map(([key, value]) => [key, over(value, lower[key])])),
  }
}
const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

type Place = { readonly line: number; readonly path: string; readonly file?: string }

function problemsOf(
  issue: z.core.$ZodIssue,
  placeOf: (path: readonly PropertyKey[]) => Place,
  whereToLook: string,
): ConfigProblem[] {
  if (issue.code === 'unrecognized_keys')
    return issue.keys.map((key) => ({ ...placeOf([...issue.path, key]), problem: `is not a setting (${whereToLook})` }))
  return [{ ...placeOf(issue.path), problem: lowerFirst(issue.message) }]
}

/** Where the path stands; else the line of the nearest part of it that the file has. */
function place(path: readonly PropertyKey[], lineOf: ReadYaml['lineOf'], { above, beneath }: Layers): Place {
  const name = path.map((p, i) => (typeof p === 'number' ? `[${p}]` : `${i ? '.' : ''}${String(p)}`)).join('')
  for (let depth = path.length; depth > 0; depth--) {
    const part = path.slice(0, depth)
    const uppermost = above?.originOf(part)
    if (uppermost) return { ...uppermost, path: name }
    const line = lineOf(part)
    if (line !== undefined) return { line, path: name }
    const origin = beneath?.originOf(part)
    if (origin) return { ...origin, path: name }
  }
  return { line: 1, path: name }
}

function keyOffset(doc: Document, path: readonly PropertyKey[]): number | undefined {
  const parent: unknown = path.length === 1 ? doc.contents : doc.getIn(path.slice(0, -1), true)
  const last = path.at(-1)
  const { items } = (parent ?? {}) as {
    items?: { key?: { value?: unknown; range?: [number, number, number] }; range?: [number, number, number] }[]
  }
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
