/** Logs whose entries go to collectors, as istiod sends them (pilot/pkg/model/telemetry_logging.go). */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { fromJson, type JsonObject } from '@bufbuild/protobuf'
import { DecodePath } from '../../../../control-sync/decode/fields/decode-path.ts'
import { decodeAccessLogs } from '../../../../control-sync/decode/telemetry/access-log.ts'
import { AccessLogSchema } from '../../../../proto/gen/envoy/config/accesslog/v3/accesslog_pb.ts'
import { loadRegistry } from '../../../../proto/registry.ts'

const V3 = 'type.googleapis.com/envoy.extensions.access_loggers'
const grpc = { envoy_grpc: { cluster_name: 'outbound|4317||otel', authority: 'otel.test' } }
const common = { log_name: 'l', grpc_service: grpc, transport_api_version: 'V3' }
const STATE = { filter_state_objects_to_log: ['wasm.upstream_peer'] }
const type = (name: string, more: JsonObject): JsonObject => ({ typed_config: { '@type': `${V3}.${name}`, ...more } })
const otlp = (more: JsonObject): JsonObject => type('open_telemetry.v3.OpenTelemetryAccessLogConfig', more)
const text = (string_value: string): JsonObject => ({ string_value })

function decode(log: JsonObject) {
  const at = DecodePath.top({ files: { permits: () => false, permitsLog: () => false } })
  const from = [fromJson(AccessLogSchema, log, { registry: loadRegistry() })]
  const { accessLogs = [] } = decodeAccessLogs(at.in('access_log'), from)
  assert.equal(at.isOpen, false, 'a log is no reason to refuse connections')
  return { log: accessLogs[0], skipped: at.skipped, ignored: at.ignored }
}
const GRPC = {
  cluster: 'outbound|4317||otel',
  authority: 'otel.test',
  headers: [],
  speaks: 'grpc',
  flushMs: 1_000,
  batchBytes: 16_384,
}
const OTLP_PATH = '/opentelemetry.proto.collector.logs.v1.LogsService/Export'
const ALS_PATH = '/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs'

test('OpenTelemetry as istiod sends it for envoyOtelAls', () => {
  const { log, skipped, ignored } = decode(
    otlp({
      common_config: { ...common, ...STATE },
      disable_builtin_labels: true,
      body: text('%RESPONSE_CODE%'),
      attributes: { values: [{ key: 'a', value: text('%REQ(x)%') }] },
    }),
  )
  assert.deepEqual([skipped, ignored], [[], []])
  const envelope = { kind: 'otlp', of: 'logs', resource: [] }
  assert.deepEqual(log && 'entry' in log && [log.collector, log.entry], [
    { ...GRPC, path: OTLP_PATH, envelope },
    {
      kind: 'otlp',
      body: { kind: 'text', format: { kind: 'text', parts: [{ name: 'RESPONSE_CODE' }], omitEmpty: false } },
      attributes: [
        ['a', { kind: 'text', format: { kind: 'text', parts: [{ name: 'REQ', argument: 'x' }], omitEmpty: false } }],
      ],
    },
  ])
})

for (const [what, config, collector] of [
  [
    'over HTTP, with a resource and batches of its own',
    {
      http_service: {
        http_uri: { uri: 'http://otel.test/v1/logs', cluster: 'c', timeout: '2s' },
        request_headers_to_add: [
          { header: { key: 'Api-Key', value: 'k' } },
          { header: { key: 'bad name', value: 'k' } },
        ],
      },
      log_name: 'own',
      resource_attributes: { values: [{ key: 'region', value: text('north') }] },
      buffer_flush_interval: '3s',
      buffer_size_bytes: 0,
    },
    {
      cluster: 'c',
      authority: 'otel.test',
      path: '/v1/logs',
      headers: ['api-key', 'k'],
      timeoutMs: 2_000,
      speaks: 'http',
      flushMs: 3_000,
      batchBytes: 1,
      envelope: { kind: 'otlp', of: 'logs', resource: [['region', 'north']], builtin: { logName: 'own' } },
    },
  ],
  [
    'the field that follows common_config',
    { grpc_service: { ...grpc, initial_metadata: [{ key: 'A', value: 'b' }] }, disable_builtin_labels: true },
    { ...GRPC, headers: ['a', 'b'], path: OTLP_PATH, envelope: { kind: 'otlp', of: 'logs', resource: [] } },
  ],
] as const)
  test(`OpenTelemetry: ${what}`, () => {
    const { log, ignored } = decode(otlp(config as unknown as JsonObject))
    assert.deepEqual([log?.collector, ignored], [collector, []])
  })

test('Envoy’s service as istiod sends it for envoyHttpAls and envoyTcpAls', () => {
  const http = decode(
    type('grpc.v3.HttpGrpcAccessLogConfig', {
      common_config: { ...common, ...STATE, buffer_flush_interval: '2s', buffer_size_bytes: 5 },
      additional_request_headers_to_log: ['X-A'],
      additional_response_headers_to_log: ['X-B'],
      additional_response_trailers_to_log: ['X-C'],
    }),
  )
  const als = (of: string): object => ({ ...GRPC, path: ALS_PATH, envelope: { kind: 'als', logName: 'l', of } })
  assert.deepEqual(http.log && 'entry' in http.log && [http.log.collector, http.log.entry], [
    { ...als('http'), flushMs: 2_000, batchBytes: 5 },
    { kind: 'http', requestHeaders: ['x-a'], responseHeaders: ['x-b'], responseTrailers: ['x-c'] },
  ])
  const tcp = decode(type('grpc.v3.TcpGrpcAccessLogConfig', { common_config: common }))
  assert.deepEqual(tcp.log && 'entry' in tcp.log && [tcp.log.collector, tcp.log.entry], [als('tcp'), { kind: 'tcp' }])
  assert.deepEqual([http.ignored, tcp.ignored], [[], []])
})

for (const [why, log] of [
  [/%ODD% is no operator/, otlp({ common_config: common, body: text('%ODD%') })],
  [/its service is no cluster/, otlp({})],
  [/its service is no cluster/, otlp({ http_service: { http_uri: { uri: '/x', timeout: '1s' } } })],
  [/its service is no cluster/, type('grpc.v3.TcpGrpcAccessLogConfig', {})],
  [/neither texts nor lists/, otlp({ common_config: common, body: { int_value: '1' } })],
] as const)
  test(`left out and told: ${String(why)}`, () => {
    const { log: made, skipped } = decode(log as unknown as JsonObject)
    assert.equal(made, undefined)
    assert.match(skipped[0]!, why)
  })

test('a resource attribute that is no text, and a header with operators, are told', () => {
  const { log, ignored } = decode(
    otlp({
      http_service: {
        http_uri: { uri: 'x', cluster: 'c', timeout: '1s' },
        request_headers_to_add: [{ header: { key: 'k', value: '%ENVIRONMENT(TOKEN)%' } }],
      },
      resource_attributes: { values: [{ key: 'n', value: { int_value: '1' } }] },
    }),
  )
  assert.deepEqual([log?.collector?.authority, log?.collector?.path, log?.collector?.headers], ['x', '/', []])
  assert.equal(ignored.length, 2, ignored.join('\n'))
})
