import type { Cluster, Endpoint } from '../../model/cluster.ts'
import type { IstioLabels, StatsFilter } from '../../model/telemetry.ts'
import type { LabelValues } from './labels.ts'
import type { HttpCells, IstioSeries, MessageCells } from './series.ts'

/** What labels tell of both sides. */
export type RequestEnds = {
  readonly filter: StatsFilter
  readonly reporter: 'source' | 'destination'
  readonly cluster: Cluster | undefined
  readonly endpoint: Endpoint | undefined
  readonly routeName: string
  readonly host: string
  /** SPIFFE URIs; undefined without mutual TLS. */
  readonly ownPrincipal: string | undefined
  readonly peerPrincipal: string | undefined
  /** What the peer said in x-envoy-peer-metadata, and in baggage where that counts. */
  readonly metadata: string | undefined
  readonly baggage: string | undefined
}
/** `grpcStatus` undefined: the request is not gRPC. */
export type Outcome = { readonly status: number; readonly flags: string; readonly grpcStatus: string | undefined }

const keyOf = (values: LabelValues): string => (values.length === 0 ? '' : JSON.stringify(values))

/** What was found for them. */
export type Memo = { readonly of: RequestEnds; readonly group: HttpGroup }

/**
 * Results that are at hand. Clients have a part in some (request.path), and where no label tells them apart the budget of
 * series does not end them.
 */
const MAX_RESULTS = 1_000

/** Series of requests that differ in their results alone: one lookup finds the cells. */
export class HttpGroup {
  readonly #series: IstioSeries
  readonly #of: { readonly reporter: string; readonly labels: IstioLabels; readonly filter: StatsFilter }
  /** By status, and by more where there is more to tell. */
  #byResult = new Map<number | string, HttpCells>()

  /** By what the filter's expressions give; '' without any. */
  #messages = new Map<string, MessageCells>()

  constructor(
    series: IstioSeries,
    of: { readonly reporter: string; readonly labels: IstioLabels; readonly filter: StatsFilter },
  ) {
    this.#series = series
    this.#of = of
  }

  /** Messages of gRPC. Istio counts them while a stream lasts: how it ends is not among their labels. */
  messages(values: LabelValues): MessageCells {
    const key = keyOf(values)
    const had = this.#messages.get(key)
    if (had) return had
    const { reporter, labels, filter } = this.#of
    const { connection_security_policy: _, ...known } = labels
    const made = this.#series.messages(known, filter, values)
    if (!made) return this.#series.messagesOverflow(reporter, filter)
    this.#messages = keep(this.#messages, key, made)
    return made
  }

  find({ status, flags, grpcStatus }: Outcome, values: LabelValues): HttpCells {
    const isPlain = flags === '-' && grpcStatus === undefined && values.length === 0
    const key = isPlain ? status : `${status} ${flags} ${grpcStatus ?? ''} ${keyOf(values)}`
    const known = this.#byResult.get(key)
    if (known) return known
    const { reporter, labels, filter } = this.#of
    const made = this.#series.http(
      {
        ...labels,
        request_protocol: grpcStatus === undefined ? 'http' : 'grpc',
        response_code: String(status),
        grpc_response_status: grpcStatus ?? '',
        response_flags: flags,
      },
      filter,
      values,
    )
    if (!made) return this.#series.httpOverflow(reporter, filter)
    this.#byResult = keep(this.#byResult, key, made)
    return made
  }
}

/**
 * Found anew when there are many: cells are the same for the same labels. A Map that was cleared would be referred to by
 * its former table (docs/performance.md).
 */
function keep<K, C>(of: Map<K, C>, key: K, cells: C): Map<K, C> {
  const kept = of.size >= MAX_RESULTS ? new Map<K, C>() : of
  return kept.set(key, cells)
}
