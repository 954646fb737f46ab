/**
 * One resource file → resources as bytes, with every mistake at its line. Envoy's own JSON and YAML: `resources:
 * [...]`, a list, or one resource.
 */
import path from 'node:path'
import { fromJson, toBinary, type DescMessage, type JsonObject, type JsonValue } from '@bufbuild/protobuf'
import { explainYamlFailure } from '../../core/yaml.ts'
import { TYPE_URLS, type Issue, type ResourceKind } from '../../model/snapshot.ts'
import type { ReadFile } from '../decode/fields/decode-path.ts'
import { decode } from '../decode/decode.ts'
import {
  stripTypePrefix,
  isObject,
  findJsonProblems,
  explainJson,
  type FieldProblem,
  type Known,
} from './text/locate.ts'
import { withStructs } from './other-types.ts'
import { suggestName } from './text/spelling.ts'
import { readText, type ReadText } from './text/read-text.ts'

/** `istio`: what is compiled to resources before anybody is sent it; the hub only takes such files. */
export type FileKind = ResourceKind | 'istio'
/** `value`: the Any's value. `line` counts from 1. */
export type FileResource = {
  readonly kind: FileKind
  readonly name: string
  readonly value: Uint8Array
  readonly file: string
  readonly line: number
}
/**
 * `resource`: type and name as far as known; `field` in Envoy's field names. Both '' where the file as a whole is
 * meant.
 */
export type FileProblem = {
  readonly file: string
  readonly line: number
  /** Counts from 1; left out: the line says enough. */
  readonly column?: number
  readonly resource: string
  readonly field: string
  readonly problem: string
}
/**
 * `problems`: resources that are not among `resources`. `blocked`: what those hold that cannot be taken; these pieces
 * of them refuse.
 */
export type FileContent = {
  readonly resources: readonly FileResource[]
  readonly problems: readonly FileProblem[]
  readonly blocked?: readonly FileProblem[]
}

const KINDS: ReadonlyMap<string, ResourceKind> = new Map(
  Object.entries(TYPE_URLS).map(([kind, url]) => [stripTypePrefix(url), kind as ResourceKind]),
)

/**
 * Never throws.
 * @param file the name for messages;
 * @param readFile for DataSources with a file name;
 * @param folder where names that are not absolute begin
 */
export function parseFile(file: string, text: string, readFile: ReadFile, known: Known, folder?: string): FileContent {
  try {
    const read = readText(file, text)
    if (!read.ok)
      return { resources: [], problems: read.problems.map((p) => ({ file, resource: '', field: '', ...p })) }
    const json =
      folder !== undefined && /filename|file-(?:root|cert):/.test(text)
        ? withAbsoluteNames(read.json as JsonValue, folder)
        : read.json
    return resourcesOf(file, { ...read, json }, readFile, known)
  } catch (err) {
    // Nesting so deep that the stack ends, or more aliases than are unfolded.
    return blockWholeFile(file, explainYamlFailure(err))
  }
}

export function blockWholeFile(file: string, problem: string): FileContent {
  return { resources: [], problems: [{ file, line: 1, resource: '', field: '', problem }] }
}

function resourcesOf(
  file: string,
  read: Extract<ReadText, { ok: true }>,
  readFile: ReadFile,
  known: Known,
): FileContent {
  const found = itemsOf(read.json)
  if (!found)
    return blockWholeFile(file, 'holds no resources: expected "resources:", a list, or one resource with "@type"')
  const resources: FileResource[] = []
  const problems: FileProblem[] = []
  const blocked: FileProblem[] = []
  for (const { item, path } of found) {
    const made = oneResource(item, readFile, known)
    if ('problems' in made)
      problems.push(
        ...made.problems.map((p) => ({ file, line: read.lineOf(path, p.field), resource: made.resource, ...p })),
      )
    else {
      resources.push({ kind: made.kind, name: made.name, value: made.value, file, line: read.lineOf(path, '') })
      blocked.push(
        ...made.blocked.map((p) => ({ file, line: read.lineOf(path, p.field), resource: made.resource, ...p })),
      )
    }
  }
  return { resources, problems, blocked }
}

/** As the problems of a resource name it. */
export function formatLabel({ kind, name }: Pick<FileResource, 'kind' | 'name'>): string {
  if (kind === 'istio') return name
  return label(stripTypePrefix(TYPE_URLS[kind]), name)
}
function label(type: string, name: string): string {
  return `${type.slice(type.lastIndexOf('.') + 1)} "${name}"`
}

