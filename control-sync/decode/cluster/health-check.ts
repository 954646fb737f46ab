/** envoy.config.core.v3.HealthCheck → HealthCheck. */
import type { GrpcAsk, HealthCheck, HttpAsk, StatusRange, TcpAsk } from '../../../model/http/health-check.ts'
import type { Cluster } from '../../../model/cluster.ts'
import {
  RequestMethod,
  type HealthCheck as XHealthCheck,
  type HealthCheck_GrpcHealthCheck,
  type HealthCheck_HttpHealthCheck,
  type HealthCheck_Payload,
  type HealthCheck_TcpHealthCheck,
} from '../../../proto/gen/envoy/config/core/v3/health_check_pb.ts'
import { CodecClientType } from '../../../proto/gen/envoy/type/v3/http_pb.ts'
import type { Int64Range } from '../../../proto/gen/envoy/type/v3/range_pb.ts'
import { selectTextFields } from '../endpoint.ts'
import type { DecodePath } from '../fields/decode-path.ts'
import { decodeStringMatch } from '../fields/matchers.ts'
import { decodeMs } from '../fields/values.ts'
import { decodeHeaderAdd, decodeHeaderName } from '../route/header-changes.ts'

/** Envoy's defaults. */
const NO_TRAFFIC_MS = 60_000
const BUFFER_BYTES = 1024n
/** What a check may say, and what of an answer is looked at: more is no health check. */
const MAX_PAYLOAD_BYTES = 64 * 1024
const MAX_PATH_CHARS = 8 * 1024

/** @returns nothing where there is none that can be made */
export function decodeHealthChecks(
  at: DecodePath,
  from: readonly XHealthCheck[],
  discovery: Cluster['discovery']['kind'],
): Pick<Cluster, 'healthCheck'> {
  const [first] = from
  if (!first) return {}
  // As Envoy.
  if (from.length > 1) at.issue('a cluster can have one health check')
  if (discovery === 'original-dst' || discovery === 'forward-proxy') {
    at.ignore('hosts that nobody configured are not asked')
    return {}
  }
  const here = at.item(0)
  const asks = decodeAsk(here, first)
  return asks ? { healthCheck: { asks, ...decodeTimes(here, first), ...decodeRest(here, first) } } : {}
}

function decodeTimes(
  at: DecodePath,
  from: XHealthCheck,
): Pick<HealthCheck, 'timeoutMs' | 'unhealthyThreshold' | 'healthyThreshold' | 'intervals'> {
  const positive = (field: string, value: number | undefined): number => {
    if (!value) at.in(field).issue('is missing, or not above 0')
    return value ?? 0
  }
  const optional = (field: string, value: XHealthCheck['interval'], absent: number): number => {
    const ms = decodeMs(at.in(field), value)
    if (ms === 0) at.in(field).issue('is not above 0')
    return ms ?? absent
  }
  const healthyMs = positive('interval', decodeMs(at.in('interval'), from.interval))
  const unhealthyMs = optional('unhealthy_interval', from.unhealthyInterval, healthyMs)
  const noTrafficMs = optional('no_traffic_interval', from.noTrafficInterval, NO_TRAFFIC_MS)
  return {
    timeoutMs: positive('timeout', decodeMs(at.in('timeout'), from.timeout)),
    unhealthyThreshold: positive('unhealthy_threshold', from.unhealthyThreshold),
    healthyThreshold: positive('healthy_threshold', from.healthyThreshold),
    intervals: {
      healthyMs,
      healthyEdgeMs: optional('healthy_edge_interval', from.healthyEdgeInterval, healthyMs),
      unhealthyMs,
      unhealthyEdgeMs: optional('unhealthy_edge_interval', from.unhealthyEdgeInterval, unhealthyMs),
      noTrafficMs,
      noTrafficHealthyMs: optional('no_traffic_healthy_interval', from.noTrafficHealthyInterval, noTrafficMs),
      initialJitterMs: decodeMs(at.in('initial_jitter'), from.initialJitter) ?? 0,
      jitterMs: decodeMs(at.in('interval_jitter'), from.intervalJitter) ?? 0,
      jitterPercent: from.intervalJitterPercent,
    },
  }
}

function decodeRest(
  at: DecodePath,
  from: XHealthCheck,
): Omit<HealthCheck, 'asks' | 'timeoutMs' | 'unhealthyThreshold' | 'healthyThreshold' | 'intervals'> {
  const criteria = from.transportSocketMatchCriteria
  const transportLabels = selectTextFields(criteria)
  if (Object.keys(transportLabels).length < Object.keys(criteria ?? {}).length)
    at.in('transport_socket_match_criteria').issue('only text is compared')
  return {
    reusesConnection: from.reuseConnection ?? true,
    logsFailures: from.alwaysLogHealthCheckFailures,
    logsSuccesses: from.alwaysLogHealthCheckSuccess,
    ...(from.tlsOptions && { alpnProtocols: from.tlsOptions.alpnProtocols }),
    ...(criteria && { transportLabels }),
  }
}

