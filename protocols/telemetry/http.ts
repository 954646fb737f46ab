/**
 * Counts the requests of one connection. Labels are worked out when something that they tell has changed since the last
 * request; else the cells are at hand.
 */
import type { Cluster } from '../../model/cluster.ts'
import type { Workload } from '../../model/access-log/workload.ts'
import type { LogFacts } from '../../model/access-log/facts.ts'
import type { GrpcMessages } from './grpc-messages.ts'
import type { HttpGroup, Memo, Outcome, RequestEnds } from './http-group.ts'
import { deriveLabels, deriveValues, findService, NO_VALUES } from './labels.ts'
import { MAX_METADATA_LENGTH, parseBaggage, parseEndpointWorkload, parsePeerMetadata } from './peer.ts'
import type { Telemetry } from './telemetry.ts'

/** `status` 0 = no answer was given. */
export type RequestResult = Outcome & {
  readonly durationMs: number
  readonly receivedBytes: number
  readonly sentBytes: number
}

export class HttpReporter {
  readonly telemetry: Telemetry
  #memo: Memo | undefined

  constructor(telemetry: Telemetry) {
    this.telemetry = telemetry
  }

  /** @param facts asked for where the filter has expressions */
  report(ends: RequestEnds, result: RequestResult, facts: () => LogFacts): void {
    const { filter } = ends
    const values = filter.expressions.length === 0 ? NO_VALUES : deriveValues(filter, facts())
    const cells = this.#group(ends).find(result, values)
    if (cells.requests) cells.requests.value++
    cells.durationMs?.observe(result.durationMs)
    cells.requestBytes?.observe(result.receivedBytes)
    cells.responseBytes?.observe(result.sentBytes)
  }

  reportMessages(ends: RequestEnds, messages: GrpcMessages, facts: () => LogFacts): void {
    const { requests, responses } = messages.take()
    if (requests + responses === 0) return
    const { filter } = ends
    // As it is at the first report: the messages of a stream stay in one series, as in Envoy.
    messages.labels ??= filter.expressions.length === 0 ? NO_VALUES : deriveValues(filter, facts())
    const cells = this.#group(ends).messages(messages.labels)
    if (cells.requests) cells.requests.value += requests
    if (cells.responses) cells.responses.value += responses
  }

  #group(ends: RequestEnds): HttpGroup {
    if (this.#memo && isSame(this.#memo.of, ends)) return this.#memo.group
    const { byEndpoint } = this.telemetry
    const shared = ends.reporter === 'source' && ends.endpoint ? byEndpoint.get(ends.endpoint) : undefined
    if (shared && isSame(shared.of, ends)) {
      this.#memo = shared
      return shared.group
    }
    const memo = { of: detach(ends), group: this.#find(ends) }
    this.#memo = memo
    if (ends.reporter === 'source' && ends.endpoint) byEndpoint.set(ends.endpoint, memo)
    return memo.group
  }

  #find(ends: RequestEnds): HttpGroup {
    const { filter, reporter, cluster, routeName, host, ownPrincipal, peerPrincipal } = ends
    const { own } = this.telemetry
    const service = findService(cluster, routeName, filter.hostFallback ? host : '')
    const labels = deriveLabels({ reporter, own, peer: findPeer(ends), ownPrincipal, peerPrincipal, service })
    return this.telemetry.group(reporter, labels, filter)
  }
}

/** What the peer says itself goes before what the control plane says of the endpoint. */
export function findPeer({
  reporter,
  metadata,
  baggage,
  endpoint,
}: Pick<RequestEnds, 'reporter' | 'metadata' | 'baggage' | 'endpoint'>): Workload | undefined {
  const said =
    (metadata === undefined ? undefined : parsePeerMetadata(metadata)) ??
    (baggage === undefined ? undefined : parseBaggage(baggage))
  if (said || reporter === 'destination') return said
  return endpoint?.workload === undefined ? undefined : parseEndpointWorkload(endpoint.workload)
}

/** A copy that does not hold the head that it was cut from for as long as the connection lasts. */
function detach(ends: RequestEnds): RequestEnds {
  const { host, metadata, baggage } = ends
  return {
    ...ends,
    host: copy(host),
    metadata: metadata === undefined ? undefined : copy(metadata),
    baggage: baggage === undefined ? undefined : copy(baggage),
  }
}
/** What is longer is read by nobody, and found anew for each request. */
const copy = (text: string): string => Buffer.from(text.slice(0, MAX_METADATA_LENGTH), 'latin1').toString('latin1')

/** Hosts tell requests apart where no service is named. */
function isSame(a: RequestEnds, b: RequestEnds): boolean {
  return (
    a.filter === b.filter &&
    a.cluster === b.cluster &&
    (a.endpoint === b.endpoint || b.reporter === 'destination') &&
    a.metadata === b.metadata &&
    a.ownPrincipal === b.ownPrincipal &&
    a.peerPrincipal === b.peerPrincipal &&
    a.baggage === b.baggage &&
    a.routeName === b.routeName &&
    (a.host === b.host || !b.filter.hostFallback || hasService(b.cluster))
  )
}

function hasService(cluster: Cluster | undefined): boolean {
  const service = cluster?.mesh?.service
  return service !== undefined && service.host !== ''
}
