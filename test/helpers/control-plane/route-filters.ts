/** What routes, virtual hosts and tables say to filters of their listener, with Envoy's answer to `GET /`. */
import type { JsonObject } from '@bufbuild/protobuf'

export type FilterRow = {
  readonly name: string
  readonly filters: readonly JsonObject[]
  readonly status: number
  /** typed_per_filter_config of each level. */
  readonly table?: JsonObject
  readonly host?: JsonObject
  readonly route?: JsonObject
}
const type = (name: string): string => `type.googleapis.com/envoy.${name}`
export const DENY_ALL = {
  action: 'DENY',
  policies: { p: { permissions: [{ any: true }], principals: [{ any: true }] } },
}
const N = 'envoy.filters.http.rbac'
const F = 'envoy.filters.http.fault'
const rbac = (name: string, rules?: JsonObject, more: JsonObject = {}): JsonObject => ({
  name,
  typed_config: { '@type': type('extensions.filters.http.rbac.v3.RBAC'), ...(rules ? { rules } : {}) },
  ...more,
})
const perRoute = (rules?: JsonObject): JsonObject => ({
  '@type': type('extensions.filters.http.rbac.v3.RBACPerRoute'),
  ...(rules ? { rbac: { rules } } : {}),
})
const OFF = { '@type': type('config.route.v3.FilterConfig'), disabled: true }
const ON = { '@type': type('config.route.v3.FilterConfig'), config: {} }
const faultOf = (more: JsonObject = {}): JsonObject => ({
  '@type': type('extensions.filters.http.fault.v3.HTTPFault'),
  ...more,
})
const ABORT = { abort: { http_status: 418, percentage: { numerator: 100 } } }
const fault = (more: JsonObject = {}): JsonObject => ({ name: F, typed_config: faultOf(ABORT), ...more })

export const FILTER_ROWS: readonly FilterRow[] = [
  { name: 'one of two is switched off', filters: [rbac('a', DENY_ALL), rbac(N)], route: { [N]: OFF }, status: 403 },
  { name: 'both have that name', filters: [rbac(N, DENY_ALL), rbac(N)], route: { [N]: OFF }, status: 200 },
  {
    name: 'an empty one for a name that is not there',
    filters: [rbac('a', DENY_ALL)],
    route: { [N]: perRoute() },
    status: 403,
  },
  { name: 'rules for a name that is not there', filters: [rbac('a')], route: { b: perRoute(DENY_ALL) }, status: 200 },
  { name: 'switched off by a name of its own', filters: [rbac('a', DENY_ALL)], route: { a: OFF }, status: 200 },
  { name: 'an empty one for a name of its own', filters: [rbac('a', DENY_ALL)], route: { a: perRoute() }, status: 200 },
  { name: 'rules for a name of its own', filters: [rbac('a')], route: { a: perRoute(DENY_ALL) }, status: 403 },
  { name: 'disabled', filters: [rbac(N, DENY_ALL, { disabled: true })], status: 200 },
  {
    name: 'disabled, and the route switches it on',
    filters: [rbac(N, DENY_ALL, { disabled: true })],
    route: { [N]: ON },
    status: 403,
  },
  {
    name: 'disabled, and the host switches it on',
    filters: [rbac(N, DENY_ALL, { disabled: true })],
    host: { [N]: ON },
    status: 403,
  },
  {
    name: 'disabled, and the route has none',
    filters: [rbac(N, DENY_ALL, { disabled: true })],
    route: { [N]: perRoute() },
    status: 200,
  },
  {
    name: 'disabled, and the route has rules',
    filters: [rbac(N, undefined, { disabled: true })],
    route: { [N]: perRoute(DENY_ALL) },
    status: 403,
  },
  {
    name: 'off for the host and on for the route',
    filters: [rbac(N, DENY_ALL)],
    host: { [N]: OFF },
    route: { [N]: ON },
    status: 403,
  },
  {
    name: 'off for the table, and rules of the host',
    filters: [rbac(N)],
    table: { [N]: OFF },
    host: { [N]: perRoute(DENY_ALL) },
    status: 403,
  },
  {
    name: 'rules of the table, off for the host, on for the route',
    filters: [rbac(N)],
    table: { [N]: perRoute(DENY_ALL) },
    host: { [N]: OFF },
    route: { [N]: ON },
    status: 403,
  },
  {
    name: 'rules of the host, and the route speaks to another filter',
    filters: [rbac(N), fault()],
    host: { [N]: perRoute(DENY_ALL) },
    route: { [F]: faultOf() },
    status: 403,
  },
  { name: 'a fault', filters: [fault()], status: 418 },
  { name: 'a fault, and an empty one for the route', filters: [fault()], route: { [F]: faultOf() }, status: 200 },
  { name: 'a fault that is switched off', filters: [fault()], route: { [F]: OFF }, status: 200 },
  {
    name: 'a disabled fault that the route switches on',
    filters: [fault({ disabled: true })],
    route: { [F]: ON },
    status: 418,
  },
  { name: 'a fault of the route without a filter for it', filters: [], route: { [F]: faultOf(ABORT) }, status: 200 },
]