/** DataSources name files from where they stand: whoever reads them later is somewhere else. */
function withAbsoluteNames(json: JsonValue, folder: string): JsonValue {
  if (Array.isArray(json)) return json.map((one) => withAbsoluteNames(one, folder))
  if (!isObject(json)) return json
  const file = json['filename']
  if (typeof file === 'string' && file !== '' && Object.keys(json).every((key) => DATA_SOURCE.has(key)))
    return { ...json, filename: path.resolve(folder, file) }
  return Object.fromEntries(
    Object.entries(json).map(([key, value]) => [
      key,
      key === 'name' && typeof value === 'string' ? secretName(value, folder) : withAbsoluteNames(value, folder),
    ]),
  )
}
/** Istio's names of secrets that are files: `file-root:FILE`, `file-cert:CHAIN~KEY`. */
function secretName(name: string, folder: string): string {
  const [, kind, files = ''] = /^(file-root|file-cert):(.+)$/.exec(name) ?? []
  return kind === undefined || files === 'system'
    ? name
    : `${kind}:${files
        .split('~')
        .map((file) => path.resolve(folder, file))
        .join('~')}`
}
const DATA_SOURCE: ReadonlySet<string> = new Set(['filename', 'watched_directory', 'watchedDirectory'])

type Item = { readonly item: JsonValue; readonly path: readonly (string | number)[] }

function itemsOf(json: unknown): Item[] | undefined {
  if (isObject(json as JsonValue) && '@type' in (json as JsonObject)) return [{ item: json as JsonObject, path: [] }]
  const within = isObject(json as JsonValue) ? (json as JsonObject)['resources'] : undefined
  const list = Array.isArray(json) ? (json as JsonValue[]) : Array.isArray(within) ? within : undefined
  const outer = list === within ? ['resources'] : []
  return list?.map((item, i) => {
    const path = [...outer, i]
    // A delta DiscoveryResponse wraps each one: {name, version, resource}.
    if (!isObject(item) || '@type' in item || !isObject(item['resource'])) return { item, path }
    return { item: item['resource'], path: [...path, 'resource'] }
  })
}

type Refused = { readonly resource: string; readonly problems: readonly FieldProblem[] }

type Made = Omit<FileResource, 'file' | 'line' | 'kind'> & {
  readonly kind: ResourceKind
  readonly resource: string
  readonly blocked: readonly FieldProblem[]
}

function oneResource(item: JsonValue, readFile: ReadFile, known: Known): Made | Refused {
  if (!isObject(item) || typeof item['@type'] !== 'string')
    return { resource: '', problems: [{ field: '', problem: 'a resource must be an object with "@type"' }] }
  const { '@type': url, ...rest } = item
  const type = stripTypePrefix(url)
  const kind = KINDS.get(type)
  const schema = known.registry.getMessage(type)
  if (!kind || !schema)
    return {
      resource: type,
      problems: [{ field: '@type', problem: `no resource type: ${url}${suggestName(type, KINDS.keys())}` }],
    }
  const name = [rest['name'], rest['cluster_name'], rest['clusterName']].find((n) => typeof n === 'string') ?? ''
  const resource = label(type, name)
  const value = bytesOf(schema, rest, known)
  if (!(value instanceof Uint8Array)) return { resource, problems: value }
  const decoded = decode(kind, value, { readFile })
  if (!decoded.ok) return { resource, problems: decoded.issues.map(fieldProblem) }
  return { kind, name, value, resource, blocked: decoded.blocked.map(fieldProblem) }
}

function fieldProblem({ path, problem }: Issue): FieldProblem {
  return { field: path, problem }
}

function bytesOf(schema: DescMessage, json: JsonObject, known: Known): Uint8Array | FieldProblem[] {
  const { registry } = known
  const encoded = (from: JsonValue): Uint8Array => toBinary(schema, fromJson(schema, from, { registry }))
  try {
    return encoded(json)
  } catch {
    /* a type that is not in the registry, or a mistake */
  }
  const whole = withStructs(schema, json, known)
  try {
    return encoded(whole)
  } catch (err) {
    const located = findJsonProblems(schema, whole, known)
    return located.length > 0 ? located : [{ field: '', problem: explainJson(err) }]
  }
}
