/** Listeners from a few words, decoded: the good ones, and what is said of the others. */
import assert from 'node:assert/strict'
import type { JsonObject } from '@bufbuild/protobuf'
import type { Listener } from '../../../../model/listener.ts'
import { decode } from '../../../../control-sync/decode/decode.ts'
import { sample } from '../../../helpers/control-plane/resources.ts'

export const T = 'type.googleapis.com/envoy.extensions'
export const HCM = `${T}.filters.network.http_connection_manager.v3.HttpConnectionManager`
export const STRUCT = 'type.googleapis.com/xds.type.v3.TypedStruct'
export const tcp: JsonObject = {
  name: 'tcp',
  typed_config: { '@type': `${T}.filters.network.tcp_proxy.v3.TcpProxy`, cluster: 'c' },
}
export const unknown: JsonObject = {
  name: 'acme.guard',
  typed_config: { '@type': STRUCT, type_url: 'type.googleapis.com/acme.Guard', value: {} },
}
export const stats: JsonObject = {
  name: 'istio.stats',
  typed_config: { '@type': STRUCT, type_url: 'type.googleapis.com/stats.PluginConfig', value: {} },
}
export const http = (manager: JsonObject): JsonObject => ({
  name: 'http',
  typed_config: { '@type': HCM, rds: { route_config_name: 'r' }, ...manager },
})
/** A chain whose connection manager has one filter, named `l`. */
export const withHttpFilter = (type: string, config: JsonObject): JsonObject => ({
  filters: [http({ http_filters: [{ name: 'l', typed_config: { '@type': `${T}.filters.http.${type}`, ...config } }] })],
})
export const rbac = (rules: JsonObject): JsonObject => ({
  name: 'envoy.filters.http.rbac',
  typed_config: { '@type': `${T}.filters.http.rbac.v3.RBAC`, ...rules },
})

export function listenerBytes(more: JsonObject, chain: JsonObject): Uint8Array {
  return sample({
    '@type': 'type.googleapis.com/envoy.config.listener.v3.Listener',
    name: 'l',
    traffic_direction: 'INBOUND',
    address: { socket_address: { address: '0.0.0.0', port_value: 80 } },
    filter_chains: [{ name: 'chain', ...chain }],
    ...more,
  }).bytes
}
export function good(more: JsonObject, chain: JsonObject): { value: Listener; ignored: readonly string[] } {
  const decoded = decode('listener', listenerBytes(more, chain))
  assert.ok(decoded.ok, JSON.stringify(decoded))
  return decoded
}
export function issues(more: JsonObject, chain: JsonObject): string[] {
  const decoded = decode('listener', listenerBytes(more, chain))
  assert.ok(
    decoded.ok && decoded.value.filterChains.every((c) => c.codec.kind === 'blocked' || blockedWithin(c)),
    'should be blocked',
  )
  return decoded.blocked.map((i) => `${i.path}: ${i.problem}`)
}
/** Smaller pieces than the chain: an HTTP filter, a route, a virtual host. */
export const blockedWithin = ({ codec: c }: Listener['filterChains'][number]): boolean =>
  c.kind === 'http' &&
  (c.http.filters.some((f) => f.kind === 'blocked') ||
    (c.http.routes.from === 'inline' &&
      c.http.routes.config.virtualHosts.some((h) => h.routes.some((r) => r.action.kind === 'blocked'))))
export const codec = (l: Listener): Listener['filterChains'][number]['codec'] => l.filterChains[0]!.codec
