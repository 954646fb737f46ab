/**
 * CONNECT over HTTP/2 (RFC 9113 §8.5): what a client sends ahead, ends early or breaks off, in every order against the
 * endpoint's side.
 */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import net from 'node:net'
import { duplexPair } from 'node:stream'
import { frame, headers, portOf, RawH2 } from '../../../helpers/raw-h2.ts'
import { MemoryBudget } from '../../../../core/runtime/memory-budget.ts'
import { serveHttp2 } from '../../../../protocols/http/server/h2-server.ts'
import { settle } from '../../../helpers/sim-clock.ts'
import { connectionInClear } from '../../parts.ts'
import { Both } from '../both.ts'
import { Harness, manager, route } from '../harness.ts'

const CONNECT = headers(
  1,
  [
    [':method', 'CONNECT'],
    [':authority', 'a:80'],
  ],
  false,
)
const data = (text: string, end = false): Buffer => frame(0, end ? 1 : 0, 1, Buffer.from(text))
const RESET = frame(3, 0, 1, Buffer.from([0, 0, 0, 8]))
const textOf = (raw: RawH2): string =>
  raw.heard
    .filter((f) => f.type === 0)
    .map((f) => f.payload.toString())
    .join('')

const held = ({ metrics }: Both): number[] =>
  ['connections', 'requests_active', 'requests_pending'].map((what) => metrics.total(`mesh_upstream_${what}`))

/** An endpoint that answers what it got, in capital letters, once the other side has ended. */
async function rig(t: TestContext): Promise<{ both: Both; raw: RawH2; got: Promise<string>; ended: Promise<boolean> }> {
  const got = Promise.withResolvers<string>()
  const ended = Promise.withResolvers<boolean>()
  const server = net
    .createServer({ allowHalfOpen: true }, (socket) => {
      let text = ''
      socket
        .on('data', (chunk: Buffer) => {
          text += chunk.toString()
        })
        .on('error', () => {})
      socket.on('end', () => {
        got.resolve(text)
        socket.end(text.toUpperCase())
      })
      socket.on('close', (failed) => {
        ended.resolve(!failed)
      })
    })
    .listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  const both = await Both.start(t, manager([route()], { explicitProxy: true }), { originPort: portOf(server) })
  const raw = new RawH2(both.ports.http2)
  t.after(() => raw.close())
  return { both, raw, got: got.promise, ended: ended.promise }
}

for (const { name, writes } of [
  { name: 'after the answer', writes: [CONNECT, undefined, data('hello', true)] },
  {
    name: 'in one packet with the head, and the end later',
    writes: [Buffer.concat([CONNECT, data('he')]), undefined, data('llo', true)],
  },
  { name: 'in one packet with the head, and the end, too', writes: [Buffer.concat([CONNECT, data('hello', true)])] },
  {
    name: 'in many frames ahead',
    writes: [Buffer.concat([CONNECT, ...'hello'.split('').map((c) => data(c)), data('', true)])],
  },
]) {
  test(`what a client sends ${name} arrives whole, and so does its end`, { timeout: 10_000 }, async (t) => {
    const { both, raw, got } = await rig(t)
    for (const bytes of writes) {
      if (bytes) raw.socket.write(bytes)
      else await raw.until((f) => f.type === 1 && f.stream === 1)
    }
    assert.equal(await got, 'hello')
    await raw.until((f) => f.stream === 1 && f.type === 0 && (f.flags & 1) === 1)
    assert.equal(textOf(raw), 'HELLO')
    assert.equal(both.metrics.total('mesh_upstream_requests_active'), 0)
  })
}

test("a head that ends the stream is a tunnel of which the client's side has ended", { timeout: 10_000 }, async (t) => {
  const { raw, got } = await rig(t)
  raw.socket.write(
    headers(
      1,
      [
        [':method', 'CONNECT'],
        [':authority', 'a:80'],
      ],
      true,
    ),
  )
  assert.equal(await got, '')
  await raw.until((f) => f.stream === 1 && f.type <= 3 && (f.type === 3 || (f.flags & 1) === 1))
})

