/**
 * Who the other side says it is: Istio's exchange headers, W3C baggage, an endpoint's metadata. What a peer says is for
 * metrics alone, and no policy is asked about it.
 */
import type { Workload } from '../../model/telemetry.ts'

/** In base64; a workload's metadata is some 400 bytes. */
export const MAX_METADATA_LENGTH = 4 * 1024

/**
 * The value of x-envoy-peer-metadata: a google.protobuf.Struct in base64.
 * @returns undefined for anything else
 */
export function parsePeerMetadata(text: string): Workload | undefined {
  if (text === '' || text.length > MAX_METADATA_LENGTH) return undefined
  const fields = readStruct(Buffer.from(text, 'base64'))
  if (!fields || fields.size === 0) return undefined
  const labels = fields.get('LABELS')
  const label = (name: string): string => (labels instanceof Map ? asText(labels.get(name)) : '')
  return {
    name: asText(fields.get('WORKLOAD_NAME')),
    namespace: asText(fields.get('NAMESPACE')),
    canonicalService: label('service.istio.io/canonical-name'),
    canonicalRevision: label('service.istio.io/canonical-revision'),
    cluster: asText(fields.get('CLUSTER_ID')),
    app: label('app'),
    version: label('version'),
  }
}

/** The same for our own side. In the order of the keys, as Istio writes it. */
export function formatPeerMetadata(own: Workload): string {
  const labels: [string, Buffer][] = []
  for (const [name, value] of [
    ['app', own.app],
    ['service.istio.io/canonical-name', own.canonicalService],
    ['service.istio.io/canonical-revision', own.canonicalRevision],
    ['version', own.version],
  ] as const)
    if (value !== '') labels.push([name, writeField(STRING_VALUE, Buffer.from(value))])
  const fields: [string, Buffer][] = [['LABELS', writeField(STRUCT_VALUE, writeStruct(labels))]]
  if (own.cluster !== '') fields.unshift(['CLUSTER_ID', writeField(STRING_VALUE, Buffer.from(own.cluster))])
  if (own.namespace !== '') fields.push(['NAMESPACE', writeField(STRING_VALUE, Buffer.from(own.namespace))])
  if (own.name !== '') fields.push(['WORKLOAD_NAME', writeField(STRING_VALUE, Buffer.from(own.name))])
  return writeStruct(fields).toString('base64')
}

/** filter_metadata.istio.workload of an endpoint: "name;namespace;canonical service;revision;cluster". */
export function parseEndpointWorkload(text: string): Workload | undefined {
  const [name, namespace, canonicalService, canonicalRevision, cluster] = text.split(';', 6)
  if (cluster === undefined) return undefined
  return {
    name: name!,
    namespace: namespace!,
    canonicalService: canonicalService!,
    canonicalRevision: canonicalRevision!,
    cluster,
    app: '',
    version: '',
  }
}

const BAGGAGE: Readonly<Record<string, keyof Workload>> = {
  'k8s.namespace.name': 'namespace',
  'k8s.cluster.name': 'cluster',
  'service.name': 'canonicalService',
  'service.version': 'canonicalRevision',
  'app.name': 'app',
  'app.version': 'version',
  'k8s.deployment.name': 'name',
  'k8s.pod.name': 'name',
  'k8s.job.name': 'name',
  'k8s.cronjob.name': 'name',
}

/** W3C baggage with the keys of an ambient mesh. @returns undefined where it says nothing of a workload */
export function parseBaggage(text: string): Workload | undefined {
  if (text.length > MAX_METADATA_LENGTH) return undefined
  const found: { -readonly [field in keyof Workload]?: string } = {}
  for (const member of text.split(',')) {
    const [pair = ''] = member.split(';', 1)
    const at = pair.indexOf('=')
    const key = pair.slice(0, Math.max(0, at)).trim()
    if (Object.hasOwn(BAGGAGE, key)) found[BAGGAGE[key]!] = pair.slice(at + 1).trim()
  }
  if (Object.keys(found).length === 0) return undefined
  const { name = '', namespace = '', canonicalService = '', canonicalRevision = '' } = found
  const { cluster = '', app = '', version = '' } = found
  return { name, namespace, canonicalService, canonicalRevision, cluster, app, version }
}

/* google.protobuf.Struct: texts, and structs of texts within. */

type Fields = Map<string, string | Fields>

/** Field numbers of Struct, of an entry of its map, and of Value. */
const FIELDS = 1
const KEY = 1
const VALUE = 2
const STRING_VALUE = 3
const STRUCT_VALUE = 5
const MAX_DEPTH = 2

function asText(value: string | Fields | undefined): string {
  return typeof value === 'string' ? value : ''
}

/** @returns undefined for bytes that are no Struct */
function readStruct(bytes: Buffer, depth = 1): Fields | undefined {
  const entries = readMessage(bytes)
  if (!entries) return undefined
  const fields: Fields = new Map()
  for (const [no, entry] of entries) {
    if (no !== FIELDS) continue
    const parts = readMessage(entry)
    const value = parts && readMessage(parts.findLast(([n]) => n === VALUE)?.[1] ?? EMPTY)
    if (!value) return undefined
    const key = parts.findLast(([n]) => n === KEY)?.[1].toString('utf8') ?? ''
    const [kind, content = EMPTY] = value.at(-1) ?? []
    if (kind === STRING_VALUE) fields.set(key, content.toString('utf8'))
    else if (kind === STRUCT_VALUE && depth < MAX_DEPTH) {
      const within = readStruct(content, depth + 1)
      if (!within) return undefined
      fields.set(key, within)
    }
  }
  return fields
}

const EMPTY = Buffer.alloc(0)

/** @returns its fields with a length; undefined where the bytes are no message */
function readMessage(bytes: Buffer): (readonly [no: number, content: Buffer])[] | undefined {
  const fields: (readonly [number, Buffer])[] = []
  let at = 0
  const varint = (): number => {
    let value = 0
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = bytes[at++]
      if (byte === undefined) return NaN
      value += (byte & 0x7f) * 2 ** shift
      if (byte < 0x80) return value
    }
    return NaN
  }
  while (at < bytes.length) {
    const tag = varint()
    switch (tag % 8) {
      case 0:
        varint()
        break
      case 1:
        at += 8
        break
      case 2: {
        const length = varint()
        if (!(at + length <= bytes.length)) return undefined
        fields.push([Math.floor(tag / 8), bytes.subarray(at, at + length)])
        at += length
        break
      }
      case 5:
        at += 4
        break
      default:
        return undefined
    }
  }
  return at === bytes.length ? fields : undefined
}

function writeStruct(fields: readonly (readonly [name: string, value: Buffer])[]): Buffer {
  return Buffer.concat(
    fields.map(([name, value]) =>
      writeField(FIELDS, Buffer.concat([writeField(KEY, Buffer.from(name)), writeField(VALUE, value)])),
    ),
  )
}

function writeField(no: number, content: Buffer): Buffer {
  const head = [no * 8 + 2]
  let rest = content.length
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) head.push((rest & 0x7f) | 0x80)
  return Buffer.concat([Buffer.from([...head, rest]), content])
}
