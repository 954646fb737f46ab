/** envoy.config.core.v3.HealthCheck as meshlet takes it. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { JsonObject } from '@bufbuild/protobuf'
import type { HealthCheck } from '../../../../model/http/health-check.ts'
import { decode } from '../../../../control-sync/decode/decode.ts'
import { sample } from '../../../helpers/control-plane/resources.ts'

const TIMES = { timeout: '1s', interval: '5s', unhealthy_threshold: 2, healthy_threshold: 3 }
const HTTP = { http_health_check: { path: '/healthz' } }

function decoded(check: JsonObject, more: JsonObject = {}) {
  return decode(
    'cluster',
    sample({
      '@type': 'type.googleapis.com/envoy.config.cluster.v3.Cluster',
      name: 'c',
      type: 'STATIC',
      load_assignment: { cluster_name: 'c' },
      health_checks: [check],
      ...more,
    }).bytes,
  )
}
function taken(check: JsonObject): HealthCheck {
  const made = decoded({ ...TIMES, ...check })
  assert.ok(made.ok, JSON.stringify(made))
  assert.deepEqual([made.blocked, made.ignored], [[], []])
  return made.value.healthCheck!
}
/** Why the cluster is blocked. */
function refused(check: JsonObject): string {
  const made = decoded(check)
  assert.ok(made.ok && made.value.blocked !== undefined, JSON.stringify(made))
  return made.blocked.map(({ path, problem }) => `${path} ${problem}`).join('\n')
}

test("Envoy's defaults", () => {
  const { asks, intervals, ...rest } = taken(HTTP)
  assert.deepEqual(asks, {
    kind: 'http',
    method: 'GET',
    path: '/healthz',
    host: '',
    headers: { add: [], remove: [] },
    body: new Uint8Array(),
    codec: 'http1',
    expected: [{ start: 200, end: 201 }],
    retriable: [],
    receive: [],
    maxBodyBytes: 1024,
  })
  assert.deepEqual(intervals, {
    healthyMs: 5_000,
    healthyEdgeMs: 5_000,
    unhealthyMs: 5_000,
    unhealthyEdgeMs: 5_000,
    noTrafficMs: 60_000,
    noTrafficHealthyMs: 60_000,
    initialJitterMs: 0,
    jitterMs: 0,
    jitterPercent: 0,
  })
  assert.deepEqual(rest, {
    timeoutMs: 1_000,
    unhealthyThreshold: 2,
    healthyThreshold: 3,
    reusesConnection: true,
    logsFailures: false,
    logsSuccesses: false,
  })
})
test('an interval that is not said is that of its kind', () => {
  const { intervals } = taken({
    ...HTTP,
    unhealthy_interval: '7s',
    no_traffic_interval: '8s',
    healthy_edge_interval: '9s',
  })
  assert.deepEqual(
    [intervals.unhealthyEdgeMs, intervals.noTrafficHealthyMs, intervals.healthyEdgeMs, intervals.healthyMs],
    [7_000, 8_000, 9_000, 5_000],
  )
})
test('everything that an HTTP check may say', () => {
  const { asks } = taken({
    http_health_check: {
      path: '/x',
      host: 'h.test',
      method: 'HEAD',
      send: { text: '6869' },
      receive: [{ text: '00FF' }, { binary: 'AQ==' }],
      request_headers_to_add: [{ header: { key: 'X-A', value: 'b' } }],
      request_headers_to_remove: ['user-agent'],
      expected_statuses: [{ start: 200, end: 300 }],
      retriable_statuses: [{ start: 503, end: 504 }],
      codec_client_type: 'HTTP2',
      service_name_matcher: { prefix: 'pay' },
      response_buffer_size: 0,
    },
  })
  assert.deepEqual(asks, {
    kind: 'http',
    method: 'HEAD',
    path: '/x',
    host: 'h.test',
    headers: { add: [{ name: 'x-a', value: 'b', how: 'append' }], remove: ['user-agent'] },
    body: Buffer.from('hi'),
    codec: 'http2',
    expected: [{ start: 200, end: 300 }],
    retriable: [{ start: 503, end: 504 }],
    receive: [Buffer.from([0, 255]), new Uint8Array([1])],
    maxBodyBytes: 64 * 1024,
    serviceName: { kind: 'prefix', value: 'pay', ignoreCase: false },
  })
})
test('TCP and gRPC, and what the connection is', () => {
  assert.deepEqual(taken({ tcp_health_check: {} }).asks, { kind: 'tcp', send: new Uint8Array(), receive: [] })
  const check = taken({
    grpc_health_check: {
      service_name: 's',
      authority: 'a.test',
      initial_metadata: [{ header: { key: 'x-b', value: 'c' } }],
    },
    reuse_connection: false,
    tls_options: { alpn_protocols: ['probe'] },
    transport_socket_match_criteria: { mode: 'probe' },
    always_log_health_check_failures: true,
    always_log_health_check_success: true,
  })
  assert.deepEqual(check.asks, {
    kind: 'grpc',
    service: 's',
    authority: 'a.test',
    headers: { remove: [], add: [{ name: 'x-b', value: 'c', how: 'append' }] },
  })
  assert.deepEqual(check.alpnProtocols, ['probe'])
  assert.deepEqual(check.transportLabels, { mode: 'probe' })
  assert.deepEqual([check.reusesConnection, check.logsFailures, check.logsSuccesses], [false, true, true])
})
test('what Envoy refuses blocks the cluster', () => {
  for (const field of Object.keys(TIMES)) {
    const { [field as 'timeout']: _, ...less } = TIMES
    assert.match(refused({ ...less, ...HTTP }), new RegExp(`health_checks\\[0\\]\\.${field} is missing`))
  }
  const rows: readonly (readonly [JsonObject, RegExp])[] = [
    [{ http_health_check: { path: '/a b' } }, /path/],
    [{ http_health_check: { path: '' } }, /path/],
    [{ http_health_check: { path: '/', method: 'CONNECT' } }, /CONNECT/],
    [{ http_health_check: { path: '/', expected_statuses: [{ start: 99, end: 200 }] } }, /no range/],
    [{ http_health_check: { path: '/', retriable_statuses: [{ start: 200, end: 200 }] } }, /no range/],
    [{ tcp_health_check: { send: { text: 'xyz' } } }, /hexadecimal/],
    [{ tcp_health_check: { receive: [{ text: '' }] } }, /empty/],
    [{ ...HTTP, no_traffic_interval: '0s' }, /not above 0/],
    [{ ...HTTP, transport_socket_match_criteria: { n: 1 } }, /only text/],
  ]
  for (const [of, problem] of rows) assert.match(refused({ ...TIMES, ...of }), problem)
})
test('a check of a kind that nobody knows, and one of hosts that requests name, are told as left out', () => {
  const custom = decoded(TIMES)
  assert.ok(custom.ok && custom.value.healthCheck === undefined && custom.value.blocked === undefined)
  assert.match(custom.skipped.join(), /not asked whether they are well/)
  const original = decoded(
    { ...TIMES, ...HTTP },
    { type: 'ORIGINAL_DST', lb_policy: 'CLUSTER_PROVIDED', load_assignment: null },
  )
  assert.ok(original.ok && original.value.healthCheck === undefined)
  assert.match(original.ignored.join(), /health_checks/)
})
