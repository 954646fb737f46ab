/** A listener with one chain for HTTP. */
import type { JsonObject } from '@bufbuild/protobuf'

const type = (name: string): string => `type.googleapis.com/envoy.${name}`

/** @param manager of the HttpConnectionManager, without its type and `stat_prefix` */
export function listenerWith(
  { name, port, direction = 'INBOUND' }: { readonly name: string; readonly port: number; readonly direction?: string },
  manager: JsonObject,
): JsonObject {
  const typed = type('extensions.filters.network.http_connection_manager.v3.HttpConnectionManager')
  return {
    '@type': type('config.listener.v3.Listener'),
    name,
    traffic_direction: direction,
    address: { socket_address: { address: '127.0.0.1', port_value: port } },
    filter_chains: [{ filters: [{ name: 'hcm', typed_config: { '@type': typed, stat_prefix: 's', ...manager } }] }],
  }
}
