/** Istio's standard metrics and what they need: who we are, and the series. One per context. */
import { memoize } from '../../core/memoize.ts'
import type { Cluster, Endpoint } from '../../model/cluster.ts'
import {
  DEFAULT_MAX_SERIES,
  type IstioLabels,
  type LabelValue,
  type MetadataExchange,
  type StatsFilter,
} from '../../model/telemetry.ts'
import { UNKNOWN_WORKLOAD, type Workload } from '../../model/access-log/workload.ts'
import type { Context } from '../context.ts'
import { formatLabels } from './labels.ts'
import { PEER_METADATA, PEER_METADATA_ID } from './exchange-headers.ts'
import { formatPeerMetadata } from './peer.ts'
import { encodePreamble } from './peer-preamble.ts'
import { HttpGroup, type Memo } from './http-group.ts'
import { IstioSeries } from './series.ts'
import { TcpConnections } from './tcp.ts'

export class Telemetry {
  readonly own: Workload
  readonly series: IstioSeries
  readonly tcp: TcpConnections
  /** What was found out for an endpoint last, whoever asked. */
  readonly byEndpoint = new WeakMap<Endpoint, Memo>()
  readonly #nodeId: () => string
  /** Streams of gRPC that are under way: each reports its messages when somebody reads. */
  readonly openStreams = new Set<() => void>()
  #groups = new Map<string, HttpGroup>()
  #metadata: string | undefined

  constructor({ telemetry, metrics }: Pick<Context, 'telemetry' | 'metrics'>) {
    this.own = telemetry?.workload ?? UNKNOWN_WORKLOAD
    this.#nodeId = telemetry?.nodeId ?? (() => '')
    this.series = new IstioSeries(metrics, telemetry?.maxSeries ?? DEFAULT_MAX_SERIES)
    this.tcp = new TcpConnections(this.own, this.series)
    const tag = telemetry?.istioVersion || 'unknown'
    metrics
      .gauge('istio_build', 'Version of Istio that istiod is told.', ['component', 'tag'])
      .cell({ component: 'proxy', tag }).value = 1
    metrics.beforeReading(() => {
      this.tcp.update()
      for (const report of this.openStreams) report()
    })
  }

  /** Requests that differ in their results alone. */
  group(reporter: string, labels: IstioLabels, filter: StatsFilter): HttpGroup {
    const key = `${formatLabels(labels)}\n${keyOf(filter).text}`
    const known = this.#groups.get(key)
    if (known) return known
    const made = new HttpGroup(this.series, { reporter, labels, filter })
    // Labels of which no series tells (tags_to_remove) do not use up its room.
    if (this.#groups.size >= this.series.max) this.#groups = new Map()
    if (this.series.hasRoom) this.#groups.set(key, made)
    return made
  }

  /** Puts our own metadata into the head of a request on its way to the cluster. */
  tellServer(headers: string[], exchange: MetadataExchange, cluster: Cluster): void {
    const { tellsServer } = exchange
    if (tellsServer === undefined || cluster.mesh?.withoutExchange) return
    if (tellsServer === 'mesh' && (cluster.mesh?.isExternal || cluster.name === 'PassthroughCluster')) return
    headers.push(PEER_METADATA_ID, this.#nodeId(), PEER_METADATA, this.#ownMetadata())
  }

  /** Before the first byte of a connection on which both say who they are. */
  get preamble(): Buffer {
    return encodePreamble(this.own, this.#nodeId())
  }

  /** Puts it into the head of an answer: what was asked for by what the request said. */
  tellClient(headers: string[], asked: { readonly id: boolean; readonly metadata: boolean }): void {
    if (asked.id) headers.push(PEER_METADATA_ID, this.#nodeId())
    if (asked.metadata) headers.push(PEER_METADATA, this.#ownMetadata())
  }

  #ownMetadata(): string {
    return (this.#metadata ??= formatPeerMetadata(this.own))
  }
}

export const getTelemetry = memoize((ctx: Pick<Context, 'telemetry' | 'metrics'>) => new Telemetry(ctx))

const describeChange = ([label, value]: readonly [string, LabelValue]): readonly string[] =>
  typeof value === 'object' ? [label, 'by', value.source] : value === undefined ? [label] : [label, value]

/** Equal for filters that ask for the same, whichever push they came with. */
const keyOf = memoize(({ dropped, tags }: StatsFilter) => ({
  text:
    dropped.size + tags.size === 0
      ? ''
      : JSON.stringify([
          [...dropped],
          [...tags].map(([metric, changes]) => [metric, [...changes].map(describeChange)]),
        ]),
}))
