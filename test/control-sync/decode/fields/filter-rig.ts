/** An HTTP filter as a control plane pushes it in an inbound listener, decoded. */
import assert from 'node:assert/strict'
import type { JsonObject } from '@bufbuild/protobuf'
import { decode } from '../../../../control-sync/decode/decode.ts'
import type { HttpFilter } from '../../../../model/listener.ts'
import { sample } from '../../../helpers/control-plane/resources.ts'

export const type = (name: string): string => `type.googleapis.com/envoy.${name}`

/** @param config with its "@type". `blocked`: paths within it, and why */
export function decodeFilter(
  name: string,
  config: JsonObject,
): { filter: HttpFilter; blocked: string[]; ignored: readonly string[] } {
  const manager = {
    '@type': type('extensions.filters.network.http_connection_manager.v3.HttpConnectionManager'),
    stat_prefix: 's',
    rds: { route_config_name: 'r', config_source: { ads: {} } },
    http_filters: [{ name, typed_config: config }],
  }
  const listener = {
    '@type': type('config.listener.v3.Listener'),
    name: 'l',
    address: { socket_address: { address: '127.0.0.1', port_value: 1 } },
    traffic_direction: 'INBOUND',
    filter_chains: [{ filters: [{ name: 'h', typed_config: manager }] }],
  }
  const made = decode('listener', sample(listener).bytes)
  assert.ok(made.ok)
  const { codec } = made.value.filterChains[0]!
  assert.ok(codec.kind === 'http')
  return {
    filter: codec.http.filters[0]!,
    blocked: made.blocked.map(({ path, problem }) => `${path.replace(/.*typed_config\./, '')}: ${problem}`),
    ignored: made.ignored,
  }
}
