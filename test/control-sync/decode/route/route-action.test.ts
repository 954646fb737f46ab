import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { JsonObject } from '@bufbuild/protobuf'
import { route, first, to, T } from './route-rig.ts'

test('timeouts: 15 s when absent, none for 0, else what is said (RouteAction.timeout)', () => {
  const timeout = (r: JsonObject): unknown => {
    const { action } = first(r)
    return action.kind === 'forward' && action.timeoutMs
  }
  assert.deepEqual(
    [timeout(to()), timeout(to({ timeout: '0s' })), timeout(to({ timeout: '1.5s' }))],
    [15_000, undefined, 1_500],
  )
})
test("redirects: Envoy's codes and parts", () => {
  const { action } = first({
    redirect: {
      https_redirect: true,
      host_redirect: 'b',
      port_redirect: 8443,
      prefix_rewrite: '/n',
      response_code: 'PERMANENT_REDIRECT',
      strip_query: true,
    },
  })
  assert.deepEqual(action, {
    kind: 'redirect',
    status: 308,
    scheme: 'https',
    host: 'b',
    port: 8443,
    path: { kind: 'prefix', value: '/n' },
    stripQuery: true,
  })
})
test('upgrades: permitted unless `enabled` says otherwise (RouteAction.UpgradeConfig)', () => {
  const { action } = first(
    to({ upgrade_configs: [{ upgrade_type: 'WebSocket' }, { upgrade_type: 'foo', enabled: false }] }),
  )
  assert.deepEqual(action.kind === 'forward' && [...action.upgrades], [
    ['websocket', true],
    ['foo', false],
  ])
})
test('weighted clusters keep weights and header changes', () => {
  const { action } = first({
    route: {
      weighted_clusters: {
        clusters: [
          { name: 'a', weight: 90 },
          {
            name: 'b',
            weight: 10,
            request_headers_to_add: [
              { header: { key: 'X-V', value: '2' }, append_action: 'OVERWRITE_IF_EXISTS_OR_ADD' },
            ],
          },
        ],
      },
    },
  })
  assert.ok(action.kind === 'forward')
  assert.deepEqual(
    action.clusters.map((c) => [c.name, c.weight]),
    [
      ['a', 90],
      ['b', 10],
    ],
  )
  assert.deepEqual(action.clusters[1]!.headers.request.add, [{ name: 'x-v', value: '2', how: 'overwrite' }])
})
test('an action that is not implemented answers 501 and is reported', () => {
  const decoded = route({ route: { cluster_specifier_plugin: 'x' } })
  assert.ok(decoded.ok)
  const { action } = decoded.value.virtualHosts[0]!.routes[0]!
  assert.equal(action.kind === 'direct' && action.status, 501)
  assert.match(decoded.ignored.join(), /routes\[0\]\.route\.cluster_specifier/)
})
for (const { name, from, stream, grpc } of [
  { name: 'nothing said', from: {}, stream: undefined, grpc: undefined },
  {
    name: 'max_stream_duration',
    from: { max_stream_duration: { max_stream_duration: '2s' } },
    stream: 2000,
    grpc: undefined,
  },
  {
    name: 'none for this route, and every grpc-timeout (Istio inbound)',
    from: { max_stream_duration: { max_stream_duration: '0s', grpc_timeout_header_max: '0s' } },
    stream: 0,
    grpc: { of: 'stream', maxMs: 0, offsetMs: 0 },
  },
  {
    name: 'grpc_timeout_header_max and _offset',
    from: { max_stream_duration: { grpc_timeout_header_max: '3s', grpc_timeout_header_offset: '0.5s' } },
    stream: undefined,
    grpc: { of: 'stream', maxMs: 3000, offsetMs: 500 },
  },
  {
    name: 'the older form (max_grpc_timeout, grpc_timeout_offset)',
    from: { max_grpc_timeout: '3s', grpc_timeout_offset: '0.5s' },
    stream: undefined,
    grpc: { of: 'route', maxMs: 3000, offsetMs: 500 },
  },
  {
    name: 'both: the newer one',
    from: { max_grpc_timeout: '9s', max_stream_duration: { grpc_timeout_header_max: '3s' } },
    stream: undefined,
    grpc: { of: 'stream', maxMs: 3000, offsetMs: 0 },
  },
] satisfies { name: string; from: JsonObject; stream: unknown; grpc: unknown }[])
  test(`how long an exchange may take: ${name}`, () => {
    const { action } = first(to(from))
    assert.deepEqual(action.kind === 'forward' && [action.maxStreamMs, action.grpcTimeout], [stream, grpc])
    const decoded = route(to(from))
    assert.deepEqual(decoded.ok && decoded.ignored, [])
  })

