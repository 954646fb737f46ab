/**
 * Series of Istio's standard metrics. Names of peers and hosts are in their labels, so that peers decide how many there
 * are: beyond `maxSeries` label sets all that is new counts in one series whose labels are `unknown`.
 */
import type { Cell, HistogramCell, Metrics } from '../../core/metrics.ts'
import {
  GRPC_METRICS,
  HTTP_METRICS,
  ISTIO_LABELS,
  TCP_METRICS,
  type IstioLabels,
  type IstioMetric,
  type StatsFilter,
} from '../../model/telemetry.ts'
import { formatLabels, NO_VALUES, resolveTags, type LabelValues } from './labels.ts'

/** Undefined: the configuration drops the metric. */
export type HttpCells = {
  readonly requests: Cell | undefined
  readonly durationMs: HistogramCell | undefined
  readonly requestBytes: HistogramCell | undefined
  readonly responseBytes: HistogramCell | undefined
}
export type MessageCells = { readonly requests: Cell | undefined; readonly responses: Cell | undefined }
export type TcpCells = {
  readonly sentBytes: Cell | undefined
  readonly receivedBytes: Cell | undefined
  readonly opened: Cell | undefined
  readonly closed: Cell | undefined
}

/** Envoy's, of every histogram: milliseconds or bytes. */
const BUCKETS = [
  0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 300_000, 600_000, 1_800_000,
  3_600_000,
]

type Labelled = { readonly labels: IstioLabels; readonly filter: StatsFilter; readonly values: LabelValues }
type TextOf = (metric: IstioMetric) => string | undefined
type Maker<C> = (textOf: TextOf) => C

export class IstioSeries {
  readonly max: number
  readonly #http: Maker<HttpCells>
  readonly #tcp: Maker<TcpCells>
  readonly #messages: Maker<MessageCells>
  readonly #dropped: Cell
  readonly #known = new Set<string>()
  readonly #overflowText = memoizeText((reporter) =>
    formatLabels(Object.fromEntries(ISTIO_LABELS.map((name) => [name, 'unknown'])), new Map([['reporter', reporter]])),
  )

  constructor(metrics: Metrics, maxSeries: number) {
    this.max = maxSeries
    this.#http = httpMaker(metrics)
    this.#tcp = tcpMaker(metrics)
    this.#messages = messagesMaker(metrics)
    this.#dropped = metrics
      .counter(
        'mesh_telemetry_series_dropped_total',
        'Requests and connections that count in the istio_* series with the labels unknown, because telemetry.maxSeries label sets were in use.',
      )
      .cell({})
    metrics.gaugeOf('mesh_telemetry_series', 'Label sets of istio_* metrics in use.', () => this.#known.size)
  }

  http(labels: IstioLabels, filter: StatsFilter, values = NO_VALUES): HttpCells | undefined {
    return this.#find({ labels, filter, values }, HTTP_METRICS, this.#http)
  }
  tcp(labels: IstioLabels, filter: StatsFilter, values = NO_VALUES): TcpCells | undefined {
    return this.#find({ labels, filter, values }, TCP_METRICS, this.#tcp)
  }
  messages(labels: IstioLabels, filter: StatsFilter, values = NO_VALUES): MessageCells | undefined {
    return this.#find({ labels, filter, values }, GRPC_METRICS, this.#messages)
  }
  /** For what finds no room. Its reporter is told, since that tells what else is counted twice. */
  httpOverflow(reporter: string, filter: StatsFilter): HttpCells {
    return this.#overflow(reporter, filter, this.#http)
  }
  tcpOverflow(reporter: string, filter: StatsFilter): TcpCells {
    return this.#overflow(reporter, filter, this.#tcp)
  }
  messagesOverflow(reporter: string, filter: StatsFilter): MessageCells {
    return this.#overflow(reporter, filter, this.#messages)
  }
  get hasRoom(): boolean {
    return this.#known.size < this.max
  }

  /** @returns undefined where the label set is new and there is no room for it */
  #find<C>({ labels, filter, values }: Labelled, metrics: readonly IstioMetric[], make: Maker<C>): C | undefined {
    const plain = filter.tags.size === 0 ? formatLabels(labels) : undefined
    const texts = new Map<IstioMetric, string>()
    for (const metric of metrics)
      if (!filter.dropped.has(metric))
        texts.set(metric, plain ?? formatLabels(labels, resolveTags(filter, metric, values)))
    const key = [metrics[0], ...(plain === undefined ? texts.values() : [plain])].join('\n')
    if (!this.#known.has(key)) {
      if (!this.hasRoom) return undefined
      this.#known.add(key)
    }
    return make((metric) => texts.get(metric))
  }

  #overflow<C>(reporter: string, filter: StatsFilter, make: Maker<C>): C {
    this.#dropped.value++
    const text = this.#overflowText(reporter)
    return make((metric) => (filter.dropped.has(metric) ? undefined : text))
  }
}

