import { test } from 'node:test'
import assert from 'node:assert/strict'
import { tolerateStrayPongs } from '../../../protocols/http/stray-pong.ts'
import { frame, headers, PING_ACK, RawH2 } from '../../helpers/raw-h2.ts'
import { SimClock } from '../../helpers/sim-clock.ts'
import { Both } from './both.ts'
import { manager } from './harness.ts'

const get = (stream: number): Buffer => headers(stream, [[':method', 'GET'], [':scheme', 'http'], [':authority', 'a'], [':path', '/']], true)

test('a PING ACK that nobody asked for ends nothing (RFC 9113 §6.7)', async (t) => {
  const both = await Both.start(t, manager())
  const raw = new RawH2(both.ports.http2)
  t.after(() => { raw.close() })
  for (let i = 0; i < 5; i++) {
    raw.socket.write(Buffer.concat([PING_ACK, get(i * 2 + 1), PING_ACK]))
    assert.ok(await raw.until((f) => f.stream === i * 2 + 1 && f.type <= 1 && (f.flags & 1) === 1))
  }
  assert.deepEqual(raw.heard.filter((f) => f.type === 7), [])
  assert.equal(raw.closed, false)
})
test('what does break the protocol still ends the connection', async (t) => {
  const both = await Both.start(t, manager())
  const raw = new RawH2(both.ports.http2)
  t.after(() => { raw.close() })
  raw.socket.write(frame(8, 0, 0, Buffer.alloc(4)))
  const goaway = await raw.until((f) => f.type === 7)
  assert.equal(goaway?.payload.readUInt32BE(4), 1)
})

class Session {
  readonly calls: string[] = []
  answer: ((failed: Error | null) => void) | undefined
  destroy(error?: Error | number): void { this.calls.push(error instanceof Error ? error.message : 'ended') }
  ping(answer: unknown): boolean { this.answer = answer as (failed: Error | null) => void; return true }
  once(): this { return this }
}
const broken = (): Error => Object.assign(new Error('protocol'), { errno: -505 })
function made(): { session: Session; clock: SimClock } {
  const session = new Session()
  const clock = new SimClock()
  tolerateStrayPongs(session as never, clock)
  return { session, clock }
}
test('a peer that does not answer our PING is gone within a second', async () => {
  const { session, clock } = made()
  session.destroy(broken())
  assert.deepEqual(session.calls, [])
  await clock.advance(1100)
  assert.deepEqual(session.calls, ['protocol'])
})
test('a peer that answers stays, and is asked anew the next time', async () => {
  const { session, clock } = made()
  for (let i = 0; i < 3; i++) { session.destroy(broken()); session.answer!(null); await clock.advance(5000) }
  assert.deepEqual(session.calls, [])
})
test('no end of strays: after a thousand the connection ends', () => {
  const { session } = made()
  for (let i = 0; i < 1001; i++) { session.destroy(broken()); if (i < 1000) session.answer!(null) }
  assert.deepEqual(session.calls, ['protocol'])
})
test('every other end is an end', () => {
  const { session } = made()
  session.destroy()
  session.destroy(new Error('other'))
  assert.deepEqual(session.calls, ['ended', 'other'])
})
