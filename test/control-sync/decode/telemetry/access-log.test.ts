import { test } from 'node:test'
import assert from 'node:assert/strict'
import { fromJson, type JsonObject } from '@bufbuild/protobuf'
import { DecodePath } from '../../../../control-sync/decode/fields/decode-path.ts'
import { decodeAccessLogs } from '../../../../control-sync/decode/telemetry/access-log.ts'
import { DEFAULT_FORMAT, type AccessLog } from '../../../../model/access-log/access-log.ts'
import { AccessLogSchema } from '../../../../proto/gen/envoy/config/accesslog/v3/accesslog_pb.ts'
import { loadRegistry } from '../../../../proto/registry.ts'

const V3 = 'type.googleapis.com/envoy.extensions.access_loggers'
const FILE = { '@type': `${V3}.file.v3.FileAccessLog`, path: '/dev/stdout' }
type Decoded = {
  readonly logs: readonly AccessLog[]
  readonly skipped: readonly string[]
  readonly ignored: readonly string[]
  readonly isOpen: boolean
}

function decode(...logs: JsonObject[]): Decoded {
  const at = DecodePath.top({ files: { permits: () => false, permitsLog: (file) => file.startsWith('/logs/') } })
  const from = logs.map((log) => fromJson(AccessLogSchema, log, { registry: loadRegistry() }))
  const { accessLogs = [] } = decodeAccessLogs(at.in('access_log'), from)
  return { logs: accessLogs, skipped: at.skipped, ignored: at.ignored, isOpen: at.isOpen }
}
const text = (inline: string, more: JsonObject = {}): JsonObject => ({
  typed_config: { ...FILE, log_format: { text_format_source: { inline_string: inline } }, ...more },
})
const TEXT = { kind: 'text', omitEmpty: false, parts: [{ name: 'RESPONSE_CODE' }, '\n'] }

for (const [name, log, want] of [
  ['the output', { typed_config: FILE }, { to: { kind: 'output' }, format: DEFAULT_FORMAT }],
  [
    'a file',
    { typed_config: { ...FILE, path: '/logs/a' } },
    { to: { kind: 'file', path: '/logs/a' }, format: DEFAULT_FORMAT },
  ],
  ['text', text('%RESPONSE_CODE%\n'), { to: { kind: 'output' }, format: TEXT }],
  [
    'text, the old field',
    { typed_config: { ...FILE, log_format: { text_format: '%RESPONSE_CODE%\n' } } },
    { to: { kind: 'output' }, format: TEXT },
  ],
  [
    'text, the oldest field',
    { typed_config: { ...FILE, format: '%RESPONSE_CODE%\n' } },
    { to: { kind: 'output' }, format: TEXT },
  ],
  [
    'JSON, sorted by name',
    {
      typed_config: {
        ...FILE,
        log_format: { json_format: { b: [1, null], a: { c: '%RESPONSE_CODE%' } }, omit_empty_values: true },
      },
    },
    {
      to: { kind: 'output' },
      format: {
        kind: 'json',
        omitEmpty: true,
        value: {
          kind: 'struct',
          fields: [
            ['a', { kind: 'struct', fields: [['c', { kind: 'text', parts: [{ name: 'RESPONSE_CODE' }] }]] }],
            [
              'b',
              {
                kind: 'list',
                items: [
                  { kind: 'literal', value: 1 },
                  { kind: 'literal', value: null },
                ],
              },
            ],
          ],
        },
      },
    },
  ],
  [
    'JSON, the old field',
    { typed_config: { ...FILE, typed_json_format: { a: 'x' } } },
    {
      to: { kind: 'output' },
      format: {
        kind: 'json',
        omitEmpty: false,
        value: { kind: 'struct', fields: [['a', { kind: 'text', parts: ['x'] }]] },
      },
    },
  ],
  [
    'standard output',
    { typed_config: { '@type': `${V3}.stream.v3.StdoutAccessLog` } },
    { to: { kind: 'output' }, format: DEFAULT_FORMAT },
  ],
  [
    'standard error',
    { typed_config: { '@type': `${V3}.stream.v3.StderrAccessLog`, log_format: { text_format: '%RESPONSE_CODE%\n' } } },
    { to: { kind: 'output' }, format: TEXT },
  ],
] as const satisfies readonly (readonly [string, JsonObject, unknown])[])
  test(`access log: ${name}`, () => {
    const { logs, skipped, ignored, isOpen } = decode(log)
    assert.deepEqual(logs, [want])
    assert.deepEqual({ skipped, ignored, isOpen }, { skipped: [], ignored: [], isOpen: false })
  })

for (const [name, log, words] of [
  ['an operator that is not known', text('%NO_SUCH(x)%'), /%NO_SUCH\(x\)% is no operator that meshlet knows/],
  [
    'in JSON',
    { typed_config: { ...FILE, log_format: { json_format: { a: ['%NO_SUCH%'] } } } },
    /%NO_SUCH% is no operator/,
  ],
  [
    'a file elsewhere',
    { typed_config: { ...FILE, path: '/etc/passwd' } },
    /"\/etc\/passwd" is in no folder that telemetry\.accessLogs\.folders permits/,
  ],
  [
    'a logger that is not there',
    { typed_config: { '@type': `type.googleapis.com/envoy.extensions.filters.http.router.v3.Router` } },
    /http\.router\.v3\.Router is not implemented/,
  ],
  ['no logger', {}, /no type is not implemented/],
  ['no format', { typed_config: { ...FILE, log_format: {} } }, /neither text nor JSON/],
  [
    'a format in a file',
    { typed_config: { ...FILE, log_format: { text_format_source: { filename: '/x' } } } },
    /its format cannot be read/,
  ],
  ['a filter that is not evaluated', { ...text('x'), filter: {} }, /its filter is none that meshlet knows/],
  [
    'a header filter that cannot be',
    {
      ...text('x'),
      filter: { header_filter: { header: { name: 'a', string_match: { safe_regex: { regex: '(' } } } } },
    },
    /header_filter/,
  ],
] as const satisfies readonly (readonly [string, JsonObject, RegExp])[])
  test(`left out by itself and told: ${name}`, () => {
    const { logs, skipped, ignored, isOpen } = decode(text('kept'), log)
    assert.equal(logs.length, 1)
    assert.equal(skipped.length, 1)
    assert.match(skipped[0]!, words)
    assert.match(ignored[0]!, /^access_log\[1\]/)
    assert.equal(isOpen, false, 'a log is no reason to refuse connections')
  })
test('more logs than anybody has are left out', () => {
  const { logs, skipped } = decode(...Array.from({ length: 70 }, () => text('x')))
  assert.deepEqual([logs.length, skipped.length], [64, 1])
})
test('a format that is nested without end is left out', () => {
  let deep: JsonObject = {}
  for (let i = 0; i < 40; i++) deep = { a: deep }
  assert.match(decode({ typed_config: { ...FILE, log_format: { json_format: deep } } }).skipped[0]!, /nested deeper/)
})
