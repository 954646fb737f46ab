/** What an access log line tells of a request: read from the exchange when the line is written, and only what it asks for. */
import type { MeshError } from '../../../core/errors.ts'
import { FactsWithoutExchange } from '../../../model/access-log/facts-without-exchange.ts'
import type { HostPort, LogFacts, TimePoint } from '../../../model/access-log/facts.ts'
import { toEnvoyFlags } from '../../../model/access-log/response-flags.ts'
import type { Endpoint } from '../../../model/cluster.ts'
import type { CertificatesUsed, PeerIdentity } from '../../../model/identity.ts'
import type { HttpConnectionManager } from '../../../model/listener.ts'
import type { Workload } from '../../../model/access-log/workload.ts'
import type { Connection } from '../../connection.ts'
import { findHeaderOrPseudo } from '../../router.ts'
import { explainAnswer } from '../../telemetry/code-details.ts'
import { describeConnectFailure } from '../../telemetry/failures.ts'
import { findFirstValue } from '../filters/header-edit.ts'
import type { RequestHead } from '../message.ts'
import { findGrpcStatus, findPeerWorkload } from './istio-report.ts'
import type { Plan } from './planning/plan.ts'
import type { RequestOrigin } from './request-origin.ts'

/** Of an exchange. Times are monotonic milliseconds. */
type LogRecord = {
  readonly startedMs: number
  readonly startedWallMs: number
  readonly status: number
  readonly isGrpc: boolean
  readonly error: MeshError | undefined
  readonly receivedBytes: number
  readonly sentBytes: number
  readonly tries: number
  readonly firstByteMs: number | undefined
  readonly endpoint: Endpoint | undefined
  readonly plan: Plan | undefined
  readonly upstream: CertificatesUsed | undefined
  readonly peerMetadata: string | undefined
  readonly grpcStatus: string | undefined
  readonly trailers: readonly string[] | undefined
  readonly responseHeaders: readonly string[] | undefined
  readonly upstreamLocal: HostPort | undefined
  readonly upstreamProtocol: string | undefined
  readonly requestEndMs: number | undefined
  readonly pickedMs: number | undefined
  readonly callMs: number | undefined
  readonly sentMs: number | undefined
  readonly answerEndMs: number | undefined
}
type Recorded = {
  readonly record: LogRecord
  readonly request: RequestHead
  readonly client: RequestOrigin
  readonly http: Pick<HttpConnectionManager, 'exchange'>
  readonly remoteIp: string
}
type End = {
  readonly flags: string
  readonly durationMs: number
  readonly endedMs: number
  readonly localReplyBody?: string
}

export class RequestLogFacts implements LogFacts {
  readonly type = 'DownstreamEnd'
  readonly #of: Recorded
  readonly #end: End

  constructor(of: Recorded, end: End) {
    this.#of = of
    this.#end = end
  }

  get startedMs(): number {
    return this.#of.record.startedWallMs
  }
  get endedMs(): number {
    return this.#end.endedMs
  }
  time(point: TimePoint): number | undefined {
    const { record } = this.#of
    switch (point) {
      case 'DS_RX_BEG':
        return 0
      case 'DS_RX_END':
        return since(record, record.requestEndMs)
      case 'US_CX_BEG':
        return since(record, record.pickedMs)
      case 'US_TX_BEG':
        return since(record, record.callMs)
      case 'US_TX_END':
        return since(record, record.sentMs)
      case 'US_RX_BEG':
      case 'DS_TX_BEG':
        return since(record, record.firstByteMs)
      case 'US_RX_END':
        return since(record, record.answerEndMs)
      case 'DS_TX_END':
        return this.#end.durationMs
      default:
        return point satisfies never
    }
  }

