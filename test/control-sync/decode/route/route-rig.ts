/** Route tables with one host and one route, decoded. */
import assert from 'node:assert/strict'
import { inspect } from 'node:util'
import type { JsonObject } from '@bufbuild/protobuf'
import type { Route, RouteConfig } from '../../../../model/route.ts'
import { decode } from '../../../../control-sync/decode/decode.ts'
import { issuesOf, sample } from '../../../helpers/control-plane/resources.ts'

export const T = 'type.googleapis.com/envoy.extensions'
export const route = (
  r: JsonObject,
  host: JsonObject = {},
  table: JsonObject = {},
): ReturnType<typeof decode<'route'>> =>
  decode(
    'route',
    sample({
      '@type': 'type.googleapis.com/envoy.config.route.v3.RouteConfiguration',
      name: 't',
      virtual_hosts: [{ name: 'h', domains: ['A.example'], routes: [{ match: { prefix: '/' }, ...r }], ...host }],
      ...table,
    }).bytes,
  )
export function table(...of: Parameters<typeof route>): RouteConfig {
  const decoded = route(...of)
  assert.ok(decoded.ok, inspect(decoded))
  return decoded.value
}
export const first = (...of: Parameters<typeof route>): Route => table(...of).virtualHosts[0]!.routes[0]!
export const problems = (...of: Parameters<typeof route>): string[] => {
  return issuesOf(route(...of)).map((i) => `${i.path}: ${i.problem}`)
}
export const to = (more: JsonObject = {}): JsonObject => ({ route: { cluster: 'c', ...more } })
