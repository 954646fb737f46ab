import { test } from 'node:test'
import assert from 'node:assert/strict'
import { duplexPair, type Duplex } from 'node:stream'
import { splice, type SpliceEnd } from '../../../protocols/tcp/splice.ts'
import { Metrics } from '../../../core/metrics.ts'
import { Waiting } from '../../../protocols/waiting.ts'
import { settle, SimClock } from '../../helpers/sim-clock.ts'

type Rig = {
  client: Duplex
  server: Duplex
  clock: SimClock
  end: Promise<SpliceEnd>
  bytes: [there: number, back: number]
  stop: AbortController
}
function rig(idleMs?: number): Rig {
  const [client, near] = duplexPair()
  const [far, server] = duplexPair()
  for (const s of [client, near, far, server]) s.on('error', () => {})
  const clock = new SimClock()
  const bytes: [number, number] = [0, 0]
  const stop = new AbortController()
  const end = splice(near, far, {
    clock,
    waiting: new Waiting({ clock, metrics: new Metrics() }),
    holder: { client: 'a', giveUp: () => {} },
    maxBufferBytes: 65_536,
    idleMs,
    signal: stop.signal,
    forwarded: (n) => {
      bytes[0] += n
    },
    returned: (n) => {
      bytes[1] += n
    },
  })
  return { client, server, clock, end, bytes, stop }
}

test('bytes go both ways, and each side may end its direction while the other goes on', async () => {
  const { client, server, end, bytes } = rig()
  const got = { there: '', back: '' }
  server.on('data', (d: Buffer) => {
    got.there += d.toString()
  })
  client.on('data', (d: Buffer) => {
    got.back += d.toString()
  })
  client.end('question')
  await settle()
  assert.equal(got.there, 'question')
  server.write('long ')
  await settle()
  server.end('answer')
  assert.equal(await end, 'ended')
  assert.equal(got.back, 'long answer')
  assert.deepEqual(bytes, [8, 11])
})
test('a reader that does not read stops the writer', async () => {
  const { client, server } = rig()
  let accepted = 0
  while (client.write(Buffer.alloc(65_536)) && accepted < 1000) {
    accepted++
    await settle()
  }
  assert.ok(accepted < 10, `${accepted} chunks were taken without a reader`)
  server.resume()
  await settle()
  assert.ok(client.write('x'))
})
test('a pair on which nothing moves ends after its idle time, and movement in one direction keeps it', async () => {
  const { client, clock, end, server } = rig(1_000)
  server.resume()
  await clock.advance(900)
  client.write('x')
  await clock.advance(900)
  assert.equal(await Promise.race([end, Promise.resolve('open')]), 'open')
  await clock.advance(200)
  assert.equal(await end, 'idle')
})
test('a reset of either side ends both and says which', async () => {
  const [, near] = duplexPair()
  const [far] = duplexPair()
  const end = splice(near, far, {
    clock: new SimClock(),
    waiting: new Waiting({ clock: new SimClock(), metrics: new Metrics() }),
    holder: { client: 'a', giveUp: () => {} },
    maxBufferBytes: 65_536,
    idleMs: undefined,
    signal: new AbortController().signal,
    forwarded: () => {},
    returned: () => {},
  })
  far.destroy()
  assert.equal(await end, 'far-failed')
  assert.ok(near.destroyed)
})
test('an abort destroys both', async () => {
  const { stop, end, client } = rig()
  client.resume()
  stop.abort()
  assert.equal(await end, 'aborted')
})
