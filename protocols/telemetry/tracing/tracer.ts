/** Spans of requests: whether one is reported, its place in the trace, and what it says when it is over. */
import type { Random } from '../../../core/os/clock.ts'
import type { LogFacts } from '../../../model/access-log/facts.ts'
import type { FinishedSpan, Span, Tracing } from '../../../model/http/tracing.ts'
import { readContext } from './propagation.ts'

type Find = (name: string) => string | undefined
export type TracedRequest = {
  readonly find: Find
  /** x-request-id carries the decision to the next hop. */
  readonly setRequestId: (id: string) => void
  readonly isInbound: boolean
}

/** Of a UUID: the place of its version, where Envoy keeps why it is traced. */
const REASON_AT = 14
const NO_TRACE = '4'
const SAMPLED = '9'
const FORCED = 'a'
const CLIENT = 'b'
const UUID = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/

export function startSpan(request: TracedRequest, tracing: Tracing, random: Random): Span {
  const { find, isInbound } = request
  const { provider } = tracing
  const isTraced = decide(request, tracing, random)
  const caller = readContext(find, provider)
  const isLong = provider.kind === 'otlp' || provider.isLong
  // Envoy says so of the first span of a trace, too.
  const isShared = provider.kind === 'zipkin' && provider.isShared && isInbound
  if (!caller)
    return {
      traceId: drawId(random) + (isLong ? drawId(random) : ''),
      id: drawId(random),
      parentId: undefined,
      isSampled: isTraced,
      isShared,
      state: undefined,
    }
  return {
    traceId: caller.traceId,
    id: isShared ? caller.spanId : drawId(random),
    parentId: isShared ? caller.parentId : caller.spanId,
    isSampled: caller.isSampled ?? isTraced,
    isShared,
    state: caller.state,
  }
}

/** As Envoy's HCM: what came decided stays so; then who asks for it, then chance, which is the id's. */
function decide({ find, setRequestId }: TracedRequest, tracing: Tracing, random: Random): boolean {
  const id = find('x-request-id')
  if (id === undefined || !UUID.test(id)) return random.float() < tracing.randomSampling * tracing.overallSampling
  const share = (Number.parseInt(id.slice(0, 8), 16) % 10_000) / 10_000
  let reason = id[REASON_AT]!
  if (reason !== SAMPLED && reason !== FORCED && reason !== CLIENT) {
    if (find('x-client-trace-id') !== undefined && random.float() < tracing.clientSampling) reason = CLIENT
    else if (find('x-envoy-force-trace') !== undefined) reason = FORCED
    else reason = share < tracing.randomSampling ? SAMPLED : NO_TRACE
  }
  if (share >= tracing.overallSampling) reason = NO_TRACE
  if (reason !== id[REASON_AT]) setRequestId(id.slice(0, REASON_AT) + reason + id.slice(REASON_AT + 1))
  return reason !== NO_TRACE
}

/** Sixteen digits that are not all zero. */
function drawId(random: Random): string {
  const word = (): string =>
    Math.floor(random.float() * 0x1_0000_0000)
      .toString(16)
      .padStart(8, '0')
  const id = word() + word()
  return /^0+$/.test(id) ? '0000000000000001' : id
}

type Ended = {
  readonly tracing: Tracing
  readonly facts: LogFacts
  readonly isInbound: boolean
  readonly scheme: string
  /** Of the route. */
  readonly name: string | undefined
  readonly nodeId: string
}

/** With the tags that Envoy gives it. */
export function finishSpan(span: Span, { tracing, facts, isInbound, scheme, name, nodeId }: Ended): FinishedSpan {
  const host = facts.request(':authority') ?? '-'
  const path = (facts.request('x-envoy-original-path') ?? facts.request(':path') ?? '').slice(0, tracing.maxPathLength)
  const status = facts.status
  const isError = status === 0 || status >= 500
  const tags: [string, string][] = [
    ['node_id', nodeId],
    ['component', 'proxy'],
    ['guid:x-request-id', facts.request('x-request-id') ?? '-'],
    ['http.url', `${scheme}://${host}${path}`],
    ['http.method', facts.request(':method') ?? '-'],
    ['downstream_cluster', facts.request('x-envoy-downstream-service-cluster') ?? '-'],
    ['user_agent', facts.request('user-agent') ?? '-'],
    ['http.protocol', facts.protocol ?? '-'],
    ['peer.address', facts.remote.host],
    ['request_size', String(facts.receivedBytes)],
    ['response_size', String(facts.sentBytes)],
    ['http.status_code', String(status)],
    ['response_flags', facts.flags.join(',') || '-'],
  ]
  if (facts.cluster !== undefined)
    tags.push(['upstream_cluster', facts.cluster], ['upstream_cluster.name', facts.cluster])
  const client = facts.request('x-client-trace-id')
  if (client !== undefined) tags.push(['guid:x-client-trace-id', client])
  if (facts.grpcStatus !== undefined) tags.push(['grpc.status_code', String(facts.grpcStatus)])
  if (isError) tags.push(['error', 'true'])
  for (const tag of tracing.tags) {
    const value = tag.kind === 'literal' ? tag.value : (facts.request(tag.name) ?? tag.byDefault)
    if (value !== '') tags.push([tag.tag, value])
  }
  return {
    ...span,
    name: name ?? host,
    kind: isInbound ? 'server' : 'client',
    startedMs: facts.startedMs,
    durationMs: facts.time('DS_TX_END') ?? 0,
    isError,
    tags: tags.map(([tag, value]) => [tag, value.slice(0, MAX_TAG_LENGTH)]),
    local: facts.local,
  }
}
/** A peer may not fill the memory with its headers. */
const MAX_TAG_LENGTH = 1_024
