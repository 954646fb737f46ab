/** The text of a resource file → plain data, and where in it something stands. */
import { isMap, isScalar, isSeq, LineCounter, parseDocument, type Node } from 'yaml'
import { listYamlMistakes, PARSE_YAML } from '../../../core/yaml.ts'
import { JsonPlaces } from './json-places.ts'
import { findMistake } from './json-mistake.ts'
import { findLine, type Tree } from './locate.ts'
import { YamlParts, type Place } from './yaml-parts.ts'

export type ReadText =
  | {
      readonly ok: true
      readonly json: unknown
      /** From 1. @param path of keys and numbers @param field below it, as issues have it */ lineOf(
        path: readonly (string | number)[],
        field: string,
      ): number
    }
  | { readonly ok: false; readonly problems: readonly { readonly line: number; readonly problem: string }[] }

/** YAML's aliases may make this much more of a text than it has characters: a few lines could stand for gigabytes. */
const MAX_EXPANSION = 10
const ALWAYS_ALLOWED = 100_000
const MAX_ALIASES = 1_000
/** The document tree of more would take tens of megabytes. */
const LARGE_CHARS = 128 * 1024

/** @throws RangeError for nesting so deep that the stack ends */
export function readText(file: string, text: string): ReadText {
  return /\.json$/i.test(file) ? readJson(text) : readYaml(text)
}

function readJson(text: string): ReadText {
  const places = new JsonPlaces(text)
  try {
    const json: unknown = JSON.parse(text)
    return { ok: true, json, lineOf: (path, field) => placeIn(JSON_TREE(places), 0, path, field) }
  } catch (err) {
    if (!(err instanceof SyntaxError)) throw err
    return {
      ok: false,
      problems: [
        {
          line: places.lineAt(findMistake(text)),
          problem: `no JSON: ${err.message.replace(/ (in JSON )?at position.*$/s, '').slice(0, 200)}`,
        },
      ],
    }
  }
}

function readYaml(text: string): ReadText {
  const parts = text.length > LARGE_CHARS ? YamlParts.of(text) : undefined
  if (parts)
    return {
      ok: true,
      json: parts.root.json,
      lineOf: (path, field) => placeIn<Place>(parts.tree(), { part: parts.root }, path, field),
    }
  const lines = new LineCounter()
  const document = parseDocument(text, { ...PARSE_YAML, lineCounter: lines })
  const mistakes = listYamlMistakes(document)
  if (mistakes.length > 0)
    return {
      ok: false,
      problems: mistakes.map(({ offset, problem }) => ({ line: lines.linePos(offset).line || 1, problem })),
    }
  const json: unknown = document.toJS({ maxAliasCount: MAX_ALIASES })
  if (text.includes('*') && isLargerThan(json, Math.max(ALWAYS_ALLOWED, text.length * MAX_EXPANSION))) {
    return { ok: false, problems: [{ line: 1, problem: `its aliases make more than ${MAX_EXPANSION} times of it` }] }
  }
  const tree: Tree<Node | undefined> = { ...YAML_TREE, lineAt: (offset) => lines.linePos(offset).line || 1 }
  return { ok: true, json, lineOf: (path, field) => placeIn(tree, document.contents ?? undefined, path, field) }
}

/** As a person would write it out. */
function isLargerThan(json: unknown, most: number): boolean {
  let left = most
  const walk = (value: unknown): void => {
    left -= typeof value === 'string' ? value.length + 1 : 1
    if (left < 0 || typeof value !== 'object' || value === null) return
    for (const [key, inner] of Object.entries(value)) {
      left -= key.length
      walk(inner)
      if (left < 0) return
    }
  }
  walk(json)
  return left < 0
}

/** An outer part that is not there ends the way: its line is the nearest. */
function placeIn<N>(tree: Tree<N>, root: N, path: readonly (string | number)[], field: string): number {
  let node = root
  for (const step of path) {
    const next = typeof step === 'number' ? tree.item(node, step) : findMember(tree, node, step)
    if (next === undefined) break
    node = next
  }
  return findLine(tree, node, field)
}

/** No further than that: what follows may be the whole file, and each of its resources asks. */
function findMember<N>(tree: Tree<N>, node: N, key: string): N | undefined {
  for (const member of tree.members(node)) if (member.key === key) return member.value
  return undefined
}

const YAML_TREE: Omit<Tree<Node | undefined>, 'lineAt'> = {
  start: (node) => node?.range?.[0] ?? 0,
  item: (node, i) => (isSeq(node) ? (node.items[i] as Node | undefined) : undefined),
  *members(node) {
    if (!isMap(node)) return
    for (const { key, value } of node.items) {
      const name =
        isScalar(key) && (typeof key.value === 'string' || typeof key.value === 'number') ? String(key.value) : ''
      if (name !== '')
        yield { key: name, start: (key as Node).range?.[0] ?? 0, value: (value ?? undefined) as Node | undefined }
    }
  },
}

function JSON_TREE(places: JsonPlaces): Tree<number> {
  return {
    start: (offset) => offset,
    item: (offset, i) => places.item(offset, i),
    members: (offset) => places.members(offset),
    lineAt: (offset) => places.lineAt(offset),
  }
}
