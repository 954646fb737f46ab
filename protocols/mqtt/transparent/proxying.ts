/** What listeners of mode `transparent` need beyond the broker's own parts: the way to clusters, and counters. */
import { MeshError } from '../../../core/errors.ts'
import { Tally } from '../../../core/lease.ts'
import type { Cell, Metrics } from '../../../core/metrics.ts'
import type { Cluster } from '../../../model/cluster.ts'
import type { MqttProxy } from '../../../model/listener.ts'
import type { Connection } from '../../connection.ts'
import type { ConnectOptions, Upstreams, UpstreamStream } from '../../upstream-api.ts'
import type { Context } from '../../context.ts'
import { type Waiting, getWaiting } from '../../waiting.ts'
import { describeClient } from './proxy-header.ts'

type Ending = Pick<ConnectOptions, 'signal' | 'onEnding'>

export type ProxyingOptions = {
  readonly upstreams: Upstreams
  readonly clusterOf: (name: string) => Cluster | undefined
  readonly waiting: Waiting
  /** What may wait for a peer that takes it slowly, per connection and direction (limits.maxBufferBytes). */
  readonly maxBufferBytes: number
}

export function collectProxyingOptions(ctx: Context, upstreams: Upstreams): ProxyingOptions {
  const clusterOf = (name: string): Cluster | undefined => ctx.tables.get().cluster(name)
  return { upstreams, clusterOf, waiting: getWaiting(ctx), maxBufferBytes: ctx.limits.maxBufferBytes }
}

export class Proxying {
  readonly waiting: Waiting
  readonly maxBufferBytes: number
  readonly unavailable: Cell
  /** Clients that have a connection to their broker. */
  readonly connections = new Tally()
  readonly #o: ProxyingOptions

  constructor(o: ProxyingOptions, metrics: Metrics) {
    this.#o = o
    this.waiting = o.waiting
    this.maxBufferBytes = o.maxBufferBytes
    this.unavailable = metrics
      .counter(
        'mesh_mqtt_proxy_unavailable_total',
        'Clients of listeners of mode transparent that were refused because their broker was not reached.',
      )
      .cell({})
    metrics.gaugeOf(
      'mesh_mqtt_proxied_connections',
      'Clients of listeners of mode transparent that are connected to their broker.',
      () => this.connections.now,
    )
  }

  /** Rejects with MESH_NO_CLUSTER, and as Upstreams.connect. */
  async connect(proxy: MqttProxy, client: Connection, ending: Ending): Promise<UpstreamStream> {
    const cluster = this.#o.clusterOf(proxy.cluster)
    if (!cluster) throw new MeshError('MESH_NO_CLUSTER', `the cluster ${proxy.cluster} of the listener is unknown`)
    return this.#o.upstreams.connect(cluster, {
      ...ending,
      speaks: 'tcp',
      host: client.tls?.serverName ?? client.offered.serverName,
      makeHeader: describeClient(client, proxy.sendProxyProtocol),
    })
  }
}
