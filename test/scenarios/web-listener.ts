/** A listener `web` for HTTP as a control plane sends it. */
import type { JsonObject } from '@bufbuild/protobuf'
import { sample, type Sample } from '../helpers/control-plane/resources.ts'

const T = 'type.googleapis.com/envoy'
const ROUTER: JsonObject = {
  name: 'envoy.filters.http.router',
  typed_config: { '@type': `${T}.extensions.filters.http.router.v3.Router` },
}

export const socketAddress = (port: number): JsonObject => ({
  socket_address: { address: '127.0.0.1', port_value: port },
})

/** One virtual host for every name. */
export const anyHost = (...routes: readonly JsonObject[]): JsonObject => ({
  name: 'all',
  domains: ['*'],
  routes: [...routes],
})
export const toCluster = (cluster: string, match: JsonObject = { prefix: '/' }): JsonObject => ({
  match,
  route: { cluster },
})

/** @param filters before the router */
export const httpManager = (
  virtualHosts: readonly JsonObject[],
  filters: readonly JsonObject[] = [],
  more: JsonObject = {},
): JsonObject => ({
  name: 'hcm',
  typed_config: {
    '@type': `${T}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager`,
    stat_prefix: 'web',
    route_config: { name: 'web', virtual_hosts: [...virtualHosts] },
    http_filters: [...filters, ROUTER],
    ...more,
  },
})

/** @param chains of filters */
export const webListener = (port: number, chains: readonly JsonObject[], more: JsonObject = {}): Sample =>
  sample({
    '@type': `${T}.config.listener.v3.Listener`,
    name: 'web',
    traffic_direction: 'OUTBOUND',
    address: socketAddress(port),
    filter_chains: [...chains],
    ...more,
  })
