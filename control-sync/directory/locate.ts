/** Where in a file something stands: the field that JSON decoding refuses, and the line of a field path. */
import { fromJson, isMessage, type DescField, type DescMessage, type JsonValue } from '@bufbuild/protobuf'
import { isCollection, isMap, isScalar, isSeq, type Document, type LineCounter, type Node } from 'yaml'
import { registry } from '../proto/registry.ts'

export type FieldProblem = { readonly field: string; readonly problem: string }

/** A file with more mistakes than these is another kind of file. */
const MAX_PROBLEMS = 50

/** Which fields of `json` make it no `schema` (protobuf JSON, either spelling of names). Called when decoding the whole has failed. */
export function jsonProblems(schema: DescMessage, json: JsonValue): FieldProblem[] {
  const found: FieldProblem[] = []
  inMessage(schema, json, '', found)
  return found
}

function inMessage(schema: DescMessage, json: JsonValue, path: string, found: FieldProblem[]): void {
  if (found.length >= MAX_PROBLEMS) return
  if (schema.typeName === 'google.protobuf.Any') { inAny(json, path, found); return }
  if (schema.typeName.startsWith('google.protobuf.')) { tryWhole(schema, json, path, found); return }
  if (!isObject(json)) { found.push({ field: path, problem: `must be an object (${schema.typeName})` }); return }
  for (const [key, value] of Object.entries(json)) {
    const at = path === '' ? key : `${path}.${key}`
    const field = schema.fields.find((f) => f.name === key || f.jsonName === key)
    if (!field) found.push({ field: at, problem: `unknown field of ${schema.typeName}` })
    else if (value !== null && value !== undefined) inField(schema, field, key, value, at, found)
  }
}

function inField(schema: DescMessage, field: DescField, key: string, value: JsonValue, at: string, found: FieldProblem[]): void {
  const { message } = field
  if (!message) tryWhole(schema, { [key]: value }, at, found)
  else if (field.fieldKind === 'list' && Array.isArray(value)) value.forEach((v, i) => inMessage(message, v, `${at}[${i}]`, found))
  else if (field.fieldKind === 'map' && isObject(value)) for (const [k, v] of Object.entries(value)) inMessage(message, v, `${at}[${k}]`, found)
  else if (field.fieldKind === 'list' || field.fieldKind === 'map') found.push({ field: at, problem: `must be ${field.fieldKind === 'list' ? 'a list' : 'an object'}` })
  else inMessage(message, value, at, found)
}

function inAny(json: JsonValue, path: string, found: FieldProblem[]): void {
  if (!isObject(json) || typeof json['@type'] !== 'string') { found.push({ field: path, problem: 'must be an object with "@type"' }); return }
  const { '@type': url, ...rest } = json
  const schema = registry().getMessage(url.slice(url.lastIndexOf('/') + 1))
  if (!schema) found.push({ field: `${path}.@type`, problem: `meshlet does not know the type ${url}` })
  else if (schema.typeName.startsWith('google.protobuf.')) tryWhole(schema, rest['value'] ?? {}, path, found)
  else inMessage(schema, rest, path, found)
}

function tryWhole(schema: DescMessage, json: JsonValue, at: string, found: FieldProblem[]): void {
  try {
    const made = fromJson(schema, json, { registry: registry() })
    if (!isMessage(made)) found.push({ field: at, problem: 'is no message' })
  } catch (err) { found.push({ field: at, problem: jsonReason(err) }) }
}

/** protobuf-es names the field's type in front; the path already tells. */
export function jsonReason(err: unknown): string {
  const text = err instanceof Error ? err.message : String(err)
  return text.replace(/^cannot decode (message|field) \S+ from JSON: /, '')
}

function isObject(json: JsonValue | undefined): json is { [key: string]: JsonValue } { return typeof json === 'object' && json !== null && !Array.isArray(json) }

/**
 * The line (from 1) of the deepest part of `path` that the document has, below `node`.
 * @param path as issues have it: "filter_chains[0].filters[2].typed_config", map keys in brackets
 */
export function lineOf(document: Document.Parsed, lines: LineCounter, node: Node | undefined, path: string): number {
  let here = node ?? document.contents ?? undefined
  let start = here?.range?.[0] ?? 0
  let rest = path
  while (rest !== '' && here && isCollection(here)) {
    const step = stepInto(here, rest)
    if (!step) break
    start = step.start
    here = step.value
    rest = step.rest
  }
  return lines.linePos(start).line || 1
}

type Into = { readonly value: Node | undefined; readonly start: number; readonly rest: string }

function stepInto(node: Node, path: string): Into | undefined {
  const text = path.startsWith('.') ? path.slice(1) : path
  const index = /^\[(\d+)\]/.exec(text)
  if (isSeq(node) && index) {
    const value = node.items[Number(index[1])] as Node | undefined
    return value && { value, start: value.range?.[0] ?? 0, rest: text.slice(index[0].length) }
  }
  if (!isMap(node)) return undefined
  // Map keys may hold brackets and dots themselves (ns[a]-policy[b]-rule[0]), so the document's own keys are tried.
  for (const { key, value } of node.items) {
    const name = isScalar(key) && (typeof key.value === 'string' || typeof key.value === 'number') ? String(key.value) : ''
    for (const spelling of [`[${name}]`, snake(name), name]) {
      const next = text[spelling.length]
      if (name !== '' && text.startsWith(spelling) && (next === undefined || next === '.' || next === '[')) {
        return { value: (value ?? undefined) as Node | undefined, start: (key as Node).range?.[0] ?? 0, rest: text.slice(spelling.length) }
      }
    }
  }
  return undefined
}

/** lowerCamelCase as JSON may have it → the proto's name, which paths have. */
const snake = (name: string): string => name.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`)
