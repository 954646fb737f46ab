/**
 * Attributes of Envoy that expressions may name. A name that is none of them is refused when the configuration comes; one
 * that a request does not have is an error of the evaluation.
 * https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/advanced/attributes
 */
import type { Json } from '../../http/metadata.ts'
import type { Workload } from '../workload.ts'
import { formatAddress } from '../operators.ts'
import type { LogFacts } from '../facts.ts'

export type CelValue = string | number | boolean | null | readonly CelValue[] | CelMap
/** Of which a key is looked up. */
export type CelMap = { readonly find: (key: string) => CelValue | undefined }
type Read = (facts: LogFacts) => CelValue | undefined

/** By attribute, a leaf each. */
const ATTRIBUTES: Readonly<Record<string, Read>> = {
  'request.path': (f) => f.request(':path'),
  'request.url_path': (f) => f.request(':path')?.split('?', 1)[0],
  'request.host': (f) => f.request(':authority'),
  'request.scheme': (f) => f.request(':scheme'),
  'request.method': (f) => f.request(':method'),
  'request.headers': (f) => ({ find: (key) => f.request(key.toLowerCase()) }),
  'request.referer': (f) => f.request('referer'),
  'request.useragent': (f) => f.request('user-agent'),
  'request.id': (f) => f.request('x-request-id'),
  'request.protocol': (f) => f.protocol,
  'request.query': (f) => f.request(':path') && (/\?(.*)/s.exec(f.request(':path')!)?.[1] ?? ''),
  'request.duration': (f) => f.time('DS_TX_END'),
  'request.size': (f) => f.receivedBytes,
  'response.code': (f) => f.status,
  'response.code_details': (f) => f.codeDetails,
  'response.flags': flagBits,
  'response.grpc_status': (f) => f.grpcStatus,
  'response.headers': (f) => ({ find: (key) => f.response(key.toLowerCase()) }),
  'response.trailers': (f) => ({ find: (key) => f.trailer(key.toLowerCase()) }),
  'response.size': (f) => f.sentBytes,
  'source.address': (f) => formatAddress(f.client),
  'source.port': (f) => f.client.port,
  'destination.address': (f) => formatAddress(f.local),
  'destination.port': (f) => f.local.port,
  'connection.id': (f) => Number.parseInt(f.connectionId, 36),
  'connection.mtls': (f) => f.peer !== undefined,
  'connection.requested_server_name': (f) => f.serverName ?? '',
  'connection.tls_version': (f) => f.tlsVersion,
  'connection.subject_peer_certificate': (f) => f.peer?.subject,
  'connection.dns_san_peer_certificate': (f) => f.peer?.dnsSans[0],
  'connection.uri_san_peer_certificate': (f) => f.peer?.uriSans[0],
  'connection.uri_san_local_certificate': (f) => f.ownUri,
  'connection.sha256_peer_certificate_digest': (f) => f.peer?.sha256,
  'connection.termination_details': (f) => f.terminationDetails,
  'upstream.address': (f) => f.upstream && formatAddress(f.upstream),
  'upstream.port': (f) => f.upstream?.port,
  'upstream.subject_peer_certificate': (f) => f.upstreamPeer?.subject,
  'upstream.dns_san_peer_certificate': (f) => f.upstreamPeer?.dnsSans[0],
  'upstream.uri_san_peer_certificate': (f) => f.upstreamPeer?.uriSans[0],
  'upstream.local_address': (f) => f.upstreamLocal && formatAddress(f.upstreamLocal),
  'upstream.transport_failure_reason': (f) => f.upstreamFailure ?? '',
  'upstream.request_attempt_count': (f) => f.attempts,
  'xds.cluster_name': (f) => f.cluster,
  'xds.route_name': (f) => f.routeName,
  'xds.filter_chain_name': (f) => f.filterChain,
  // envoy.config.core.v3.TrafficDirection
  'xds.listener_direction': (f) => ['unspecified', 'inbound', 'outbound'].indexOf(f.direction),
  'metadata.filter_metadata': (f) => toCel(f.metadata),
  // Istio's peer metadata: the client is known on the way in, the server on the way out.
  'filter_state.downstream_peer': (f) => (f.direction === 'inbound' ? describePeer(f.peerWorkload) : undefined),
  'filter_state.upstream_peer': (f) => (f.direction !== 'inbound' ? describePeer(f.peerWorkload) : undefined),
}

/** As Istio names them. */
const PEER_FIELDS: Readonly<Record<string, keyof Workload>> = {
  app: 'app',
  cluster: 'cluster',
  namespace: 'namespace',
  revision: 'canonicalRevision',
  service: 'canonicalService',
  version: 'version',
  workload: 'name',
}
function describePeer(peer: Workload | undefined): CelMap | undefined {
  return peer && { find: (key) => (Object.hasOwn(PEER_FIELDS, key) ? peer[PEER_FIELDS[key]!] || undefined : undefined) }
}

/** @returns undefined where any field may be there */
export function hasField(attribute: string, field: string): boolean | undefined {
  return attribute.startsWith('filter_state.') ? Object.hasOwn(PEER_FIELDS, field) : undefined
}

function toCel(json: Json | undefined): CelValue | undefined {
  if (json === undefined || json === null || typeof json !== 'object') return json
  if (isList(json)) return json.map((item) => toCel(item) ?? null)
  return { find: (key) => (Object.hasOwn(json, key) ? toCel(json[key]) : undefined) }
}
const isList = (json: Json): json is readonly Json[] => Array.isArray(json)

export function findAttribute(name: string): Read | undefined {
  return Object.hasOwn(ATTRIBUTES, name) ? ATTRIBUTES[name] : undefined
}
export function isAttributeGroup(name: string): boolean {
  return GROUPS.has(name)
}
const GROUPS: ReadonlySet<string> = new Set(Object.keys(ATTRIBUTES).map((name) => name.split('.', 1)[0]!))

/** Bits of Envoy's CoreResponseFlag, in its order. */
const BITS = [
  'LH',
  'UH',
  'UT',
  'LR',
  'UR',
  'UF',
  'UC',
  'UO',
  'NR',
  'DI',
  'FI',
  'RL',
  'UAEX',
  'RLSE',
  'DC',
  'URX',
  'SI',
  'IH',
  'DPE',
  'UMSDR',
  'RFCF',
  'NFCF',
  'DT',
  'UPE',
  'NC',
  'OM',
  'DF',
  'DO',
  'DR',
]
function flagBits({ flags }: LogFacts): number {
  return flags.reduce((bits, flag) => bits + (BITS.includes(flag) ? 2 ** BITS.indexOf(flag) : 0), 0)
}
