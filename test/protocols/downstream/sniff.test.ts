/** What the first bytes of a connection say, cut at every offset; and what of them is there again afterwards. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { duplexPair, type Duplex } from 'node:stream'
import {
  classify,
  MAX_SNIFF_BYTES,
  sniff,
  type Interest,
  type SniffOptions,
} from '../../../protocols/downstream/sniff.ts'
import { Metrics } from '../../../core/metrics.ts'
import { MemoryBudget } from '../../../core/runtime/memory-budget.ts'
import { Waiting, type Hold, type Holder } from '../../../protocols/waiting.ts'
import { settle, SimClock } from '../../helpers/sim-clock.ts'

const ALL: Interest = { tls: true, http: true, mqtt: true }
const latin1 = (text: string): Buffer => Buffer.from(text, 'latin1')

for (const { name, bytes, protocol, alpn, decidedAt } of [
  { name: 'HTTP/1.1', bytes: 'GET / HTTP/1.1\r\n', protocol: 'http1', alpn: ['http/1.1'], decidedAt: 16 },
  { name: 'HTTP/1.0', bytes: 'POST /a HTTP/1.0\r\n', protocol: 'http1', alpn: ['http/1.0'], decidedAt: 18 },
  {
    name: 'HTTP/1.1, lines that end in LF',
    bytes: 'GET / HTTP/1.1\n',
    protocol: 'http1',
    alpn: ['http/1.1'],
    decidedAt: 15,
  },
  {
    name: 'an empty line before a request',
    bytes: '\r\nGET / HTTP/1.1\r\n',
    protocol: 'http1',
    alpn: ['http/1.1'],
    decidedAt: 18,
  },
  {
    name: 'two empty lines before a request',
    bytes: '\r\n\r\nGET / HTTP/1.1\r\n',
    protocol: 'http1',
    alpn: ['http/1.1'],
    decidedAt: 20,
  },
  { name: 'three empty lines', bytes: '\r\n\r\n\r\nGET / HTTP/1.1\r\n', protocol: 'opaque', alpn: [], decidedAt: 5 },
  {
    name: 'the longest method',
    bytes: 'UNSUBSCRIBE / HTTP/1.1\r\n',
    protocol: 'http1',
    alpn: ['http/1.1'],
    decidedAt: 24,
  },
  { name: 'a method that nobody knows', bytes: 'GETS / HTTP/1.1\r\n', protocol: 'opaque', alpn: [], decidedAt: 4 },
  {
    name: 'a request line of another protocol',
    bytes: 'OPTIONS * RTSP/1.0\r\n',
    protocol: 'opaque',
    alpn: [],
    decidedAt: 20,
  },
  { name: 'HTTP/2', bytes: 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', protocol: 'http2', alpn: ['h2c'], decidedAt: 24 },
  { name: 'MQTT 5', bytes: '\x10\x10\0\x04MQTT\x05', protocol: 'mqtt', alpn: ['mqtt'], decidedAt: 8 },
  {
    name: 'MQTT with a long remaining length',
    bytes: '\x10\x80\x80\x01\0\x04MQTT',
    protocol: 'mqtt',
    alpn: ['mqtt'],
    decidedAt: 10,
  },
  { name: 'MQTT 3.1', bytes: '\x10\x10\0\x06MQIsdp', protocol: 'mqtt', alpn: ['mqtt'], decidedAt: 10 },
  { name: 'CONNECT of something else', bytes: '\x10\x10\0\x04MQTX', protocol: 'opaque', alpn: [], decidedAt: 8 },
  { name: 'SSH', bytes: 'SSH-2.0-x\r\n', protocol: 'opaque', alpn: [], decidedAt: 2 },
] as const)
  test(`${name}, cut at every offset`, () => {
    const whole = latin1(bytes)
    for (let length = 0; length <= whole.length; length++) {
      const verdict = classify(whole.subarray(0, length), ALL)
      if (length < decidedAt) assert.equal(verdict, 'more', `after ${length} bytes`)
      else {
        assert.ok(typeof verdict === 'object', `after ${length} bytes`)
        assert.deepEqual([verdict.protocol, verdict.alpn, verdict.transport], [protocol, alpn, 'raw_buffer'])
      }
    }
  })

test('nobody is waited for where nothing is told apart, and only what is asked for is found', () => {
  const none = classify(Buffer.alloc(0), { tls: false, http: false, mqtt: false })
  assert.equal(typeof none === 'object' && none.protocol, 'opaque')
  const notAsked = classify(latin1('GET / HTTP/1.1\r\n'), { tls: true, http: false, mqtt: true })
  assert.equal(typeof notAsked === 'object' && notAsked.protocol, 'opaque')
})
test('a request line without an end is HTTP/1.1 at some length, and the codec answers it', () => {
  const line = latin1(`GET /${'a'.repeat(9000)}`)
  assert.equal(classify(line.subarray(0, 8192), ALL), 'more')
  const long = classify(line, ALL)
  assert.equal(typeof long === 'object' && long.protocol, 'http1')
})

type Rig = {
  client: Duplex
  server: Duplex
  clock: SimClock
  draining: AbortController
  verdict: ReturnType<typeof sniff>
}
function rig(more: Partial<SniffOptions> = {}): Rig {
  const [client, server] = duplexPair()
  for (const s of [client, server]) s.on('error', () => {})
  const clock = new SimClock()
  const draining = new AbortController()
  const options = { interest: ALL, clock, timeoutMs: 1000, onTimeout: 'close', draining: draining.signal } as const
  return { client, server, clock, draining, verdict: sniff(server, { ...options, ...more }) }
}
const code = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => 'resolved',
    (error: unknown) => (error as { code: string }).code,
  )

test('every byte that was read is there again', async () => {
  const r = rig()
  r.client.write('GET / HT')
  await settle()
  r.client.write('TP/1.1\r\nhost: a\r\n')
  const verdict = await r.verdict
  assert.equal(typeof verdict === 'object' && verdict.protocol, 'http1')
  assert.equal((r.server.read() as Buffer).toString(), 'GET / HTTP/1.1\r\nhost: a\r\n')
})
test('who says nothing: an error, or the listener goes on without an answer and with what has come', async () => {
  const closes = rig()
  const closed = code(closes.verdict)
  await closes.clock.advance(1000)
  assert.equal(await closed, 'MESH_SNIFF_TIMEOUT')
  const goesOn = rig({ onTimeout: 'continue' })
  goesOn.client.write('GE')
  await settle()
  await goesOn.clock.advance(1000)
  assert.equal(await goesOn.verdict, 'silent')
  assert.equal((goesOn.server.read() as Buffer).toString(), 'GE')
})
test('who leaves: without a byte that is an end, in the middle of the first message it is not', async () => {
  const silent = rig()
  silent.client.end()
  assert.equal(await silent.verdict, 'ended')
  const cut = rig()
  const error = code(cut.verdict)
  cut.client.end('GE')
  assert.equal(await error, 'MESH_CLIENT_GONE')
  const reset = rig()
  const gone = code(reset.verdict)
  reset.server.destroy()
  assert.equal(await gone, 'MESH_CLIENT_GONE')
})
test('a drain ends who has said nothing, and nobody else', async () => {
  const silent = rig()
  silent.draining.abort()
  assert.equal(await silent.verdict, 'ended')
  const speaks = rig()
  speaks.client.write('GE')
  await settle()
  speaks.draining.abort()
  speaks.client.write('T / HTTP/1.1\r\n')
  const verdict = await speaks.verdict
  assert.equal(typeof verdict === 'object' && verdict.protocol, 'http1')
})
test('a ClientHello without an end is refused', async () => {
  const r = rig()
  const error = code(r.verdict)
  const record = Buffer.concat([Buffer.from([22, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xff]), Buffer.alloc(0x4000 - 4)])
  r.client.write(record.subarray(0, 100))
  await settle()
  r.client.write(Buffer.concat([record.subarray(100), record]).subarray(0, MAX_SNIFF_BYTES))
  assert.equal(await error, 'MESH_MALFORMED_INPUT')
})

test('what waits for the rest of a first message counts in the memory budget, and goes when others need it', async () => {
  const budget = new MemoryBudget({ maxBytes: 4_000 })
  const waiting = new Waiting({ budget, clock: new SimClock(), metrics: new Metrics() })
  const hold = (giveUp: Holder['giveUp']): Hold => waiting.hold({ client: '10.0.0.2', giveUp })
  const one = rig({ hold })
  one.client.write(`GET /${'x'.repeat(2_000)}`)
  await settle()
  assert.equal(budget.heldBytes, 2_005)
  one.client.write(' HTTP/1.1\r\n')
  const verdict = await one.verdict
  assert.equal(typeof verdict === 'object' && verdict.protocol, 'http1')
  assert.equal(budget.heldBytes, 0)
  const [two, three] = [rig({ hold }), rig({ hold })]
  const [first, second] = [code(two.verdict), code(three.verdict)]
  two.client.write(`GET /${'x'.repeat(2_000)}`)
  await settle()
  three.client.write(`GET /${'x'.repeat(2_500)}`)
  assert.equal(await first, 'MESH_STREAM_STALLED')
  assert.equal(budget.heldBytes, 2_505)
  three.client.end()
  assert.equal(await second, 'MESH_CLIENT_GONE')
  assert.equal(budget.heldBytes, 0)
})