/** @param make of few keys */
function memoizeText(make: (key: string) => string): (key: string) => string {
  const made = new Map<string, string>()
  return (key) => {
    const known = made.get(key) ?? make(key)
    made.set(key, known)
    return known
  }
}

function httpMaker(metrics: Metrics): Maker<HttpCells> {
  const requests = metrics.standardCounter('istio_requests_total', 'HTTP and gRPC requests.', ISTIO_LABELS)
  const duration = metrics.standardHistogram(
    'istio_request_duration_milliseconds',
    'From the first byte of a request to the last one of its answer.',
    ISTIO_LABELS,
    BUCKETS,
  )
  const received = metrics.standardHistogram('istio_request_bytes', 'Bodies of requests.', ISTIO_LABELS, BUCKETS)
  const sent = metrics.standardHistogram('istio_response_bytes', 'Bodies of answers.', ISTIO_LABELS, BUCKETS)
  return (textOf) => ({
    requests: madeOf(requests, textOf('requests_total')),
    durationMs: madeOf(duration, textOf('request_duration_milliseconds')),
    requestBytes: madeOf(received, textOf('request_bytes')),
    responseBytes: madeOf(sent, textOf('response_bytes')),
  })
}

function tcpMaker(metrics: Metrics): Maker<TcpCells> {
  const sent = metrics.standardCounter(
    'istio_tcp_sent_bytes_total',
    'Bytes sent to clients of TCP connections.',
    ISTIO_LABELS,
  )
  const received = metrics.standardCounter(
    'istio_tcp_received_bytes_total',
    'Bytes received from clients of TCP connections.',
    ISTIO_LABELS,
  )
  const opened = metrics.standardCounter(
    'istio_tcp_connections_opened_total',
    'TCP connections that were opened.',
    ISTIO_LABELS,
  )
  const closed = metrics.standardCounter(
    'istio_tcp_connections_closed_total',
    'TCP connections that have ended.',
    ISTIO_LABELS,
  )
  return (textOf) => ({
    sentBytes: madeOf(sent, textOf('tcp_sent_bytes_total')),
    receivedBytes: madeOf(received, textOf('tcp_received_bytes_total')),
    opened: madeOf(opened, textOf('tcp_connections_opened_total')),
    closed: madeOf(closed, textOf('tcp_connections_closed_total')),
  })
}

function messagesMaker(metrics: Metrics): Maker<MessageCells> {
  const requests = metrics.standardCounter(
    'istio_request_messages_total',
    'Messages of gRPC that clients have sent.',
    ISTIO_LABELS,
  )
  const responses = metrics.standardCounter(
    'istio_response_messages_total',
    'Messages of gRPC that servers have sent.',
    ISTIO_LABELS,
  )
  return (textOf) => ({
    requests: madeOf(requests, textOf('request_messages_total')),
    responses: madeOf(responses, textOf('response_messages_total')),
  })
}

function madeOf<C>(make: (text: string) => C, text: string | undefined): C | undefined {
  return text === undefined ? undefined : make(text)
}
