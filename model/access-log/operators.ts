/**
 * Command operators of Envoy's access logs. https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage
 * A value keeps its type in JSON. Pure.
 */
import type { Json } from '../http/metadata.ts'
import { compileTimeText } from '../time-text.ts'
import { GRPC_STATUS_NAMES } from './grpc-status-names.ts'
import { LONG_FLAGS } from './response-flags.ts'
import type { HostPort, LogFacts, TimePoint } from './facts.ts'

/** Undefined: there is none. */
export type LogValue = string | number | Json
export type Read = (facts: LogFacts) => LogValue
/** @returns undefined for an argument that it does not take */
type Make = (argument: string) => Read | undefined

/** Without an argument. */
const PLAIN: Readonly<Record<string, Read>> = {
  ACCESS_LOG_TYPE: (f) => f.type,
  BYTES_RECEIVED: (f) => f.receivedBytes,
  BYTES_SENT: (f) => f.sentBytes,
  CONNECTION_ID: (f) => Number.parseInt(f.connectionId, 36),
  CONNECTION_TERMINATION_DETAILS: (f) => f.terminationDetails,
  DOWNSTREAM_DIRECT_REMOTE_ADDRESS: (f) => formatAddress(f.remote),
  DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT: (f) => f.remote.host,
  DOWNSTREAM_DIRECT_REMOTE_PORT: (f) => f.remote.port,
  DOWNSTREAM_LOCAL_ADDRESS: (f) => formatAddress(f.local),
  DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT: (f) => f.local.host,
  DOWNSTREAM_LOCAL_PORT: (f) => f.local.port,
  DOWNSTREAM_LOCAL_URI_SAN: (f) => f.ownUri,
  DOWNSTREAM_PEER_CERT_V_END: (f) => f.peer && formatTime(f.peer.notAfterMs),
  DOWNSTREAM_PEER_DNS_SAN: (f) => joined(f.peer?.dnsSans),
  DOWNSTREAM_PEER_FINGERPRINT_256: (f) => f.peer?.sha256,
  DOWNSTREAM_PEER_SUBJECT: (f) => encode(f.peer?.subject) || undefined,
  DOWNSTREAM_PEER_URI_SAN: (f) => joined(f.peer?.uriSans),
  DOWNSTREAM_REMOTE_ADDRESS: (f) => formatAddress(f.client),
  DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT: (f) => f.client.host,
  DOWNSTREAM_REMOTE_PORT: (f) => f.client.port,
  DOWNSTREAM_TLS_VERSION: (f) => f.tlsVersion,
  DURATION: (f) => between(f, 'DS_RX_BEG', 'DS_TX_END'),
  EMIT_TIME: (f) => formatTime(f.endedMs, 3),
  FILTER_CHAIN_NAME: (f) => encode(f.filterChain),
  GRPC_STATUS: (f) => GRPC_STATUS_NAMES.camel(f.grpcStatus),
  GRPC_STATUS_NUMBER: (f) => f.grpcStatus,
  LOCAL_REPLY_BODY: (f) => f.localReplyBody ?? '',
  PROTOCOL: (f) => f.protocol,
  REQUESTED_SERVER_NAME: (f) => encode(f.serverName),
  REQUEST_DURATION: (f) => between(f, 'DS_RX_BEG', 'DS_RX_END'),
  REQUEST_TX_DURATION: (f) => between(f, 'DS_RX_BEG', 'US_TX_END'),
  RESPONSE_CODE: (f) => f.status,
  RESPONSE_CODE_DETAILS: (f) => f.codeDetails,
  RESPONSE_DURATION: (f) => between(f, 'DS_RX_BEG', 'US_RX_BEG'),
  RESPONSE_FLAGS: (f) => f.flags.join(',') || '-',
  RESPONSE_FLAGS_LONG: (f) => f.flags.map((flag) => LONG_FLAGS[flag] ?? flag).join(',') || '-',
  RESPONSE_TX_DURATION: (f) => between(f, 'US_RX_BEG', 'DS_TX_END'),
  ROUTE_NAME: (f) => encode(f.routeName),
  SPAN_ID: (f) => f.spanId,
  START_TIME: (f) => formatTime(f.startedMs, 3),
  STREAM_ID: (f) => f.request('x-request-id'),
  TRACE_ID: (f) => f.traceId,
  UPSTREAM_CLUSTER: (f) => encode(f.cluster),
  UPSTREAM_CLUSTER_RAW: (f) => encode(f.cluster),
  UPSTREAM_CONNECTION_POOL_READY_DURATION: (f) => between(f, 'US_CX_BEG', 'US_TX_BEG'),
  UPSTREAM_HOST: (f) => address(f.upstream),
  UPSTREAM_HOST_NAME: (f) => encode(f.upstreamName) ?? address(f.upstream),
  UPSTREAM_HOST_NAME_WITHOUT_PORT: (f) => encode(f.upstreamName)?.replace(/:\d+$/, '') ?? f.upstream?.host,
  UPSTREAM_LOCAL_ADDRESS: (f) => address(f.upstreamLocal),
  UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT: (f) => f.upstreamLocal?.host,
  UPSTREAM_LOCAL_PORT: (f) => f.upstreamLocal?.port,
  UPSTREAM_LOCAL_URI_SAN: (f) => f.upstreamOwnUri,
  UPSTREAM_PEER_CERT_V_END: (f) => f.upstreamPeer && formatTime(f.upstreamPeer.notAfterMs),
  UPSTREAM_PEER_DNS_SAN: (f) => joined(f.upstreamPeer?.dnsSans),
  UPSTREAM_PEER_SUBJECT: (f) => encode(f.upstreamPeer?.subject) || undefined,
  UPSTREAM_PEER_URI_SAN: (f) => joined(f.upstreamPeer?.uriSans),
  UPSTREAM_PROTOCOL: (f) => f.upstreamProtocol,
  UPSTREAM_REMOTE_ADDRESS: (f) => f.upstreamLocal && address(f.upstream),
  UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT: (f) => f.upstreamLocal && f.upstream?.host,
  UPSTREAM_REMOTE_PORT: (f) => f.upstreamLocal && f.upstream?.port,
  UPSTREAM_REQUEST_ATTEMPT_COUNT: (f) => f.attempts,
  UPSTREAM_TRANSPORT_FAILURE_REASON: (f) => encode(f.upstreamFailure),
  // meshlet has no virtual clusters, and refuses what would ask for a downstream handshake to be kept.
  VIRTUAL_CLUSTER_NAME: () => undefined,
}

