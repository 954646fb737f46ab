import { test } from 'node:test'
import assert from 'node:assert/strict'
import { frame, headers, PING_ACK, RawH2 } from '../../../helpers/raw-h2.ts'
import { Both } from '../both.ts'
import { manager } from '../harness.ts'

const get = (stream: number): Buffer =>
  headers(
    stream,
    [
      [':method', 'GET'],
      [':scheme', 'http'],
      [':authority', 'a'],
      [':path', '/'],
    ],
    true,
  )

test('a PING ACK that nobody asked for ends nothing (RFC 9113 §6.7)', async (t) => {
  const both = await Both.start(t, manager())
  const raw = new RawH2(both.ports.http2)
  t.after(() => {
    raw.close()
  })
  for (let i = 0; i < 5; i++) {
    raw.socket.write(Buffer.concat([PING_ACK, get(i * 2 + 1), PING_ACK]))
    assert.ok(await raw.until((f) => f.stream === i * 2 + 1 && f.type <= 1 && (f.flags & 1) === 1))
  }
  assert.deepEqual(
    raw.heard.filter((f) => f.type === 7),
    [],
  )
  assert.equal(raw.closed, false)
})
test('what does break the protocol still ends the connection', async (t) => {
  const both = await Both.start(t, manager())
  const raw = new RawH2(both.ports.http2)
  t.after(() => {
    raw.close()
  })
  raw.socket.write(frame(8, 0, 0, Buffer.alloc(4)))
  const goaway = await raw.until((f) => f.type === 7)
  assert.equal(goaway?.payload.readUInt32BE(4), 1)
})
