/** Entries of access logs as Envoy's service takes them. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { encodeHttpEntry, encodeTcpEntry } from '../../../../protocols/telemetry/export/als-entry.ts'
import { encodeRequest } from '../../../../protocols/telemetry/export/envelope.ts'
import { factsOf } from '../../../model/access-log-facts.ts'
import { toTree } from '../../protobuf-tree.ts'
import { OTLP } from './collectors.ts'

const SENDER = { nodeId: 'sidecar~1', cluster: 'own.ns', serviceName: 'own' }
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

const TEXTS = new Set([
  '1.2.1.2',
  '1.3.1.2',
  '1.13.1.2',
  '1.20.1.2',
  '3.5',
  '3.6',
  '3.13.1',
  '3.13.2',
  '4.4.1',
  '4.4.2',
  '4.6',
])
test('HTTPAccessLogEntry and TCPAccessLogEntry', () => {
  const format = {
    kind: 'http',
    requestHeaders: ['x-b', 'none'],
    responseHeaders: ['x-c'],
    responseTrailers: [],
  } as const
  const tree = toTree(encodeHttpEntry(format, FACTS), TEXTS) as Record<string, Record<string, unknown>>
  assert.deepEqual(tree['1']!['13'], { 1: { 2: '10.0.0.3', 3: 81 } })
  assert.deepEqual(tree['1']!['16'], { 6: 1, 16: 1 })
  assert.deepEqual(tree['1']!['23'], { 1: 1, 2: 500_250_000 })
  assert.equal(tree['2'], 3)
  assert.deepEqual(tree['3'], { 1: 1, 5: '/p', 6: 'café �', 13: { 1: 'x-b', 2: 'v' } })
  assert.deepEqual(tree['4'], { 1: { 1: 503 }, 4: { 1: 'x-c', 2: 'w' }, 6: 'via_upstream' })
  const tcp = toTree(encodeTcpEntry(factsOf({ receivedBytes: 3, sentBytes: 400 })), TEXTS) as Record<string, unknown>
  assert.deepEqual(tcp['2'], { 1: 3, 2: 400 })
})

test('the service of Envoy is told who sends, and which log it is', () => {
  for (const kind of ['http', 'tcp'] as const) {
    const collector = { ...OTLP, speaks: 'grpc', envelope: { kind: 'als', logName: 'l', of: kind } } as const
    const framed = encodeRequest(collector, [Buffer.from([8, 1])], SENDER)
    assert.equal(framed.readUInt32BE(1), framed.length - 5)
    assert.deepEqual(toTree(framed.subarray(5), new Set(['1.1.1', '1.1.2', '1.2'])), {
      1: { 1: { 1: 'sidecar~1', 2: 'own.ns' }, 2: 'l' },
      [kind === 'http' ? 2 : 3]: { 1: { 1: 1 } },
    })
  }
})