test('hash_policy: a cookie with ttl and path, a header with regex_rewrite', () => {
  const { action } = first(
    to({
      hash_policy: [
        { cookie: { name: 'c', ttl: '90.5s', path: '/p' } },
        { header: { header_name: 'X', regex_rewrite: { pattern: { regex: 'a' }, substitution: 'b' } } },
      ],
    }),
  )
  assert.ok(action.kind === 'forward')
  const [cookie, header] = action.hash
  assert.deepEqual(cookie, { kind: 'cookie', name: 'c', ttlSec: 90, path: '/p', terminal: false })
  assert.ok(header?.kind === 'header')
  assert.equal(header.rewrite?.regex.replaceAll('aa', header.rewrite.by), 'bb')
})
for (const [what, cookie] of Object.entries({
  name: { name: 'a b', ttl: '0s' },
  path: { name: 'a', ttl: '0s', path: '/; Domain=evil' },
}))
  test(`hash_policy: the ${what} of a cookie goes into a header, so it must be one`, () => {
    const { action } = first(to({ hash_policy: [{ cookie }] }))
    assert.equal(action.kind, 'blocked')
  })

for (const [name, more, want] of [
  ['host_rewrite_header', { host_rewrite_header: 'X-To' }, { kind: 'header', name: 'x-to' }],
  ['auto_host_rewrite', { auto_host_rewrite: true }, { kind: 'endpoint' }],
  ['auto_host_rewrite that is not', { auto_host_rewrite: false }, undefined],
] as const)
  test(`${name} is taken`, () => {
    const { action } = first(to(more))
    assert.ok(action.kind === 'forward')
    assert.deepEqual(action.rewrite.host, want)
  })
test('host_rewrite_path_regex is taken', () => {
  const { action } = first(to({ host_rewrite_path_regex: { pattern: { regex: '^/(.+)' }, substitution: '\\1.test' } }))
  assert.ok(action.kind === 'forward' && action.rewrite.host?.kind === 'path')
  assert.equal(action.rewrite.host.regex.replaceAll('/a', action.rewrite.host.by), 'a.test')
})
test('cluster_header, and cluster_not_found_response_code', () => {
  for (const [code, status] of [
    ['SERVICE_UNAVAILABLE', undefined],
    ['NOT_FOUND', 404],
    ['INTERNAL_SERVER_ERROR', 500],
  ] as const) {
    const { action } = first({ route: { cluster_header: 'X-To', cluster_not_found_response_code: code } })
    assert.ok(action.kind === 'forward')
    assert.deepEqual([action.clusters, action.clusterHeader, action.notFoundStatus], [[], 'x-to', status])
  }
})
test('retry_priority: previous_priorities with update_frequency', () => {
  const priority = (update_frequency: number): JsonObject => ({
    name: 'envoy.retry_priorities.previous_priorities',
    typed_config: { '@type': `${T}.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig`, update_frequency },
  })
  const retry = (retry_priority: JsonObject): JsonObject => to({ retry_policy: { retry_on: '5xx', retry_priority } })
  const { action } = first(retry(priority(2)))
  assert.ok(action.kind === 'forward')
  assert.equal(action.retry?.avoidPreviousPriorities, 2)
  assert.equal(first(retry(priority(0))).action.kind, 'blocked')
})