const WITH_ARGUMENT: Readonly<Record<string, Make>> = {
  REQ: (names) => firstOf(names, (f, name) => f.request(name)),
  REQ_WITHOUT_QUERY: (names) => firstOf(names, (f, name) => f.request(name)?.split('?', 1)[0]),
  RESP: (names) => firstOf(names, (f, name) => f.response(name)),
  TRAILER: (names) => firstOf(names, (f, name) => f.trailer(name)),
  START_TIME: (format) => timeBy(format, (f) => f.startedMs),
  EMIT_TIME: (format) => timeBy(format, (f) => f.endedMs),
  COMMON_DURATION: durationBy,
  GRPC_STATUS: (how) =>
    how === 'NUMBER'
      ? (f) => f.grpcStatus
      : how === 'SNAKE_STRING'
        ? (f) => GRPC_STATUS_NAMES.snake(f.grpcStatus)
        : how === 'CAMEL_STRING'
          ? PLAIN['GRPC_STATUS']
          : undefined,
  DYNAMIC_METADATA: (path) => {
    const [filter = '', ...keys] = path.split(':')
    return (f) => findWithin(f.metadata?.[filter], keys)
  },
  // Nothing writes filter state that a format could name: it is as absent as in an Envoy without such filters.
  FILTER_STATE: () => () => undefined,
  UPSTREAM_FILTER_STATE: () => () => undefined,
  QUERY_PARAM: (name) => (name === '' ? undefined : (f) => queryParameter(f.request(':path') ?? '', name)),
  PATH: pathBy,
}

/** All that are known. */
export const OPERATOR_NAMES: { readonly plain: readonly string[]; readonly withArgument: readonly string[] } = {
  plain: Object.keys(PLAIN),
  withArgument: Object.keys(WITH_ARGUMENT),
}

/** @returns undefined for an operator that is not known, or takes no such argument */
export function makeOperator(name: string, argument: string | undefined): Read | undefined {
  if (argument === undefined) return Object.hasOwn(PLAIN, name) ? PLAIN[name] : undefined
  if (Object.hasOwn(WITH_ARGUMENT, name)) return WITH_ARGUMENT[name]!(argument)
  return undefined
}