  /** As it went to the endpoint, where it did: Envoy rewrites it in place. */
  request(name: string): string | undefined {
    const { request, record } = this.#of
    const { plan } = record
    if (name === 'host') return this.request(':authority')
    if (plan?.kind === 'forward' && record.callMs !== undefined) {
      if (name === ':path') return plan.path
      if (name === ':authority') return plan.authority
    }
    if (name.startsWith(':')) return findHeaderOrPseudo(request, name) || undefined
    return findFirstValue(request.headers, name)
  }
  response(name: string): string | undefined {
    const { responseHeaders, status } = this.#of.record
    if (name === ':status') return status === 0 ? undefined : String(status)
    return responseHeaders && findFirstValue(responseHeaders, name)
  }
  trailer(name: string): string | undefined {
    const { trailers } = this.#of.record
    return trailers && findFirstValue(trailers, name)
  }
  get protocol(): string {
    return this.#of.request.version
  }
  get upstreamProtocol(): string | undefined {
    return this.#of.record.upstreamProtocol
  }
  get status(): number {
    return this.#of.record.status
  }
  get grpcStatus(): number | undefined {
    const { record } = this.#of
    if (!record.isGrpc) return undefined
    const status = findGrpcStatus(record)
    return status === '' ? undefined : Number(status)
  }
  get localReplyBody(): string | undefined {
    return this.#end.localReplyBody
  }
  get codeDetails(): string | undefined {
    return explainAnswer(this.#of.record)
  }
  get isHealthCheck(): boolean {
    return this.#of.record.plan?.health !== undefined
  }
  readonly terminationDetails = undefined
  get flags(): readonly string[] {
    return toEnvoyFlags(this.#end.flags)
  }
  get receivedBytes(): number {
    return this.#of.record.receivedBytes
  }
  get sentBytes(): number {
    return this.#of.record.sentBytes
  }
  get attempts(): number {
    return this.#of.record.tries
  }
  get metadata(): LogFacts['metadata'] {
    return this.#of.request.metadata
  }

  get #conn(): Connection {
    return this.#of.client.conn
  }
  get routeName(): string | undefined {
    return this.#of.record.plan?.routeName || undefined
  }
  get filterChain(): string | undefined {
    return this.#conn.chain.name || undefined
  }
  /** Of the route, also where a filter answers (Envoy's upstream_cluster). */
  get cluster(): string | undefined {
    const { plan, error } = this.#of.record
    if (plan?.kind === 'forward') return plan.cluster.name
    return error?.code === 'MESH_NO_CLUSTER' ? undefined : plan?.routeCluster
  }
  get upstream(): HostPort | undefined {
    const { endpoint } = this.#of.record
    return endpoint && { host: endpoint.address, port: endpoint.port }
  }
  get upstreamName(): string | undefined {
    return this.#of.record.endpoint?.hostname
  }
  get upstreamLocal(): HostPort | undefined {
    return this.#of.record.upstreamLocal
  }
  get upstreamPeer(): PeerIdentity | undefined {
    return this.#of.record.upstream?.peer
  }
  get upstreamFailure(): string | undefined {
    return describeConnectFailure(this.#of.record.error)
  }
  get upstreamOwnUri(): string | undefined {
    return this.#of.record.upstream?.usesIdentity ? this.#of.client.ownPrincipal : undefined
  }
  get connectionId(): string {
    return this.#conn.id
  }
  get local(): HostPort {
    return this.#conn.local
  }
  get remote(): HostPort {
    return this.#conn.remote
  }
  get client(): HostPort {
    const { remoteIp } = this.#of
    const { remote } = this.#conn
    return remoteIp === '' || remoteIp === remote.host ? remote : { host: remoteIp, port: 0 }
  }
  get serverName(): string | undefined {
    return this.#conn.tls?.serverName || undefined
  }
  get tlsVersion(): string | undefined {
    return this.#conn.tls?.version
  }
  get peer(): PeerIdentity | undefined {
    return this.#conn.tls?.peer
  }
  get ownUri(): string | undefined {
    return this.#conn.tls ? this.#of.client.ownPrincipal : undefined
  }
  get traceId(): string | undefined {
    return this.#of.request.span?.traceId
  }
  get spanId(): string | undefined {
    const { span } = this.#of.request
    return span?.isSampled ? span.id : undefined
  }
  get direction(): LogFacts['direction'] {
    return this.#conn.listener.direction
  }
  get peerWorkload(): Workload | undefined {
    return findPeerWorkload(this.#of)
  }
}

function since({ startedMs }: LogRecord, ms: number | undefined): number | undefined {
  return ms === undefined ? undefined : ms - startedMs
}

/** Of bytes that were no request: there is nothing but the connection to tell of. */
export class BrokenRequestFacts extends FactsWithoutExchange implements LogFacts {
  readonly type = 'DownstreamEnd'
  readonly startedMs: number
  readonly endedMs: number
  readonly protocol: string
  readonly status: number
  readonly localReplyBody: string | undefined
  readonly codeDetails: string
  readonly terminationDetails = undefined
  readonly flags: readonly string[]
  readonly receivedBytes = 0
  readonly sentBytes = 0
  readonly attempts = 0
  readonly filterChain: string | undefined
  readonly cluster = undefined
  readonly upstream = undefined
  readonly upstreamName = undefined
  readonly upstreamLocal = undefined
  readonly upstreamPeer = undefined
  readonly upstreamFailure = undefined
  readonly upstreamOwnUri = undefined
  readonly connectionId: string
  readonly local: HostPort
  readonly remote: HostPort
  readonly client: HostPort
  readonly serverName: string | undefined
  readonly tlsVersion: string | undefined
  readonly peer: PeerIdentity | undefined
  readonly ownUri = undefined
  readonly direction: LogFacts['direction']
  readonly peerWorkload = undefined

  constructor(
    conn: Connection,
    o: {
      readonly protocol: string
      readonly status: number
      readonly error: MeshError
      readonly nowMs: number
      readonly localReplyBody?: string
    },
  ) {
    super()
    this.startedMs = o.nowMs
    this.endedMs = o.nowMs
    this.protocol = o.protocol
    this.status = o.status
    this.localReplyBody = o.localReplyBody
    this.codeDetails = explainBroken(o.protocol, o.error)
    this.flags = toEnvoyFlags(o.error.row.flag)
    this.filterChain = conn.chain.name || undefined
    this.direction = conn.listener.direction
    this.connectionId = conn.id
    this.local = conn.local
    this.remote = conn.remote
    this.client = conn.remote
    this.serverName = conn.tls?.serverName || undefined
    this.tlsVersion = conn.tls?.version
    this.peer = conn.tls?.peer
  }
  time(point: TimePoint): number | undefined {
    return point === 'DS_RX_BEG' || point === 'DS_TX_END' ? 0 : undefined
  }
}

function explainBroken(protocol: string, { code }: MeshError): string {
  const codec = protocol === 'HTTP/2' ? 'http2' : 'http1'
  return code === 'MESH_HEADERS_TOO_LARGE' ? `${codec}.headers_too_large` : `${codec}.codec_error`
}
