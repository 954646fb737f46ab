/** What is remembered of an exchange for its counters and its access log line. */
import type { MeshError } from '../../../core/errors.ts'
import type { Endpoint } from '../../../model/cluster.ts'
import type { CertificatesUsed } from '../../../model/identity.ts'
import { logAccess } from './access-log.ts'
import type { HttpConnectionManager } from '../../../model/listener.ts'
import { reportToIstio } from './istio-report.ts'
import { readHttpManager } from '../../codecs.ts'
import type { Connection } from '../../connection.ts'
import type { Context } from '../../context.ts'
import { reportDecisions } from '../../policy-report.ts'
import type { RequestHead } from '../message.ts'
import type { RequestOrigin } from './request-origin.ts'
import type { Plan, RefusePlan } from './plan.ts'
import type { HttpRuntime } from '../runtime.ts'

export type ExchangeRecord = {
  /** Monotonic milliseconds. */
  readonly startedMs: number
  readonly startedWallMs: number
  /** 0 = no answer was given. */
  status: number
  error: MeshError | undefined
  receivedBytes: number
  sentBytes: number
  tries: number
  /** Envoy's flag for retries that were wanted but not made, because of the policy's limit or the budget. */
  retryFlag?: 'URX' | 'UO'
  firstByteMs: number | undefined
  endpoint: Endpoint | undefined
  plan: Plan | undefined
  /** Of the connection that the last attempt went by. */
  upstream: CertificatesUsed | undefined
  /** Of the answer: its exchange header, its gRPC status, and its trailers. */
  peerMetadata: string | undefined
  grpcStatus: string | undefined
  trailers: readonly string[] | undefined
}

export function createRecord({ clock }: Pick<Context, 'clock'>): ExchangeRecord {
  return {
    startedMs: clock.monotonicMs(),
    startedWallMs: clock.wallMs(),
    status: 0,
    error: undefined,
    receivedBytes: 0,
    sentBytes: 0,
    tries: 0,
    firstByteMs: undefined,
    endpoint: undefined,
    plan: undefined,
    upstream: undefined,
    peerMetadata: undefined,
    grpcStatus: undefined,
    trailers: undefined,
  }
}

/** The parts of an exchange that its counters and log line need. */
type Recorded = {
  readonly record: ExchangeRecord
  readonly request: RequestHead
  readonly client: RequestOrigin
  readonly http: HttpConnectionManager
}

/** Joined by commas, as Envoy writes them. */
function formatFlags({ error, retryFlag }: ExchangeRecord): string {
  const flag = error?.row.flag ?? '-'
  if (retryFlag === undefined || flag === retryFlag) return flag
  return flag === '-' ? retryFlag : `${retryFlag},${flag}`
}

/** A malformed message has no exchange, but is counted and logged like one. */
export function reportBroken(
  conn: Connection,
  protocol: string,
  answeredStatus: number,
  error: MeshError,
  { ctx, metrics }: HttpRuntime,
): void {
  metrics.ended(conn.listener.direction, answeredStatus)
  metrics.failed(error.code)
  const http = readHttpManager(conn)
  if (!http.accessLog) return
  logAccess(ctx.log, http.accessLog, {
    startedMs: ctx.clock.wallMs(),
    method: '',
    path: '',
    protocol,
    status: error.row.http,
    flags: error.row.flag,
    errorCode: error.code,
    receivedBytes: 0,
    sentBytes: 0,
    durationMs: 0,
    upstreamServiceMs: undefined,
    forwardedFor: undefined,
    userAgent: undefined,
    requestId: undefined,
    authority: '',
    upstreamHost: undefined,
    upstreamCluster: undefined,
    downstreamLocal: `${conn.local.host}:${conn.local.port}`,
    downstreamRemote: `${conn.remote.host}:${conn.remote.port}`,
    serverName: conn.tls?.serverName ?? '',
    routeName: undefined,
    peer: conn.tls?.peer?.spiffeId?.uri,
    tries: 0,
  })
}

/** A policy refused the request: counted, and told to whoever debugs policies. */
export function reportDenied(
  { error, rule }: RefusePlan,
  { id, tls }: Connection,
  { ctx, metrics }: HttpRuntime,
): void {
  if (error.code === 'MESH_TOKEN_REFUSED' || error.code === 'MESH_TOKEN_AUDIENCE') {
    metrics.tokenRefused.value++
    ctx.log.debug({ evt: 'http.token', conn: id, err: error }, 'request refused for its token')
  }
  if (error.code !== 'MESH_PEER_NOT_ALLOWED') return
  metrics.denied.value++
  ctx.log.debug({ evt: 'http.denied', conn: id, rule, peer: tls?.peer?.spiffeId?.uri }, 'request refused by policy')
}

/** Remembers it, and tells what policies found that refuse nobody, and what CORS policies say of its origin. */
export function notePlan(plan: Plan, { record, client, request }: Recorded, { ctx, metrics }: HttpRuntime): void {
  record.plan = plan
  if (plan.cors) metrics.corsOrigins[plan.cors.isAllowed ? 'allowed' : 'refused'].value++
  if (plan.shadow) reportDecisions(plan.shadow, client.conn, request, ctx)
}

export function finishAccess({ record, request, client, http }: Recorded, { ctx, metrics }: HttpRuntime): void {
  const { conn } = client
  metrics.ended(conn.listener.direction, record.status)
  if (record.error) metrics.failed(record.error.code)
  if (!http.stats && !http.accessLog) return
  const durationMs = ctx.clock.monotonicMs() - record.startedMs
  const flags = formatFlags(record)
  if (http.stats) reportToIstio({ record, request, client, http }, http.stats, { flags, durationMs })
  if (!http.accessLog) return
  const { plan, endpoint } = record
  logAccess(ctx.log, http.accessLog, {
    startedMs: record.startedWallMs,
    method: request.method,
    path: request.path === '' ? request.authority : request.path,
    protocol: request.version,
    status: record.status,
    flags,
    errorCode: record.error?.code,
    receivedBytes: record.receivedBytes,
    sentBytes: record.sentBytes,
    durationMs,
    upstreamServiceMs: record.firstByteMs === undefined ? undefined : record.firstByteMs - record.startedMs,
    forwardedFor: request.header('x-forwarded-for'),
    userAgent: request.header('user-agent'),
    requestId: request.header('x-request-id'),
    authority: request.authority,
    upstreamHost: endpoint && `${endpoint.address}:${endpoint.port}`,
    upstreamCluster: plan?.kind === 'forward' ? plan.cluster.name : undefined,
    downstreamLocal: `${conn.local.host}:${conn.local.port}`,
    downstreamRemote: `${conn.remote.host}:${conn.remote.port}`,
    serverName: conn.tls?.serverName ?? '',
    routeName: plan?.routeName || undefined,
    peer: conn.tls?.peer?.spiffeId?.uri,
    tries: record.tries,
  })
}
