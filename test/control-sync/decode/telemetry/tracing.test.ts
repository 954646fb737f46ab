import { test } from 'node:test'
import assert from 'node:assert/strict'
import { fromJson, type JsonObject } from '@bufbuild/protobuf'
import { DecodePath } from '../../../../control-sync/decode/fields/decode-path.ts'
import { decodeTracing } from '../../../../control-sync/decode/telemetry/tracing.ts'
import { HttpConnectionManager_TracingSchema } from '../../../../proto/gen/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts'
import { loadRegistry } from '../../../../proto/registry.ts'

const T = 'type.googleapis.com/envoy.config.trace.v3'
const zipkin = (more: JsonObject = {}): JsonObject => ({
  name: 'z',
  typed_config: {
    '@type': `${T}.ZipkinConfig`,
    collector_cluster: 'zipkin',
    collector_endpoint: '/api/v2/spans',
    collector_endpoint_version: 'HTTP_JSON',
    ...more,
  },
})
const otlp = (more: JsonObject): JsonObject => ({
  name: 'o',
  typed_config: { '@type': `${T}.OpenTelemetryConfig`, ...more },
})
function decode(json: JsonObject): {
  made: ReturnType<typeof decodeTracing>['tracing']
  skipped: readonly string[]
  ignored: readonly string[]
} {
  const at = DecodePath.top()
  const from = fromJson(HttpConnectionManager_TracingSchema, json, { registry: loadRegistry() })
  const { tracing } = decodeTracing(at.in('tracing'), from)
  assert.equal(at.isOpen, false, 'tracing is no reason to refuse connections')
  return { made: tracing, skipped: at.skipped, ignored: at.ignored }
}

test('as istiod sends it for Zipkin', () => {
  const { made, skipped, ignored } = decode({
    client_sampling: { value: 100 },
    random_sampling: { value: 1 },
    overall_sampling: { value: 100 },
    max_path_tag_length: 99,
    custom_tags: [
      { tag: 'l', literal: { value: 'v' } },
      { tag: 'h', request_header: { name: 'X-H', default_value: 'd' } },
    ],
    provider: zipkin({
      trace_id_128bit: true,
      collector_hostname: 'z.test',
      shared_span_context: false,
      trace_context_option: 'USE_B3_WITH_W3C_PROPAGATION',
    }),
  })
  assert.deepEqual(made, {
    clientSampling: 1,
    randomSampling: 0.01,
    overallSampling: 1,
    maxPathLength: 99,
    tags: [
      { kind: 'literal', tag: 'l', value: 'v' },
      { kind: 'header', tag: 'h', name: 'x-h', byDefault: 'd' },
    ],
    provider: {
      kind: 'zipkin',
      to: {
        cluster: 'zipkin',
        authority: 'z.test',
        path: '/api/v2/spans',
        headers: [],
        speaks: 'http',
        envelope: { kind: 'zipkin' },
      },
      isLong: true,
      isShared: false,
      withW3c: true,
    },
  })
  assert.deepEqual([skipped, ignored], [[], []])
})
test('as istiod sends it for OpenTelemetry', () => {
  const { made } = decode({
    provider: otlp({
      service_name: 'svc',
      grpc_service: {
        envoy_grpc: { cluster_name: 'outbound|4317||otel', authority: 'otel.test' },
        initial_metadata: [
          { key: 'X-A', value: 'b' },
          { key: 'bad name', value: 'c' },
        ],
      },
    }),
  })
  assert.deepEqual(made?.provider, {
    kind: 'otlp',
    to: {
      cluster: 'outbound|4317||otel',
      authority: 'otel.test',
      path: '/opentelemetry.proto.collector.trace.v1.TraceService/Export',
      headers: ['x-a', 'b'],
      speaks: 'grpc',
      envelope: { kind: 'otlp', of: 'spans', resource: [['service.name', 'svc']] },
    },
  })
  assert.deepEqual(
    [made?.clientSampling, made?.randomSampling, made?.overallSampling, made?.maxPathLength],
    [1, 1, 1, 256],
  )
})
const HTTP_SERVICE = {
  http_uri: { uri: 'otel.test/v1/traces', cluster: 'c', timeout: '3s' },
  request_headers_to_add: [{ header: { key: 'X-K', value: 'v' } }],
}
const HTTP = {
  cluster: 'c',
  authority: 'otel.test',
  path: '/v1/traces',
  headers: ['x-k', 'v'],
  timeoutMs: 3_000,
  speaks: 'http',
}
test('OpenTelemetry over HTTP, with resource detectors; unknown ones are told', () => {
  const detector = (name: string, more: JsonObject = {}): JsonObject => ({
    name: 'd',
    typed_config: {
      '@type': `type.googleapis.com/envoy.extensions.tracers.opentelemetry.resource_detectors.v3.${name}`,
      ...more,
    },
  })
  const { made, skipped, ignored } = decode({
    provider: otlp({
      service_name: 'svc',
      http_service: HTTP_SERVICE,
      resource_detectors: [
        detector('EnvironmentResourceDetectorConfig'),
        detector('StaticConfigResourceDetectorConfig', { attributes: { 'service.name': 'other', site: 'north' } }),
        { name: 'x', typed_config: { '@type': `${T}.ZipkinConfig` } },
      ],
    }),
  })
  const resource = [
    ['service.name', 'other'],
    ['site', 'north'],
  ]
  assert.deepEqual(made?.provider, {
    kind: 'otlp',
    to: { ...HTTP, envelope: { kind: 'otlp', of: 'spans', resource, withEnvironment: true } },
  })
  assert.deepEqual(skipped, [])
  assert.equal(ignored.length, 1)
  assert.match(ignored[0]!, /resource_detectors\[2\] \(the resource detector envoy\.config/)
})
test('Zipkin by collector_service, as istiod sends it since 1.29: it goes before the older fields', () => {
  const { made, ignored } = decode({ provider: zipkin({ collector_service: HTTP_SERVICE }) })
  assert.deepEqual([made?.provider.to, ignored], [{ ...HTTP, envelope: { kind: 'zipkin' } }, []])
})
test('without a provider nothing is traced, and nothing is told', () => {
  assert.deepEqual(decode({ random_sampling: { value: 50 } }), { made: undefined, skipped: [], ignored: [] })
})
for (const [provider, words] of [
  [
    { name: 'x', typed_config: { '@type': `type.googleapis.com/envoy.extensions.filters.http.router.v3.Router` } },
    /router\.v3\.Router is not implemented/,
  ],
  [zipkin({ collector_endpoint_version: 'HTTP_PROTO' }), /another form than JSON/],
  [zipkin({ collector_cluster: '' }), /no cluster/],
  [otlp({}), /do not go to a cluster/],
  [
    otlp({ sampler: { name: 'dynatrace', typed_config: { '@type': `${T}.ZipkinConfig` } } }),
    /its sampler envoy\.config\.trace\.v3\.ZipkinConfig is not implemented/,
  ],
  [zipkin({ collector_service: { http_uri: { uri: '/x', timeout: '1s' } } }), /no cluster/],
] as const)
  test(`left out and told: ${words.source}`, () => {
    const { made, skipped, ignored } = decode({ provider })
    assert.deepEqual([made, skipped.length, ignored.length], [undefined, 1, 1])
    assert.match(skipped[0]!, words)
  })
test('a tag of another kind is left out by name', () => {
  const { made, ignored } = decode({ custom_tags: [{ tag: 'env' }], provider: zipkin() })
  assert.deepEqual(made?.tags, [])
  assert.match(ignored[0]!, /custom_tags\[0\] \(the tag env is of a kind/)
})
