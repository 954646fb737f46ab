/** Where in a file something stands: the field that JSON decoding refuses, and the line of a field path. */
import {
  fromJson,
  isMessage,
  type DescField,
  type DescMessage,
  type JsonValue,
  type Registry,
} from '@bufbuild/protobuf'
import { suggestName } from './spelling.ts'

export type FieldProblem = { readonly field: string; readonly problem: string }

/** A file with more mistakes than these is another kind of file. */
const MAX_PROBLEMS = 50

/** What may be written. */
export type Known = { readonly registry: Registry }
type Finding = { readonly known: Known; readonly found: FieldProblem[] }

/**
 * Which fields of `json` make it no `schema` (protobuf JSON, either spelling of names). Called when decoding the whole
 * has failed.
 */
export function findJsonProblems(schema: DescMessage, json: JsonValue, known: Known): FieldProblem[] {
  const found: FieldProblem[] = []
  inMessage(schema, { json, path: '' }, { known, found })
  return found
}

/** A value in the file: `path` leads to it. */
type Part = { readonly json: JsonValue; readonly path: string }

function inMessage(schema: DescMessage, { json, path }: Part, to: Finding): void {
  const { found } = to
  if (found.length >= MAX_PROBLEMS) return
  if (schema.typeName === 'google.protobuf.Any') {
    inAny({ json, path }, to)
    return
  }
  if (schema.typeName.startsWith('google.protobuf.')) {
    tryWhole(schema, { json, path }, to)
    return
  }
  if (!isObject(json)) {
    found.push({ field: path, problem: `must be an object (${schema.typeName})` })
    return
  }
  for (const [key, value] of Object.entries(json)) {
    const field = schema.fields.find((f) => f.name === key || f.jsonName === key)
    const part = { json: value, path: path === '' ? key : `${path}.${key}` }
    if (!field) {
      const names = schema.fields.map((f) => f.name)
      found.push({ field: part.path, problem: `unknown field of ${schema.typeName}${suggestName(key, names)}` })
    } else if (field.message && value !== null && value !== undefined) inMessageField(field, field.message, part, to)
    else if (value !== null && value !== undefined) tryWhole(schema, { json: { [key]: value }, path: part.path }, to)
  }
}

function inMessageField(field: DescField, message: DescMessage, { json, path }: Part, to: Finding): void {
  if (field.fieldKind === 'list' && Array.isArray(json))
    json.forEach((v, i) => inMessage(message, { json: v, path: `${path}[${i}]` }, to))
  else if (field.fieldKind === 'map' && isObject(json))
    for (const [key, v] of Object.entries(json)) inMessage(message, { json: v, path: `${path}[${key}]` }, to)
  else if (field.fieldKind === 'list' || field.fieldKind === 'map')
    to.found.push({ field: path, problem: `must be ${field.fieldKind === 'list' ? 'a list' : 'an object'}` })
  else inMessage(message, { json, path }, to)
}

function inAny({ json, path }: Part, to: Finding): void {
  const { found } = to
  if (!isObject(json) || typeof json['@type'] !== 'string') {
    found.push({ field: path, problem: 'must be an object with "@type"' })
    return
  }
  const { '@type': url, ...rest } = json
  const schema = to.known.registry.getMessage(stripTypePrefix(url))
  if (!schema)
    found.push({
      field: `${path}.@type`,
      problem: `${stripTypePrefix(url)} is no type of Envoy's${suggestName(stripTypePrefix(url), listTypeNames(to.known))}`,
    })
  else if (schema.typeName.startsWith('google.protobuf.')) tryWhole(schema, { json: rest['value'] ?? {}, path }, to)
  else inMessage(schema, { json: rest, path }, to)
}

function tryWhole(schema: DescMessage, { json, path }: Part, { known, found }: Finding): void {
  try {
    const made = fromJson(schema, json, { registry: known.registry })
    if (!isMessage(made)) found.push({ field: path, problem: 'is no message' })
  } catch (err) {
    found.push({ field: path, problem: explainJson(err) })
  }
}

export const stripTypePrefix = (url: string): string => url.slice(url.lastIndexOf('/') + 1)
export function listTypeNames({ registry }: Known): string[] {
  return Array.from(registry, (type) => type.typeName)
}

/** protobuf-es names the field's type in front; the path already tells. */
export function explainJson(err: unknown): string {
  const text = err instanceof Error ? err.message : String(err)
  return text.replace(/^cannot decode (message|field) \S+ from JSON: /, '')
}

export function isObject(json: JsonValue | undefined): json is { [key: string]: JsonValue } {
  return typeof json === 'object' && json !== null && !Array.isArray(json)
}

/** Nodes of a text that was read, whatever they are. */
export type Tree<N> = {
  start(node: N): number
  item(node: N, i: number): N | undefined
  members(node: N): Iterable<{ readonly key: string; readonly start: number; readonly value: N }>
  /** From 1. */
  lineAt(offset: number): number
}

/**
 * The line of the deepest part of `path` that is there, below `node`.
 * @param path as issues have it: "filter_chains[0].filters[2].typed_config", map keys in brackets
 */
export function findLine<N>(tree: Tree<N>, node: N, path: string): number {
  let here = node
  let start = tree.start(here)
  let rest = path
  while (rest !== '') {
    const step = stepInto(tree, here, rest)
    if (!step) break
    start = step.start
    here = step.value
    rest = step.rest
  }
  return tree.lineAt(start)
}

type Into<N> = { readonly value: N; readonly start: number; readonly rest: string }

function stepInto<N>(tree: Tree<N>, node: N, path: string): Into<N> | undefined {
  const text = path.startsWith('.') ? path.slice(1) : path
  const index = /^\[(\d+)\]/.exec(text)
  const item = index ? tree.item(node, Number(index[1])) : undefined
  if (index && item !== undefined) return { value: item, start: tree.start(item), rest: text.slice(index[0].length) }
  // Map keys may hold brackets and dots themselves (ns[a]-policy[b]-rule[0]), so the text's own keys are tried.
  for (const { key, start, value } of tree.members(node)) {
    for (const spelling of [`[${key}]`, snake(key), key]) {
      const next = text[spelling.length]
      if (text.startsWith(spelling) && (next === undefined || next === '.' || next === '['))
        return { value, start, rest: text.slice(spelling.length) }
    }
  }
  return undefined
}

/** lowerCamelCase as JSON may have it → the proto's name, which paths have. */
const snake = (name: string): string => name.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`)
