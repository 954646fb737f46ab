/** Entries of access logs as LogRecord of OpenTelemetry, and what stands around them. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { parseFormat, type LogFormat } from '../../../../model/access-log/format.ts'
import type { Collector } from '../../../../model/access-log/collector.ts'
import { encodeRequest } from '../../../../protocols/telemetry/export/envelope.ts'
import { encodeLogRecord } from '../../../../protocols/telemetry/export/otlp-log.ts'
import { factsOf } from '../../../model/access-log-facts.ts'
import { toTree } from '../../protobuf-tree.ts'
import { OTLP } from './collectors.ts'

function text(format: string): { readonly kind: 'text'; readonly format: LogFormat } {
  const parts = parseFormat(format)
  assert.ok(!('unknown' in parts))
  return { kind: 'text', format: { kind: 'text', parts, omitEmpty: false } }
}
const SENDER = { nodeId: 'sidecar~1', cluster: 'own.ns', serviceName: 'own', environment: [['a', 'env']] as const }
const FACTS = factsOf({
  fields: { ':method': 'GET', ':path': '/p', 'user-agent': 'caf\u00c3\u00a9 \u00ff', 'x-b': 'v' },
  answer: { 'x-c': 'w' },
  flags: ['UF', 'URX'],
  times: { DS_TX_END: 1_500.25 },
  status: 503,
  traceId: 'ab'.repeat(16),
  spanId: 'cd'.repeat(8),
  upstream: { host: '10.0.0.3', port: 81 },
  protocol: 'HTTP/2',
})

test('LogRecord: body and attributes with operators, nested, as UTF-8; the trace that it belongs to', () => {
  const record = encodeLogRecord(
    {
      kind: 'otlp',
      body: text('%REQ(:METHOD)% %RESPONSE_CODE% %REQ(none)%'),
      attributes: [
        ['agent', text('%REQ(USER-AGENT)%')],
        ['more', { kind: 'struct', fields: [['list', { kind: 'list', items: [text('x'), text('%PROTOCOL%')] }]] }],
      ],
    },
    FACTS,
  )
  const tree = toTree(record, new Set(['5.1', '6.1', '6.2.1', '6.2.6.1.1', '6.2.6.1.2.5.1.1', '9', '10']))
  assert.ok(typeof tree === 'object')
  assert.deepEqual(tree['5'], { 1: 'GET 503 -' })
  assert.deepEqual(tree['6'], [
    { 1: 'agent', 2: { 1: 'café �' } },
    { 1: 'more', 2: { 6: { 1: { 1: 'list', 2: { 5: { 1: [{ 1: 'x' }, { 1: 'HTTP/2' }] } } } } } },
  ])
  assert.ok(record.includes(Buffer.from('ab'.repeat(16), 'hex')))
  assert.ok(record.includes(Buffer.from('cd'.repeat(8), 'hex')))
})

const KEYS = new Set(['1.1.1.1', '1.1.1.2.1', '1.2.2'])
function resourceOf(envelope: Partial<Extract<Collector['envelope'], { kind: 'otlp' }>>): unknown {
  const collector = {
    ...OTLP,
    speaks: 'http',
    envelope: { kind: 'otlp', of: 'logs', resource: [], ...envelope },
  } as const
  const tree = toTree(encodeRequest(collector, [Buffer.from('r')], SENDER), KEYS) as never as {
    1: { 1: { 1?: unknown } }
  }
  return tree[1][1][1]
}
test('the resource: what is configured, over what Envoy says by itself; of spans always a service', () => {
  assert.equal(resourceOf({}), undefined)
  assert.deepEqual(resourceOf({ resource: [['node_name', 'n']], builtin: { logName: 'l' } }), [
    { 1: 'log_name', 2: { 1: 'l' } },
    { 1: 'zone_name', 2: { 1: 0 } },
    { 1: 'cluster_name', 2: { 1: 'own.ns' } },
    { 1: 'node_name', 2: { 1: 'n' } },
  ])
  assert.deepEqual(resourceOf({ of: 'spans' }), { 1: 'service.name', 2: { 1: 'own' } })
  assert.deepEqual(resourceOf({ resource: [['b', 'c']], withEnvironment: true }), [
    { 1: 'b', 2: { 1: 'c' } },
    { 1: 'a', 2: { 1: 'env' } },
  ])
})