/** UTF-8 bytes as latin1 characters, for text that is not from the wire. */
export function encode(text: string | undefined): string | undefined {
  // oxlint-disable-next-line no-control-regex -- what is not ASCII
  return text === undefined || !/[^\x00-\x7f]/.test(text) ? text : Buffer.from(text).toString('latin1')
}

export function formatAddress({ host, port }: HostPort): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}
const address = (at: HostPort | undefined): string | undefined => at && formatAddress(at)
const joined = (names: readonly string[] | undefined): string | undefined => encode(names?.join(',')) || undefined

function formatTime(wallMs: number, digits: 0 | 3 = 0): string {
  const iso = new Date(wallMs).toISOString()
  return digits === 3 ? iso : `${iso.slice(0, 19)}.000Z`
}

/** Whole milliseconds. */
function between(f: LogFacts, from: TimePoint, to: TimePoint): number | undefined {
  return spanBetween(f, from, to, 1)
}
function spanBetween(f: LogFacts, from: TimePoint, to: TimePoint, perMs: number): number | undefined {
  const [begin, end] = [f.time(from), f.time(to)]
  return begin === undefined || end === undefined ? undefined : Math.max(0, Math.floor((end - begin) * perMs))
}

const TIME_POINTS: ReadonlySet<string> = new Set<TimePoint>([
  'DS_RX_BEG',
  'DS_RX_END',
  'US_CX_BEG',
  'US_TX_BEG',
  'US_TX_END',
  'US_RX_BEG',
  'US_RX_END',
  'DS_TX_BEG',
  'DS_TX_END',
])
const PER_MS: Readonly<Record<string, number>> = { ms: 1, us: 1_000, ns: 1_000_000 }
const isPoint = (text: string | undefined): text is TimePoint => text !== undefined && TIME_POINTS.has(text)

/** FROM:TO, and :ms, :us or :ns where it is not milliseconds. */
function durationBy(argument: string): Read | undefined {
  const [from, to, unit = 'ms', ...more] = argument.split(':')
  const perMs = Object.hasOwn(PER_MS, unit) ? PER_MS[unit] : undefined
  if (!isPoint(from) || !isPoint(to) || perMs === undefined || more.length > 0) return undefined
  return (f) => spanBetween(f, from, to, perMs)
}

function timeBy(format: string, wallMs: (facts: LogFacts) => number): Read | undefined {
  const text = compileTimeText(format)
  return text && ((f) => encode(text(wallMs(f))))
}

/** `X?Y`: X, or Y where X is absent. Envoy takes one alternative, and no line breaks. */
function firstOf(names: string, read: (facts: LogFacts, name: string) => string | undefined): Read | undefined {
  const [first = '', second, ...more] = names.toLowerCase().split('?')
  if (first === '' || more.length > 0 || /[\0\r\n]/.test(names)) return undefined
  return (f) => read(f, first) ?? (second === undefined ? undefined : read(f, second))
}

function findWithin(value: Json, keys: readonly string[]): Json {
  let found = value
  for (const key of keys)
    found =
      typeof found === 'object' && found !== null && !Array.isArray(found) && Object.hasOwn(found, key)
        ? (found as { readonly [key: string]: Json })[key]
        : undefined
  return typeof found === 'string' ? encode(found) : found
}

function queryParameter(path: string, name: string): string | undefined {
  const query = /\?([^#]*)/.exec(path)?.[1] ?? ''
  for (const pair of query.split('&')) {
    const [key = '', ...value] = pair.split('=')
    if (key === name) return value.join('=')
  }
  return undefined
}

/** WQ or NQ (with or without the query), and ORIG, PATH or ORIG_OR_PATH. */
function pathBy(argument: string): Read | undefined {
  const [query = 'WQ', which = 'ORIG_OR_PATH', ...more] = argument.split(':')
  if (more.length > 0 || !/^(?:WQ|NQ)?$/.test(query) || !/^(?:ORIG|PATH|ORIG_OR_PATH)$/.test(which)) return undefined
  return (f) => {
    const original = which === 'PATH' ? undefined : f.request('x-envoy-original-path')
    const path = original ?? (which === 'ORIG' ? undefined : f.request(':path'))
    return query === 'NQ' ? path?.split(/[?#]/, 1)[0] : path
  }
}
