/** What is remembered of an exchange for its counters and its access log line. */
import type { MeshError } from '../../../core/errors.ts'
import type { Endpoint } from '../../../model/cluster.ts'
import type { CertificatesUsed } from '../../../model/identity.ts'
import type { HttpConnectionManager } from '../../../model/listener.ts'
import type { Clock } from '../../../core/os/clock.ts'
import type { Address } from '../../../core/os/network.ts'
import type { Tracing } from '../../../model/http/tracing.ts'
import { encodeOtlpSpan, encodeZipkinSpan } from '../../telemetry/tracing/encode.ts'
import { finishSpan } from '../../telemetry/tracing/tracer.ts'
import { getAccessLogs } from '../../telemetry/access-logs.ts'
import { isGrpc } from '../../router.ts'
import { GrpcMessages } from '../../telemetry/grpc-messages.ts'
import { getTelemetry } from '../../telemetry/telemetry.ts'
import { reportMessagesSoFar, reportToIstio } from './istio-report.ts'
import { BrokenRequestFacts, RequestLogFacts } from './log-facts.ts'
import { readHttpManager } from '../../codecs.ts'
import type { Connection } from '../../connection.ts'
import type { Context } from '../../context.ts'
import { reportDecisions } from '../../policy-report.ts'
import { countLimits } from '../filters/rate-limit/counters.ts'
import type { Placement } from '../filters/hash.ts'
import type { RequestHead } from '../message.ts'
import type { RequestOrigin } from './request-origin.ts'
import type { Plan, RefusePlan } from './planning/plan.ts'
import { isPaused } from './planning/plan-today.ts'
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
  /** Known where somebody asks. */
  readonly isGrpc: boolean
  /** Where they are counted. */
  readonly messages?: GrpcMessages
  reportMessages?: () => void
  firstByteMs: number | undefined
  endpoint: Endpoint | undefined
  /** By a hash policy. */
  placement?: Placement
  plan: Plan | undefined
  /** Of the connection that the last attempt went by. */
  upstream: CertificatesUsed | undefined
  /** Of the answer: its exchange header, its gRPC status, and its trailers. */
  peerMetadata: string | undefined
  grpcStatus: string | undefined
  trailers: readonly string[] | undefined
  /** As the client got them. */
  responseHeaders: readonly string[] | undefined
  /** Of the last attempt. */
  upstreamLocal: Address | undefined
  upstreamProtocol: string | undefined
  /** Where somebody asks for times; monotonic milliseconds. */
  readonly stopwatch: Pick<Clock, 'monotonicMs'> | undefined
  requestEndMs: number | undefined
  pickedMs: number | undefined
  callMs: number | undefined
  sentMs: number | undefined
  answerEndMs: number | undefined
}

export function createRecord(
  { clock }: Pick<Context, 'clock'>,
  {
    accessLogs,
    stats,
    tracing,
    countsMessages,
  }: Pick<HttpConnectionManager, 'accessLogs' | 'stats' | 'tracing' | 'countsMessages'>,
  request: RequestHead,
): ExchangeRecord {
  const isObserved = stats !== undefined || accessLogs !== undefined || tracing !== undefined
  const isGrpcRequest = isObserved && isGrpc(request.header('content-type'))
  return {
    isGrpc: isGrpcRequest,
    ...(isGrpcRequest && stats && countsMessages && { messages: new GrpcMessages() }),
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
    responseHeaders: undefined,
    upstreamLocal: undefined,
    upstreamProtocol: undefined,
    stopwatch: accessLogs && clock,
    requestEndMs: undefined,
    pickedMs: undefined,
    callMs: undefined,
    sentMs: undefined,
    answerEndMs: undefined,
  }
}

/** The parts of an exchange that its counters and log line need. */
type Recorded = {
  readonly record: ExchangeRecord
  readonly request: RequestHead
  readonly client: RequestOrigin
  readonly http: HttpConnectionManager
  readonly remoteIp: string
}

/** Joined by commas, as Envoy writes them. */
export function formatFlags({ error, retryFlag }: ExchangeRecord): string {
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
  const { accessLogs } = readHttpManager(conn)
  if (!accessLogs) return
  const facts = new BrokenRequestFacts(conn, { protocol, status: answeredStatus, error, nowMs: ctx.clock.wallMs() })
  getAccessLogs(ctx).write(accessLogs, facts)
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
export function notePlan(plan: Plan, exchange: Recorded, { ctx, metrics }: HttpRuntime): void {
  const { record, client, request } = exchange
  record.plan = plan
  if (record.messages && plan.kind === 'forward') watchStream(exchange, ctx)
  // What has been found by then is told with the plan that it goes on to.
  if (isPaused(plan)) return
  if (plan.cors) metrics.corsOrigins[plan.cors.isAllowed ? 'allowed' : 'refused'].value++
  if (plan.limited) countLimits(plan.limited, ctx.metrics)
  if (plan.shadow) reportDecisions(plan.shadow, client.conn, request, ctx)
}

/** A stream of gRPC may last for weeks; its messages show while it does. */
function watchStream(exchange: Recorded, ctx: Context): void {
  const { record, http } = exchange
  if (!http.stats || record.reportMessages) return
  const filter = http.stats
  const facts = (): RequestLogFacts => {
    const durationMs = ctx.clock.monotonicMs() - record.startedMs
    return new RequestLogFacts(exchange, { flags: '-', durationMs, endedMs: ctx.clock.wallMs() })
  }
  record.reportMessages = () => reportMessagesSoFar(exchange, filter, facts)
  getTelemetry(ctx).openStreams.add(record.reportMessages)
}

export function finishAccess(exchange: Recorded, { ctx, metrics }: HttpRuntime): void {
  const { record, request, client, http } = exchange
  metrics.ended(client.conn.listener.direction, record.status)
  if (record.error) metrics.failed(record.error.code)
  if (record.reportMessages) getTelemetry(ctx).openStreams.delete(record.reportMessages)
  if (!http.stats && !http.accessLogs && !http.tracing) return
  const durationMs = ctx.clock.monotonicMs() - record.startedMs
  const flags = formatFlags(record)
  const tell = (): RequestLogFacts => new RequestLogFacts(exchange, { flags, durationMs, endedMs: ctx.clock.wallMs() })
  if (http.stats) reportToIstio(exchange, http.stats, { flags, durationMs, facts: tell })
  if (!http.accessLogs && !request.span?.isSampled) return
  const facts = tell()
  if (http.accessLogs) getAccessLogs(ctx).write(http.accessLogs, facts)
  if (http.tracing) reportSpan(exchange, http.tracing, facts, ctx)
}

function reportSpan(
  { request, client, record }: Recorded,
  tracing: Tracing,
  facts: RequestLogFacts,
  ctx: Context,
): void {
  const { span } = request
  if (!span?.isSampled || !ctx.exports) return
  const { plan } = record
  const name = plan?.kind === 'forward' ? plan.routed.route.spanName : undefined
  const isInbound = client.conn.listener.direction === 'inbound'
  const nodeId = ctx.telemetry?.nodeId() ?? ''
  const finished = finishSpan(span, { tracing, facts, isInbound, scheme: request.scheme, name, nodeId })
  const { provider } = tracing
  const item =
    provider.kind === 'otlp' ? encodeOtlpSpan(finished) : encodeZipkinSpan(finished, ctx.telemetry?.serviceName ?? '')
  ctx.exports.send(provider.to, 'spans', item)
}
