/** The agent's side of the control link without the rest of the agent: sync loop and applier on a simulated clock. */
import { Current } from '../../../core/current.ts'
import { silentLog, type Log } from '../../../core/log.ts'
import { Metrics } from '../../../core/metrics.ts'
import type { ResourceKind } from '../../../model/snapshot.ts'
import { EMPTY_TABLES, type Tables } from '../../../model/tables.ts'
import { Applier } from '../../../control-sync/apply.ts'
import { startSync, type Sync, type SyncOptions } from '../../../control-sync/sync.ts'
import type { AdsTransport } from '../../../control-sync/ads/transport.ts'
import { sample, type Sample } from './resources.ts'
import { SimClock } from '../sim-clock.ts'

export class SyncedAgent implements AsyncDisposable {
  readonly clock: SimClock
  readonly metrics = new Metrics()
  readonly tables = new Current<Tables>(EMPTY_TABLES)
  readonly applier: Applier
  readonly sync: Sync
  synced = false

  /** @param before an agent whose snapshot this one starts from, as after a restart */
  constructor(
    transport: AdsTransport,
    options: Partial<SyncOptions> & { readonly before?: SyncedAgent; readonly log?: Log } = {},
  ) {
    const { before, log = silentLog, ...over } = options
    this.clock = before?.clock ?? new SimClock()
    const shared = { clock: this.clock, log, metrics: this.metrics }
    this.applier = new Applier({ ...shared, node: 'n', tables: this.tables, saver: undefined })
    if (before) {
      const { snapshot, generation } = before.applier
      const references = new Map(
        (['cluster', 'listener', 'route'] as const).flatMap((kind) =>
          [...snapshot.resources[kind]].map(([name, raw]) => [raw, before.applier.references(kind, name)] as const),
        ),
      )
      this.applier.restore({ snapshot, generation, references, contactAtMs: undefined, changedAtMs: {}, damaged: [] })
    }
    this.sync = startSync({
      ...shared,
      applier: this.applier,
      random: { float: () => 0.5 },
      shrinkHoldMs: 0,
      refusedRetryMs: 0,
      refusedRetryMaxMs: 600_000,
      trustBundle: true,
      ownRoutes: new Current<ReadonlySet<string>>(new Set()),
      transport,
      ...over,
    })
    void this.sync.synced.then(() => {
      this.synced = true
    })
  }
  names(kind: ResourceKind): string[] {
    return [...this.applier.snapshot.resources[kind].keys()].sort()
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.sync[Symbol.asyncDispose]()
  }
}

const type = (name: string): string => `type.googleapis.com/envoy.config.${name}`
export const edsCluster = (name: string, more: object = {}): Sample =>
  sample({
    '@type': type('cluster.v3.Cluster'),
    name,
    type: 'EDS',
    eds_cluster_config: { eds_config: { ads: {} } },
    ...more,
  })
export const load = (name: string, ...ips: string[]): Sample =>
  sample({
    '@type': type('endpoint.v3.ClusterLoadAssignment'),
    cluster_name: name,
    endpoints: [
      {
        lb_endpoints: ips.map((address) => ({
          endpoint: { address: { socket_address: { address, port_value: 80 } } },
        })),
      },
    ],
  })
export const table = (name: string, ...clusters: string[]): Sample =>
  sample({
    '@type': type('route.v3.RouteConfiguration'),
    name,
    virtual_hosts: clusters.map((cluster) => ({
      name: cluster,
      domains: [cluster],
      routes: [{ match: { prefix: '/' }, route: { cluster } }],
    })),
  })
/** An HTTP listener that names a route table. @param filters before the router */
export const httpListener = (
  name: string,
  routes: string,
  o: { readonly filters?: readonly object[]; readonly direction?: string; readonly port?: number } = {},
): Sample =>
  sample(
    JSON.parse(
      JSON.stringify({
        '@type': type('listener.v3.Listener'),
        name,
        traffic_direction: o.direction ?? 'OUTBOUND',
        address: { socket_address: { address: '127.0.0.1', port_value: o.port ?? 8080 } },
        filter_chains: [
          {
            filters: [
              {
                name: 'hcm',
                typed_config: {
                  '@type':
                    'type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager',
                  stat_prefix: name,
                  rds: { route_config_name: routes, config_source: { ads: {} } },
                  http_filters: [
                    ...(o.filters ?? []),
                    {
                      name: 'envoy.filters.http.router',
                      typed_config: { '@type': 'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router' },
                    },
                  ],
                },
              },
            ],
          },
        ],
      }),
    ) as Parameters<typeof sample>[0],
  )
/** Protobuf takes it, the decoder does not (a pattern that is none): the route is blocked. */
export const tableWithMistake = (name: string): Sample =>
  sample({
    '@type': type('route.v3.RouteConfiguration'),
    name,
    virtual_hosts: [
      { name: 'v', domains: ['*'], routes: [{ match: { safe_regex: { regex: '(' } }, route: { cluster: 'c' } }] },
    ],
  })
export const clusterWithMistake = (name: string): Sample =>
  sample({ '@type': type('cluster.v3.Cluster'), name, type: 'EDS', connect_timeout: '-1s' })
/** No protobuf but for the name: it says nothing, and the last good version serves on. */
export const brokenTable = (name: string): Sample => ({ ...tableWithMistake(name), bytes: cutOff(name) })
export const brokenCluster = (name: string): Sample => ({ ...clusterWithMistake(name), bytes: cutOff(name) })
/** Its name, and a field of a wire type that there is none of. */
const cutOff = (name: string): Buffer => Buffer.from([0x0a, name.length, ...Buffer.from(name), 0x0f])
