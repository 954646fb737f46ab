/** One resource file → resources as bytes, with every mistake at its line. Envoy's own JSON and YAML: `resources: [...]`, a list, or one resource. */
import { fromJson, toBinary, type DescMessage, type JsonObject, type JsonValue } from '@bufbuild/protobuf'
import { isMap, isSeq, LineCounter, parseDocument, type Document, type Node } from 'yaml'
import { TYPE_URLS, type ResourceKind } from '../../agent/model/snapshot.ts'
import type { ReadFile } from '../decode/at.ts'
import { decode } from '../decode/decode.ts'
import { registry } from '../proto/registry.ts'
import { jsonProblems, jsonReason, lineOf, type FieldProblem } from './locate.ts'

/** `value`: the Any's value. `line` counts from 1. */
export type FileResource = { readonly kind: ResourceKind; readonly name: string; readonly value: Uint8Array; readonly file: string; readonly line: number }
/** `resource`: type and name as far as known; `field` in Envoy's field names. Both '' where the file as a whole is meant. */
export type FileProblem = { readonly file: string; readonly line: number; readonly resource: string; readonly field: string; readonly problem: string }
export type FileContent = { readonly resources: readonly FileResource[]; readonly problems: readonly FileProblem[] }

const KINDS: ReadonlyMap<string, ResourceKind> = new Map(Object.entries(TYPE_URLS).map(([kind, url]) => [bareType(url), kind as ResourceKind]))

/** Never throws. @param file the name for messages; @param readFile for DataSources with a file name. */
export function parseFile(file: string, text: string, readFile: ReadFile): FileContent {
  const lines = new LineCounter()
  let json: unknown
  let document: Document.Parsed
  try {
    document = parseDocument(text, { lineCounter: lines, prettyErrors: false })
    const broken = document.errors.map((e) => ({ file, line: lines.linePos(e.pos[0]).line || 1, resource: '', field: '', problem: e.message }))
    if (broken.length > 0) return { resources: [], problems: broken }
    json = document.toJS({ maxAliasCount: 1000 })
  } catch (err) {
    return { resources: [], problems: [{ file, line: 1, resource: '', field: '', problem: err instanceof Error ? err.message : String(err) }] }
  }
  const found = itemsOf(json, document)
  if (!found) return { resources: [], problems: [{ file, line: 1, resource: '', field: '', problem: 'holds no resources: expected "resources:", a list, or one resource with "@type"' }] }
  const resources: FileResource[] = []
  const problems: FileProblem[] = []
  for (const { item, node } of found) {
    const at = { file, line: (field: string) => lineOf(document, lines, node, field) }
    const made = oneResource(item, readFile)
    if ('problems' in made) problems.push(...made.problems.map((p) => ({ file, line: at.line(p.field), resource: made.resource, ...p })))
    else resources.push({ ...made, file, line: at.line('') })
  }
  return { resources, problems }
}

type Item = { readonly item: JsonValue; readonly node: Node | undefined }

function itemsOf(json: unknown, { contents }: Document.Parsed): Item[] | undefined {
  if (isObject(json) && '@type' in json) return [{ item: json, node: contents ?? undefined }]
  const list = Array.isArray(json) ? json as JsonValue[] : isObject(json) && Array.isArray(json['resources']) ? json['resources'] : undefined
  if (!list) return undefined
  const seq = isMap(contents) ? contents.get('resources', true) as unknown : contents
  return list.map((item, i) => {
    const node = isSeq(seq) ? seq.items[i] as Node | undefined : undefined
    // A delta DiscoveryResponse wraps each one: {name, version, resource}.
    if (!isObject(item) || '@type' in item || !isObject(item['resource'])) return { item, node }
    return { item: item['resource'], node: isMap(node) ? node.get('resource', true) as Node | undefined : node }
  })
}

type Refused = { readonly resource: string; readonly problems: readonly FieldProblem[] }

function oneResource(item: JsonValue, readFile: ReadFile): Omit<FileResource, 'file' | 'line'> | Refused {
  if (!isObject(item) || typeof item['@type'] !== 'string') return { resource: '', problems: [{ field: '', problem: 'a resource must be an object with "@type"' }] }
  const { '@type': url, ...rest } = item
  const type = bareType(url)
  const kind = KINDS.get(type)
  const schema = registry().getMessage(type)
  if (!kind || !schema) return { resource: type, problems: [{ field: '@type', problem: `no resource type: ${url}` }] }
  const name = [rest['name'], rest['cluster_name'], rest['clusterName']].find((n) => typeof n === 'string') ?? ''
  const resource = `${type.slice(type.lastIndexOf('.') + 1)} "${name}"`
  const value = bytesOf(schema, rest)
  if (!(value instanceof Uint8Array)) return { resource, problems: value }
  const decoded = decode(kind, value, { readFile })
  if (!decoded.ok) return { resource, problems: decoded.issues.map((i) => ({ field: i.path, problem: i.problem })) }
  return { kind, name, value }
}

function bytesOf(schema: DescMessage, json: JsonObject): Uint8Array | FieldProblem[] {
  try { return toBinary(schema, fromJson(schema, json, { registry: registry() })) } catch (err) {
    const located = jsonProblems(schema, json)
    return located.length > 0 ? located : [{ field: '', problem: jsonReason(err) }]
  }
}

function bareType(url: string): string { return url.slice(url.lastIndexOf('/') + 1) }
function isObject(json: unknown): json is JsonObject { return typeof json === 'object' && json !== null && !Array.isArray(json) }
