/** Envoy and the shipped bundle with the same clusters, each behind listeners of its own. */
import type { JsonObject } from '@bufbuild/protobuf'
import { freePorts } from '../../../../tools/free-ports.ts'
import { Agent, directoryMode, writeResources } from '../../package/shipped.ts'
import type { Finally } from '../../programs.ts'
import { startStaticEnvoy } from '../envoy.ts'

export const type = (name: string): string => `type.googleapis.com/envoy.${name}`
export type Ports = { readonly ours: number; readonly theirs: number }

/** By listener, the ports of both. @param filters the network filter of each listener */
export async function startBoth(
  t: Finally,
  clusters: readonly JsonObject[],
  filters: Readonly<Record<string, JsonObject>>,
  more: { readonly listener?: JsonObject; readonly agent?: string } = {},
): Promise<Readonly<Record<string, Ports>>> {
  const names = Object.keys(filters)
  const free = await freePorts(names.length * 2)
  const ports = Object.fromEntries(
    names.map((name, i): [string, Ports] => [name, { ours: free[i * 2]!, theirs: free[i * 2 + 1]! }]),
  )
  const listeners = (of: keyof Ports): JsonObject[] =>
    names.map((name) => ({
      '@type': type('config.listener.v3.Listener'),
      name,
      address: { socket_address: { address: '127.0.0.1', port_value: ports[name]![of] } },
      filter_chains: [{ filters: [{ name: 'filter', typed_config: filters[name]! }] }],
      ...more.listener,
    }))
  const agent = await Agent.create(t, (home, admin) =>
    directoryMode(home, admin, `log: {level: error}\n${more.agent ?? ''}`),
  )
  writeResources(agent.folder, [...clusters, ...listeners('ours')])
  await agent.start()
  await startStaticEnvoy(t, { listeners: listeners('theirs'), clusters }, ports[names[0]!]!.theirs)
  return ports
}

/** A cluster of these addresses, IPv4 or names. */
export const clusterTo = (
  name: string,
  to: readonly (readonly [string, number])[],
  more: JsonObject = {},
): JsonObject => ({
  '@type': type('config.cluster.v3.Cluster'),
  name,
  type: 'STATIC',
  connect_timeout: '2s',
  ...more,
  load_assignment: {
    cluster_name: name,
    endpoints: [
      {
        lb_endpoints: to.map(([address, port_value]) => ({
          endpoint: { address: { socket_address: { address, port_value } } },
        })),
      },
    ],
  },
})
export const tcpTo = (cluster: string): JsonObject => ({
  '@type': type('extensions.filters.network.tcp_proxy.v3.TcpProxy'),
  stat_prefix: 's',
  cluster,
})
/** All requests to one cluster. @param filters before the router */
export const httpTo = (cluster: string, filters: readonly JsonObject[] = [], route: JsonObject = {}): JsonObject => ({
  '@type': type('extensions.filters.network.http_connection_manager.v3.HttpConnectionManager'),
  stat_prefix: 's',
  route_config: {
    name: 'r',
    virtual_hosts: [{ name: 'v', domains: ['*'], routes: [{ match: { prefix: '/' }, route: { cluster, ...route } }] }],
  },
  http_filters: [
    ...filters,
    { name: 'envoy.filters.http.router', typed_config: { '@type': type('extensions.filters.http.router.v3.Router') } },
  ],
})
