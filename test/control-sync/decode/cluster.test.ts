import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { JsonObject } from '@bufbuild/protobuf'
import { isBlocked, selectTransport, type Cluster, type Endpoint } from '../../../model/cluster.ts'
import { decode } from '../../../control-sync/decode/decode.ts'
import { issuesOf, sample } from '../../helpers/control-plane/resources.ts'

const OPTIONS = 'envoy.extensions.upstreams.http.v3.HttpProtocolOptions'
const run = (more: JsonObject): ReturnType<typeof decode<'cluster'>> =>
  decode(
    'cluster',
    sample({ '@type': 'type.googleapis.com/envoy.config.cluster.v3.Cluster', name: 'c', ...more }).bytes,
  )
function cluster(more: JsonObject): Cluster {
  const decoded = run(more)
  assert.ok(decoded.ok, JSON.stringify(decoded))
  return decoded.value
}
const problems = (more: JsonObject): string => {
  const d = run(more)
  return issuesOf(d)
    .map((i) => `${i.path}: ${i.problem}`)
    .join('\n')
}
const options = (o: JsonObject): JsonObject => ({
  typed_extension_protocol_options: { [OPTIONS]: { '@type': `type.googleapis.com/${OPTIONS}`, ...o } },
})
const upstreamTls = (o: JsonObject): JsonObject => ({
  transport_socket: {
    name: 'tls',
    typed_config: { '@type': 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext', ...o },
  },
})

test("an empty cluster has Envoy's defaults", () => {
  const c = cluster({})
  assert.deepEqual(
    [c.connectTimeoutMs, c.idleMs, c.panicPercent, c.protocol, c.discovery.kind, c.balancer.kind, c.transport.kind],
    [5_000, 3_600_000, 50, 'http1', 'static', 'round-robin', 'plaintext'],
  )
  assert.deepEqual(c.breakers, {
    maxConnections: 1024,
    maxPendingRequests: 1024,
    maxRequests: 1024,
    maxRetries: 3,
    retryBudget: undefined,
  })
})
for (const { name, more, want } of [
  { name: 'explicit HTTP/2', more: options({ explicit_http_config: { http2_protocol_options: {} } }), want: 'http2' },
  { name: 'explicit HTTP/1', more: options({ explicit_http_config: { http_protocol_options: {} } }), want: 'http1' },
  { name: 'as the client', more: options({ use_downstream_protocol_config: {} }), want: 'downstream' },
  { name: 'the deprecated http2_protocol_options', more: { http2_protocol_options: {} }, want: 'http2' },
])
  test(`protocol: ${name}`, () => assert.equal(cluster(more).protocol, want))
test("bounds of a response's head: max_response_headers_kb and max_headers_count", () => {
  const bounds = (common: JsonObject): unknown => {
    const c = cluster(options({ common_http_protocol_options: common }))
    return [c.maxResponseHeadersBytes, c.maxResponseHeaders]
  }
  assert.deepEqual(
    [bounds({}), bounds({ max_response_headers_kb: 96, max_headers_count: 200 })],
    [
      [undefined, undefined],
      [96 * 1024, 200],
    ],
  )
  assert.match(
    problems(options({ common_http_protocol_options: { max_response_headers_kb: 9000 } })),
    /max_response_headers_kb: must be 1 to 8192/,
  )
})
test('an idle timeout of 0 is none', () =>
  assert.equal(
    cluster(options({ common_http_protocol_options: { idle_timeout: '0s' }, explicit_http_config: {} })).idleMs,
    Infinity,
  ))
for (const { name, more, want } of [
  {
    name: 'least request',
    more: { lb_policy: 'LEAST_REQUEST', least_request_lb_config: { choice_count: 5 } },
    want: { kind: 'least-request', choices: 5 },
  },
  {
    name: 'ring hash',
    more: { lb_policy: 'RING_HASH', ring_hash_lb_config: { minimum_ring_size: '64' } },
    want: { kind: 'ring-hash', minRing: 64, maxRing: 8_388_608 },
  },
  { name: 'maglev', more: { lb_policy: 'MAGLEV' }, want: { kind: 'maglev', tableSize: 65_537 } },
  {
    name: 'slow_start_config of round robin',
    more: { round_robin_lb_config: { slow_start_config: { slow_start_window: '9s' } } },
    want: { kind: 'round-robin', slowStart: { windowMs: 9_000, aggression: 1, minPercent: 10 } },
  },
  {
    name: 'slow_start_config of least request (aggression, min_weight_percent)',
    more: {
      lb_policy: 'LEAST_REQUEST',
      least_request_lb_config: {
        slow_start_config: {
          slow_start_window: '9s',
          aggression: { default_value: 2 },
          min_weight_percent: { value: 3 },
        },
      },
    },
    want: { kind: 'least-request', choices: 2, slowStart: { windowMs: 9_000, aggression: 2, minPercent: 3 } },
  },
  {
    name: 'maglev by host names (consistent_hashing_lb_config)',
    more: {
      lb_policy: 'MAGLEV',
      common_lb_config: { consistent_hashing_lb_config: { use_hostname_for_hashing: true } },
    },
    want: { kind: 'maglev', tableSize: 65_537, byHostname: true },
  },
])
  test(`balancer: ${name}`, () => assert.deepEqual(cluster(more).balancer, want))
test('locality weights count where the cluster says so; a locality without one has none (LocalityLbEndpoints.load_balancing_weight)', () => {
  const endpoints = (weight: JsonObject): JsonObject => ({
    lb_endpoints: [{ endpoint: { address: { socket_address: { address: '10.0.0.1', port_value: 1 } } } }],
    ...weight,
  })
  const c = cluster({
    common_lb_config: { locality_weighted_lb_config: {} },
    load_assignment: { cluster_name: 'c', endpoints: [endpoints({ load_balancing_weight: 7 }), endpoints({})] },
  })
  assert.deepEqual([c.localityWeighted, cluster({}).localityWeighted], [true, false])
  assert.deepEqual(c.discovery.kind === 'static' && c.discovery.load.localities.map((l) => l.weight), [7, 0])
})
test('outlier detection: what enforces nothing is not counted, local failures only where they are split off', () => {
  const o = cluster({
    outlier_detection: {
      consecutive_5xx: 7,
      enforcing_consecutive_5xx: 0,
      consecutive_gateway_failure: 3,
      enforcing_consecutive_gateway_failure: 100,
      consecutive_local_origin_failure: 2,
      interval: '1s',
    },
  }).outlier!
  assert.deepEqual(
    [
      o.consecutive5xx,
      o.consecutiveGatewayFailures,
      o.consecutiveLocalFailures,
      o.intervalMs,
      o.baseEjectionMs,
      o.maxEjectionPercent,
    ],
    [undefined, 3, undefined, 1_000, 30_000, 10],
  )
})
test('DNS clusters keep host names and their refresh', () => {
  const c = cluster({
    type: 'STRICT_DNS',
    dns_refresh_rate: '60s',
    load_assignment: {
      cluster_name: 'c',
      endpoints: [
        { lb_endpoints: [{ endpoint: { address: { socket_address: { address: 'db.example', port_value: 5432 } } } }] },
      ],
    },
  })
  assert.ok(c.discovery.kind === 'dns')
  assert.deepEqual(
    [c.discovery.mode, c.discovery.refreshMs, c.discovery.load.localities[0]!.endpoints[0]!.address],
    ['strict', 60_000, 'db.example'],
  )
})
test('DNS clusters keep the family of addresses that they use', () => {
  const of = (type: string, family?: string): unknown => {
    const { discovery } = cluster({ type, ...(family && { dns_lookup_family: family }) })
    return discovery.kind === 'dns' && discovery.lookupFamily
  }
  const families = [undefined, 'AUTO', 'V4_ONLY', 'V6_ONLY', 'V4_PREFERRED', 'ALL']
  for (const type of ['STRICT_DNS', 'LOGICAL_DNS'])
    assert.deepEqual(
      families.map((f) => of(type, f)),
      ['auto', 'auto', 'v4-only', 'v6-only', 'v4-preferred', 'all'],
    )
})
test('outlier detection: one host, jitter, and what is enforced how often', () => {
  const o = cluster({
    outlier_detection: {
      always_eject_one_host: true,
      max_ejection_time_jitter: '2s',
      enforcing_consecutive_5xx: 30,
      split_external_local_origin_errors: true,
    },
  }).outlier!
  assert.deepEqual(
    [o.alwaysEjectOneHost, o.maxEjectionJitterMs, o.splitLocal, o.enforcing],
    [true, 2_000, true, { consecutive5xx: 30, gatewayFailures: 0, localFailures: 100 }],
  )
})
test("auto_san_validation asks for the name of the request's host, auto_sni_san_validation for the SNI in place of the names of the settings", () => {
  const auto = options({
    upstream_http_protocol_options: { auto_sni: true, auto_san_validation: true },
    explicit_http_config: {},
  })
  const context = { validation_context_sds_secret_config: { name: 'ROOTCA' } }
  const { transport } = cluster({ ...auto, ...upstreamTls({ sni: 'a.example', common_tls_context: context }) })
  assert.deepEqual(transport.kind === 'tls' && [transport.tls.autoSan, transport.tls.sni, transport.tls.autoSni], [
    'host',
    'a.example',
    false,
  ])
  const byRequest = cluster({ ...auto, ...upstreamTls({ common_tls_context: context }) }).transport
  assert.deepEqual(byRequest.kind === 'tls' && [byRequest.tls.autoSan, byRequest.tls.sni, byRequest.tls.autoSni], [
    'host',
    '',
    true,
  ])
  const bySni = cluster(
    upstreamTls({ sni: 'a.example', auto_sni_san_validation: true, auto_host_sni: true, common_tls_context: context }),
  ).transport
  assert.deepEqual(bySni.kind === 'tls' && [bySni.tls.autoSan, bySni.tls.sniOfEndpoint], ['sni', true])
  const other = options({
    upstream_http_protocol_options: { auto_sni: true, override_auto_sni_header: 'x-name' },
    explicit_http_config: {},
  })
  assert.match(problems({ ...other, ...upstreamTls({ common_tls_context: context }) }), /override_auto_sni_header/)
})
test('files that a control plane names are permitted or block the cluster; they are not read when it is decoded', () => {
  const file = (name: string): JsonObject => ({
    type: 'STATIC',
    ...upstreamTls({
      common_tls_context: {
        combined_validation_context: {
          default_validation_context: { crl: { filename: '/etc/certs/ca.crl' } },
          validation_context_sds_secret_config: { name },
        },
        tls_certificate_sds_secret_configs: [{ name: 'file-cert:/etc/certs/c.pem~/etc/certs/k.pem' }],
      },
    }),
  })
  const decoded = (name: string): ReturnType<typeof decode<'cluster'>> =>
    decode(
      'cluster',
      sample({ '@type': 'type.googleapis.com/envoy.config.cluster.v3.Cluster', name: 'c', ...file(name) }).bytes,
      { files: { permits: (f) => f.startsWith('/etc/certs/') } },
    )
  const good = decoded('file-root:/etc/certs/ca.pem')
  assert.ok(good.ok && good.value.transport.kind === 'tls')
  assert.deepEqual(good.value.transport.tls.validation, {
    roots: { from: 'file', file: '/etc/certs/ca.pem' },
    sans: [],
    crl: { from: 'file', file: '/etc/certs/ca.crl' },
  })
  assert.deepEqual(good.value.transport.tls.certificate, {
    from: 'files',
    chainFile: '/etc/certs/c.pem',
    keyFile: '/etc/certs/k.pem',
  })
  for (const name of ['file-root:/etc/passwd', 'elsewhere://x', 'file-root:']) {
    const d = decoded(name)
    assert.ok(d.ok && d.value.blocked !== undefined, name)
  }
})
for (const { name, more, problem } of [
  {
    name: 'a transport socket that is not implemented',
    more: { transport_socket: { name: 'quic' } },
    problem: /^transport_socket\.typed_config: the transport socket quic is not supported/,
  },
  {
    name: 'a ring that would fill the memory',
    more: { lb_policy: 'RING_HASH', ring_hash_lb_config: { maximum_ring_size: '99999999' } },
    problem: /maximum_ring_size: is above/,
  },
  {
    name: 'UDP',
    more: {
      load_assignment: {
        cluster_name: 'c',
        endpoints: [
          {
            lb_endpoints: [
              { endpoint: { address: { socket_address: { protocol: 'UDP', address: '1.1.1.1', port_value: 1 } } } },
            ],
          },
        ],
      },
    },
    problem:
      /load_assignment\.endpoints\[0\]\.lb_endpoints\[0\]\.endpoint\.address\.socket_address\.protocol: only TCP/,
  },
  {
    name: 'a port of 65536',
    more: {
      load_assignment: {
        cluster_name: 'c',
        endpoints: [
          { lb_endpoints: [{ endpoint: { address: { socket_address: { address: '1.1.1.1', port_value: 65536 } } } }] },
        ],
      },
    },
    problem: /port_value: is above 65535/,
  },
  {
    name: 'a maglev table whose size is no prime number',
    more: { lb_policy: 'MAGLEV', maglev_lb_config: { table_size: '100' } },
    problem: /^maglev_lb_config\.table_size: must be a prime number/,
  },
  {
    name: 'a bind address that is none',
    more: { upstream_bind_config: { source_address: { address: 'eth0', port_value: 0 } } },
    problem: /^upstream_bind_config\.source_address\.address: is no IP address/,
  },
])
  test(`refused with its path: ${name}`, () => assert.match(problems(more), problem))
test('fields without effect are listed by name, also below', () => {
  const decoded = run({ dns_resolvers: [{}], common_lb_config: { update_merge_window: '1s' } })
  assert.deepEqual(decoded.ok && decoded.ignored, ['dns_resolvers', 'common_lb_config.update_merge_window'])
})
test('fields that our protos do not have are listed by number', () => {
  const bytes = Buffer.concat([
    sample({ '@type': 'type.googleapis.com/envoy.config.cluster.v3.Cluster', name: 'c' }).bytes,
    Buffer.from('92030101', 'hex'),
  ])
  const decoded = decode('cluster', bytes)
  assert.deepEqual(decoded.ok && decoded.ignored, ['preconnect_policy'])
})
test('a transport that cannot be taken is blocked for the endpoints that it is for, and these are not left to the next one', () => {
  const plain = { name: 'envoy.transport_sockets.raw_buffer' }
  const of = (match: JsonObject): JsonObject => ({
    transport_socket_matches: [
      { name: 'istio', match, transport_socket: { name: 'quic' } },
      { name: 'rest', match: {}, transport_socket: plain },
    ],
  })
  const endpoint = (labels: Readonly<Record<string, string>>): Endpoint => ({
    address: '10.0.0.1',
    port: 1,
    weight: 1,
    health: 'healthy',
    transportLabels: labels,
    workload: undefined,
  })
  const made = cluster(of({ tlsMode: 'istio' }))
  assert.deepEqual(
    [endpoint({ tlsMode: 'istio' }), endpoint({})].map((e) => selectTransport(made, e).kind),
    ['blocked', 'plaintext'],
  )
  assert.deepEqual([made.blocked, isBlocked(made)], [undefined, true])
  // A label that is no text: nobody knows whom it is for.
  assert.deepEqual(
    [endpoint({ tlsMode: 'istio' }), endpoint({})].map((e) => selectTransport(cluster(of({ tlsMode: 1 })), e).kind),
    ['blocked', 'blocked'],
  )
})

test('tcp_keepalive: keepalive_time, keepalive_interval and keepalive_probes', () => {
  const keepalive = { keepalive_time: 7, keepalive_interval: 3, keepalive_probes: 4 }
  const decoded = run({ upstream_connection_options: { tcp_keepalive: keepalive } })
  assert.ok(decoded.ok)
  assert.deepEqual(decoded.value.keepAlive, { idleMs: 7_000, intervalMs: 3_000, probes: 4 })
})