function decodeAsk(at: DecodePath, { healthChecker }: XHealthCheck): HealthCheck['asks'] | undefined {
  switch (healthChecker.case) {
    case 'httpHealthCheck':
      return http(at.in('http_health_check'), healthChecker.value)
    case 'tcpHealthCheck':
      return tcp(at.in('tcp_health_check'), healthChecker.value)
    case 'grpcHealthCheck':
      return grpc(at.in('grpc_health_check'), healthChecker.value)
    case undefined:
    default:
      at.ignore('only HTTP, TCP and gRPC are asked')
      at.skip('endpoints are not asked whether they are well, in a way of somebody else (custom_health_check)')
      return undefined
  }
}

const METHODS = new Map<number, string>(
  Object.entries(RequestMethod).flatMap(([name, no]) => (no === RequestMethod.METHOD_UNSPECIFIED ? [] : [[no, name]])),
)

function http(at: DecodePath, from: HealthCheck_HttpHealthCheck): HttpAsk {
  if (!/^[!-~]+$/.test(from.path) || from.path.length > MAX_PATH_CHARS) at.in('path').issue('is no path of a request')
  if (/[\0\r\n]/.test(from.host)) at.in('host').issue('contains a line break or NUL')
  if (from.method === RequestMethod.CONNECT) at.in('method').issue('CONNECT is no question')
  const expected = from.expectedStatuses.map((range, i) => status(at.in('expected_statuses').item(i), range))
  const serviceName =
    from.serviceNameMatcher && decodeStringMatch(at.in('service_name_matcher'), from.serviceNameMatcher)
  const bufferBytes = from.responseBufferSize ?? BUFFER_BYTES
  return {
    kind: 'http',
    method: METHODS.get(from.method) ?? 'GET',
    path: from.path,
    host: from.host,
    headers: {
      add: from.requestHeadersToAdd.flatMap(
        (o, i) => decodeHeaderAdd(at.in('request_headers_to_add').item(i), o) ?? [],
      ),
      remove: from.requestHeadersToRemove.flatMap(
        (name, i) => decodeHeaderName(at.in('request_headers_to_remove').item(i), name) ?? [],
      ),
    },
    body: from.send ? payload(at.in('send'), from.send) : NOTHING,
    codec: from.codecClientType === CodecClientType.HTTP2 ? 'http2' : 'http1',
    expected: expected.length > 0 ? expected : [{ start: 200, end: 201 }],
    retriable: from.retriableStatuses.map((range, i) => status(at.in('retriable_statuses').item(i), range)),
    receive: from.receive.map((one, i) => payload(at.in('receive').item(i), one)),
    // 0: all of it; no more of it can be asked for.
    maxBodyBytes:
      bufferBytes === 0n || bufferBytes > BigInt(MAX_PAYLOAD_BYTES) ? MAX_PAYLOAD_BYTES : Number(bufferBytes),
    ...(serviceName && { serviceName }),
  }
}

function status(at: DecodePath, { start, end }: Int64Range): StatusRange {
  if (start < 100n || end > 600n || start >= end) at.issue('is no range of statuses from 100 to 599')
  return { start: Number(start), end: Number(end) }
}

function tcp(at: DecodePath, from: HealthCheck_TcpHealthCheck): TcpAsk {
  return {
    kind: 'tcp',
    send: from.send ? payload(at.in('send'), from.send) : NOTHING,
    receive: from.receive.map((one, i) => payload(at.in('receive').item(i), one)),
  }
}

function grpc(at: DecodePath, from: HealthCheck_GrpcHealthCheck): GrpcAsk {
  if (/[\0\r\n]/.test(from.authority)) at.in('authority').issue('contains a line break or NUL')
  return {
    kind: 'grpc',
    service: from.serviceName,
    authority: from.authority,
    headers: {
      remove: [],
      add: from.initialMetadata.flatMap((o, i) => decodeHeaderAdd(at.in('initial_metadata').item(i), o) ?? []),
    },
  }
}

const NOTHING = new Uint8Array()

/** `text` is hexadecimal. */
function payload(at: DecodePath, { payload: from }: HealthCheck_Payload): Uint8Array {
  const bytes = from.case === 'binary' ? from.value : Buffer.from(from.value ?? '', 'hex')
  if (from.case !== 'binary' && bytes.length * 2 !== (from.value ?? '').length)
    at.in('text').issue('is no hexadecimal text')
  if (bytes.length === 0) at.issue('is empty')
  if (bytes.length > MAX_PAYLOAD_BYTES) at.issue(`has more than ${MAX_PAYLOAD_BYTES} bytes`)
  return bytes
}
