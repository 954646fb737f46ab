/** Where messages about tunnels of an ambient mesh stand. */
import type { JsonObject } from '@bufbuild/protobuf'
import { any, list, part, top, type Place } from './place.ts'

const TCP = 'envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy'
const INTERNAL = 'envoy.extensions.transport_sockets.internal_upstream.v3.InternalUpstreamTransport'
const ORIGINAL: JsonObject = { name: 'c', type: 'ORIGINAL_DST', lb_policy: 'CLUSTER_PROVIDED' }
const chainOf = (message: JsonObject): JsonObject => ({
  filter_chains: [{ filters: [{ name: 'tcp', typed_config: any(TCP, message) }] }],
})

/** TCP as ever, in a listener that may open tunnels. */
export const tcpOfTunnels = part(
  top('listener', 'envoy.config.listener.v3.Listener', {
    name: 'l',
    internal_listener: {},
    traffic_direction: 'INBOUND',
    filter_chains: [],
  }),
  TCP,
  { stat_prefix: 's', cluster: 'c' },
  chainOf,
)

export function placesOfTunnels(cluster: Place): readonly Place[] {
  const raw = { name: 'raw', typed_config: any('envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer', {}) }
  return [
    part(tcpOfTunnels, `${TCP}.TunnelingConfig`, { hostname: '%DOWNSTREAM_LOCAL_ADDRESS%' }, (m) => ({
      tunneling_config: m,
    })),
    part(cluster, INTERNAL, { transport_socket: raw }, (m) => ({
      transport_socket_matches: list({
        name: 'm',
        match: {},
        transport_socket: { name: 'i', typed_config: any(INTERNAL, m) },
      }),
    })),
    part(
      top('cluster', 'envoy.config.cluster.v3.Cluster', ORIGINAL),
      'envoy.config.cluster.v3.Cluster.OriginalDstLbConfig',
      {},
      (m) => ({
        original_dst_lb_config: m,
      }),
    ),
  ]
}
