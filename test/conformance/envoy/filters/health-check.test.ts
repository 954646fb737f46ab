/** Health checks of the proxy itself: who is answered here, who by the endpoint, and what is told again. */
import { test } from 'node:test'
import type http from 'node:http'
import assert from 'node:assert/strict'
import type { JsonObject } from '@bufbuild/protobuf'
import { decode } from '../../../../control-sync/decode/decode.ts'
import type { Cluster } from '../../../../model/cluster.ts'
import { sample } from '../../../helpers/control-plane/resources.ts'
import type { Ask } from '../../../protocols/http/both.ts'
import { compareRows, type, type Compared, type Row } from './rig.ts'

const NAME = 'envoy.filters.http.health_check'
const exact = (path: string): JsonObject => ({ name: ':path', string_match: { exact: path } })
const filter = (config: JsonObject, more: JsonObject = {}): JsonObject => ({
  name: NAME,
  typed_config: {
    '@type': type('extensions.filters.http.health_check.v3.HealthCheck'),
    headers: [exact('/healthz')],
    pass_through_mode: false,
    ...config,
  },
  ...more,
})
const RBAC = type('extensions.filters.http.rbac.v3.RBAC')
const deny = { name: 'rbac', typed_config: { '@type': RBAC, rules: { action: 'ALLOW' } } }
const percent = (of: Record<string, number>): JsonObject => ({
  cluster_min_healthy_percentages: Object.fromEntries(Object.entries(of).map(([name, value]) => [name, { value }])),
})
const healthz: Ask = { path: '/healthz' }
const ASKS: readonly Ask[] = [
  healthz,
  { path: '/healthz?a' },
  { path: '/other' },
  { ...healthz, method: 'HEAD' },
  { ...healthz, method: 'POST', body: 'x' },
  { ...healthz, method: 'POST', body: 'x', fields: [['content-type', 'application/grpc']] },
]
const one = [healthz]
const passes = { pass_through_mode: true }
const cached = { ...passes, cache_time: '3600s' }
const status = (code: number, more = ''): Ask => ({ path: `/healthz`, fields: [['x-wanted', `${code}${more}`]] })

const ROWS: readonly Row[] = [
  { name: 'answered here', filters: [filter({})], asks: ASKS },
  { name: 'whatever is asked', filters: [filter({ headers: [] })], asks: ASKS },
  {
    name: 'two conditions',
    filters: [filter({ headers: [exact('/healthz'), { name: 'x-check', present_match: true }] })],
    asks: [healthz, { ...healthz, fields: [['x-check', '1']] }, { fields: [['x-check', '1']] }],
  },
  { name: 'the endpoint is asked', filters: [filter(passes)], asks: [...ASKS, status(503), status(200)] },
  {
    name: 'what the endpoint said is kept',
    filters: [filter(cached)],
    asks: [{ path: '/other' }, status(200), status(503), { path: '/other' }, status(404)],
  },
  { name: 'that it is not well is kept', filters: [filter(cached)], asks: [status(500), status(200), ...ASKS] },
  { name: 'that it is degraded is kept', filters: [filter(cached)], asks: [status(200, 'd'), status(200)] },
  {
    name: 'answers of filters behind are kept',
    filters: [filter(cached), deny],
    asks: [{ path: '/other' }, healthz, healthz],
  },
  { name: 'behind one that refuses', filters: [deny, filter({})], asks: one },
  { name: 'before one that refuses', filters: [filter({}), deny], asks: ASKS },
  { name: 'disabled', filters: [filter({}, { disabled: true })], asks: one },
  {
    name: 'disabled for a route',
    filters: [filter({})],
    route: {
      route: { cluster: 'origin' },
      typed_per_filter_config: { [NAME]: { '@type': type('config.route.v3.FilterConfig'), disabled: true } },
    },
    asks: one,
  },
  {
    name: 'no route',
    filters: [filter({})],
    route: { match: { prefix: '/only' }, route: { cluster: 'origin' } },
    asks: ASKS,
  },
  {
    name: 'fields of a route',
    filters: [filter({})],
    route: { route: { cluster: 'origin' }, response_headers_to_add: [{ header: { key: 'x-route', value: 'r' } }] },
    asks: ASKS,
  },
  {
    name: 'a route that answers',
    filters: [filter(passes)],
    route: { direct_response: { status: 418 }, response_headers_to_add: [{ header: { key: 'x-route', value: 'r' } }] },
    asks: one,
  },
  ...[
    { origin: 100 },
    { missing: 0 },
    { empty: 0 },
    { empty: 1 },
    { half: 50 },
    { half: 50.9 },
    { half: 51 },
    { half: 51, origin: 10 },
    { degraded: 100 },
    { none: 0 },
    { none: 1 },
  ].map((of) => ({ name: `clusters ${JSON.stringify(of)}`, filters: [filter(percent(of))], asks: one })),
  {
    name: 'clusters where the endpoint is asked',
    filters: [filter({ ...passes, ...percent({ empty: 1 }) })],
    asks: one,
  },
]

const lbEndpoint = (port: number, health: string): JsonObject => ({
  endpoint: { address: { socket_address: { address: '127.0.0.1', port_value: port } } },
  health_status: health,
})
function clusterOf(name: string, ...health: string[]): { envoy: object; ours: Cluster } {
  const envoy = {
    '@type': type('config.cluster.v3.Cluster'),
    name,
    type: 'STATIC',
    connect_timeout: '1s',
    load_assignment: {
      cluster_name: name,
      endpoints: [{ lb_endpoints: health.map((one, i) => lbEndpoint(i + 1, one)) }],
    },
  }
  const decoded = decode('cluster', sample(envoy).bytes)
  assert.ok(decoded.ok)
  return { envoy, ours: decoded.value }
}
const clusters = [
  clusterOf('empty'),
  clusterOf('half', 'HEALTHY', 'UNHEALTHY'),
  clusterOf('degraded', 'DEGRADED', 'UNKNOWN'),
  clusterOf('none', 'UNHEALTHY', 'DRAINING', 'TIMEOUT'),
]

const answer: http.RequestListener = (request, response) => {
  const [, code, isDegraded] = /^(\d+)(d?)$/.exec(String(request.headers['x-wanted'] ?? '200')) ?? []
  response.writeHead(Number(code), isDegraded ? { 'x-envoy-degraded': '' } : {}).end('hi')
}
const TOLD = ['grpc-status', 'content-type', 'x-envoy-degraded', 'x-envoy-immediate-health-check-fail', 'x-route']
/** Words of refusals are each one's own. */
const facts = ({ told: { status: code, headers, body }, saw }: Compared): unknown => ({
  status: code,
  body: code === 404 || code === 503 ? '' : body,
  told: Object.fromEntries(TOLD.map((name) => [name, code === 404 ? '' : headers[name]])),
  isMarked: 'x-envoy-upstream-healthchecked-cluster' in headers,
  saw: saw?.url,
})

test('the same questions, the same answers', (t) => compareRows(t, ROWS, { facts, clusters, answer }))