for (const { name, bytes } of [
  { name: 'with the head', bytes: Buffer.concat([CONNECT, RESET]) },
  { name: 'behind bytes that came ahead', bytes: Buffer.concat([CONNECT, data('early'), RESET]) },
]) {
  test(`a reset ${name} ends nobody, and leaves nothing`, { timeout: 10_000 }, async (t) => {
    const { both, raw } = await rig(t)
    raw.socket.write(bytes)
    raw.socket.write(frame(6, 0, 0, Buffer.from('8 bytes.')))
    assert.ok(await raw.until((f) => f.type === 6 && f.flags === 1), 'the connection goes on')
    raw.close()
    for (let i = 0; i < 100 && held(both).some((n) => n > 0); i++)
      await new Promise((r) => {
        setTimeout(r, 20)
      })
    assert.deepEqual(held(both), [0, 0, 0])
  })
}

test('a reset after bytes were carried is a reset at the endpoint', { timeout: 10_000 }, async (t) => {
  const { raw, ended } = await rig(t)
  raw.socket.write(Buffer.concat([CONNECT, data('early')]))
  await raw.until((f) => f.type === 1 && f.stream === 1)
  raw.socket.write(data('late'))
  raw.socket.write(RESET)
  assert.equal(await ended, false, 'the endpoint saw an end in order')
})

test('an endpoint that breaks off is no end in order at the client (RFC 9113 §8.5)', { timeout: 10_000 }, async (t) => {
  const server = net
    .createServer((socket) => {
      socket
        .on('error', () => {})
        .on('data', () => {
          socket.resetAndDestroy()
        })
    })
    .listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  const both = await Both.start(t, manager([route()], { explicitProxy: true }), { originPort: portOf(server) })
  const raw = new RawH2(both.ports.http2)
  t.after(() => raw.close())
  raw.socket.write(Buffer.concat([CONNECT, data('x')]))
  const end = await raw.until((f) => f.stream === 1 && (f.type === 3 || (f.type === 0 && f.flags === 1)))
  assert.equal(end?.type, 3)
  assert.notEqual(end.payload.readUInt32BE(0), 0)
})

test('what a client may send ahead of its tunnel counts until the endpoint has it', async () => {
  await using h = new Harness()
  const dialed = Promise.withResolvers<Awaited<ReturnType<typeof h.network.dial>>>()
  h.network.dial = () => dialed.promise
  const [near, far] = duplexPair()
  for (const side of [near, far]) side.on('error', () => {}).on('data', () => {})
  const served = serveHttp2(connectionInClear(far, manager([route()], { explicitProxy: true })), h.ctx, h.upstreams)
  const waiting = (): number => h.metrics.total('mesh_stream_waiting_bytes')
  near.write(Buffer.concat([PREFACE, frame(4, 0, 0, Buffer.alloc(0)), CONNECT, data('x'.repeat(10_000))]))
  await settle()
  await settle()
  assert.equal(waiting(), 64 * 1024)
  const [endpoint, stream] = duplexPair()
  let got = 0
  endpoint.on('data', (chunk: Buffer) => {
    got += chunk.length
  })
  dialed.resolve({ stream, local: { host: '10.0.0.1', port: 1 }, remote: { host: '10.1.0.1', port: 8080 } })
  await settle()
  await settle()
  assert.deepEqual([got, waiting()], [10_000, 0])
  near.destroy()
  far.destroy()
  await served
})

test('what may come of a request that waits because its client takes no answers counts, too', async () => {
  await using h = new Harness()
  const budget = new MemoryBudget({ maxBytes: 250_000 })
  const [near, far] = duplexPair()
  for (const side of [near, far]) side.on('error', () => {}).on('data', () => {})
  const http = manager([route({ kind: 'direct', status: 200, body: 'x'.repeat(200_000) })])
  const served = serveHttp2(connectionInClear(far, http), { ...h.ctx, budget }, h.upstreams)
  const ask = async (id: number, isWhole: boolean): Promise<number> => {
    const fields = [
      [':method', isWhole ? 'GET' : 'POST'],
      [':scheme', 'http'],
      [':authority', 'a'],
      [':path', '/'],
    ] as const
    near.write(headers(id, fields, isWhole))
    await settle()
    await settle()
    return budget.heldBytes
  }
  near.write(Buffer.concat([PREFACE, frame(4, 0, 0, Buffer.alloc(0))]))
  const answer = await ask(1, true)
  assert.ok(answer > 125_000, `${answer} bytes wait`)
  assert.deepEqual([await ask(3, true), await ask(5, false)], [answer, answer + 64 * 1024])
  near.destroy()
  far.destroy()
  await served
  assert.equal(budget.heldBytes, 0)
})
const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
