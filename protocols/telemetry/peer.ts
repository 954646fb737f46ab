/**
 * Who the other side says it is: Istio's exchange headers, W3C baggage, an endpoint's metadata. What a peer says is for
 * metrics alone, and no policy is asked about it.
 */
import type { Json } from '../../model/http/metadata.ts'
import type { Workload } from '../../model/access-log/workload.ts'
import { decodeStruct, encodeStruct } from '../protobuf/struct.ts'

/** In base64; a workload's metadata is some 400 bytes. */
export const MAX_METADATA_LENGTH = 4 * 1024

/**
 * The value of x-envoy-peer-metadata: a google.protobuf.Struct in base64.
 * @returns undefined for anything else
 */
export function parsePeerMetadata(text: string): Workload | undefined {
  if (text === '' || text.length > MAX_METADATA_LENGTH) return undefined
  return readPeerFields(decodeStruct(Buffer.from(text, 'base64')))
}

/** @returns undefined for anything else than fields of a workload */
export function readPeerFields(fields: Json): Workload | undefined {
  if (!isObject(fields) || Object.keys(fields).length === 0) return undefined
  const labels = fields['LABELS']
  const label = (name: string): string => (isObject(labels) ? asText(labels[name]) : '')
  return {
    name: asText(fields['WORKLOAD_NAME']),
    namespace: asText(fields['NAMESPACE']),
    canonicalService: label('service.istio.io/canonical-name'),
    canonicalRevision: label('service.istio.io/canonical-revision'),
    cluster: asText(fields['CLUSTER_ID']),
    app: label('app'),
    version: label('version'),
  }
}

/** The same for our own side. In the order of the keys, as Istio writes it. */
export function formatPeerMetadata(own: Workload): string {
  return encodeStruct(listPeerFields(own)).finish().toString('base64')
}

export function listPeerFields(own: Workload): { readonly [key: string]: Json } {
  const labels = {
    app: own.app,
    'service.istio.io/canonical-name': own.canonicalService,
    'service.istio.io/canonical-revision': own.canonicalRevision,
    version: own.version,
  }
  const fields = {
    CLUSTER_ID: own.cluster,
    LABELS: withoutEmpty(labels),
    NAMESPACE: own.namespace,
    WORKLOAD_NAME: own.name,
  }
  return withoutEmpty<Json>(fields)
}

const withoutEmpty = <T>(fields: Readonly<Record<string, T>>): Record<string, T> =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== ''))
const isObject = (value: Json): value is { readonly [key: string]: Json } =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
const asText = (value: Json): string => (typeof value === 'string' ? value : '')

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

/** What ztunnel and istiod call a workload by. @returns '' where nothing is known of it */
export function formatBaggage(of: Workload): string {
  return Object.entries({
    'k8s.cluster.name': of.cluster,
    'k8s.namespace.name': of.namespace,
    'k8s.deployment.name': of.name,
    'service.name': of.canonicalService,
    'service.version': of.canonicalRevision,
  })
    .filter(([, value]) => /^[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]+$/.test(value))
    .map(([key, value]) => `${key}=${value}`)
    .join(',')
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
