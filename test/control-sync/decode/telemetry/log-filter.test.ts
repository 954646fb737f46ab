import { test } from 'node:test'
import assert from 'node:assert/strict'
import { fromJson, type JsonObject } from '@bufbuild/protobuf'
import { DecodePath } from '../../../../control-sync/decode/fields/decode-path.ts'
import { decodeLogFilter } from '../../../../control-sync/decode/telemetry/log-filter.ts'
import { AccessLogFilterSchema } from '../../../../proto/gen/envoy/config/accesslog/v3/accesslog_pb.ts'
import { loadRegistry } from '../../../../proto/registry.ts'

const decode = (json: JsonObject): unknown =>
  decodeLogFilter(DecodePath.top(), fromJson(AccessLogFilterSchema, json, { registry: loadRegistry() }))
const cel = (expression: string): JsonObject => ({
  extension_filter: {
    name: 'cel',
    typed_config: {
      '@type': 'type.googleapis.com/envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter',
      expression,
    },
  },
})
const is = (op: string, value: number): JsonObject => ({
  comparison: { op, value: { default_value: value, runtime_key: 'k' } },
})

for (const [json, want] of [
  [{ status_code_filter: is('GE', 500) }, { kind: 'status', is: 'ge', value: 500 }],
  [{ duration_filter: is('LE', 5) }, { kind: 'duration', is: 'le', value: 5 }],
  [{ status_code_filter: is('NE', 1) }, { kind: 'status', is: 'ne', value: 1 }],
  [{ status_code_filter: {} }, 'its status filter compares in no way that meshlet knows'],
  [{ not_health_check_filter: {} }, { kind: 'no-health-check' }],
  [{ traceable_filter: {} }, { kind: 'traced' }],
  [
    { runtime_filter: { runtime_key: 'k', percent_sampled: { numerator: 5, denominator: 'TEN_THOUSAND' } } },
    { kind: 'fraction', fraction: 0.0005 },
  ],
  [{ runtime_filter: { runtime_key: 'k' } }, { kind: 'fraction', fraction: 0 }],
  [{ response_flag_filter: { flags: ['NR'] } }, { kind: 'flags', flags: new Set(['NR']) }],
  [{ response_flag_filter: { flags: ['XX'] } }, 'XX is no response flag that meshlet knows'],
  [
    { grpc_status_filter: { statuses: ['NOT_FOUND'], exclude: true } },
    { kind: 'grpc-status', codes: new Set([5]), exclude: true },
  ],
  [
    { log_type_filter: { types: ['TcpConnectionEnd', 'UpstreamEnd'] } },
    { kind: 'type', types: new Set(['TcpConnectionEnd']), exclude: false },
  ],
  [{ metadata_filter: {} }, 'its metadata_filter cannot be evaluated'],
  [
    { metadata_filter: { matcher: { filter: 'f', path: [{ key: 'a' }], value: { present_match: true } } } },
    {
      kind: 'metadata',
      match: { filter: 'f', path: ['a'], value: { kind: 'present', value: true }, invert: false },
      whenAbsent: true,
    },
  ],
  [{ header_filter: {} }, 'its header_filter cannot be evaluated'],
  [
    { header_filter: { header: { name: 'X', present_match: true } } },
    { kind: 'header', match: { name: 'x', test: { kind: 'present' }, invert: false, missingAsEmpty: false } },
  ],
  [
    { and_filter: { filters: [{ traceable_filter: {} }, { response_flag_filter: {} }] } },
    { kind: 'and', of: [{ kind: 'traced' }, { kind: 'flags', flags: new Set() }] },
  ],
  [{ or_filter: { filters: [{ traceable_filter: {} }] } }, { kind: 'or', of: [{ kind: 'traced' }] }],
  [{ or_filter: { filters: [{ traceable_filter: {} }, {}] } }, 'its filter is none that meshlet knows'],
  [cel('timestamp(1)'), 'its filter "timestamp(1)" is not evaluated: the function timestamp is not evaluated'],
  [
    cel('response.code == 1'),
    {
      kind: 'cel',
      expression: {
        source: 'response.code == 1',
        tree: {
          kind: 'operation',
          operator: '==',
          left: { kind: 'field', of: { kind: 'name', name: 'response' }, name: 'code' },
          right: { kind: 'value', value: 1 },
        },
      },
    },
  ],
  [
    {
      extension_filter: {
        name: 'x',
        typed_config: { '@type': 'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router' },
      },
    },
    'the filter envoy.extensions.filters.http.router.v3.Router is not implemented',
  ],
] as const satisfies readonly (readonly [JsonObject, unknown])[])
  test(`access log filter: ${JSON.stringify(json).slice(0, 100)}`, () => {
    assert.deepEqual(decode(json), want)
  })
test('filters within filters without end', () => {
  let deep: JsonObject = { traceable_filter: {} }
  for (let i = 0; i < 20; i++) deep = { and_filter: { filters: [deep] } }
  assert.match(String(decode({ and_filter: { filters: [deep] } })), /nested deeper/)
})
