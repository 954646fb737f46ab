import { test } from 'node:test'
import assert from 'node:assert/strict'
import { ReplayBuffer } from '../../../../protocols/http/exchange/replay-buffer.ts'
import type { Waiting } from '../../../../protocols/waiting.ts'

let held = 0
const waiting = {
  hold: () => ({
    set: (bytes: number) => {
      held = bytes
    },
  }),
} as unknown as Waiting
const create = (maxBytes: number): ReplayBuffer => new ReplayBuffer(maxBytes, waiting, { source: 'a', abort: () => {} })

test('a body is kept up to its limit, and let go once it is longer and passed on', () => {
  const body = create(10_000)
  assert.equal(body.add(Buffer.alloc(9_000)), false)
  assert.equal(held, 9_000)
  body.passed()
  assert.deepEqual([body.replayable, body.what], [true, 'replay-copy'])
  assert.equal(body.add(Buffer.alloc(2_000)), true)
  assert.equal(body.full, true)
  body.passed()
  assert.deepEqual([body.replayable, held, body.chunks.length], [false, 0, 0])
})
test('what has come goes to a filter, and what it makes of it is the body', () => {
  const body = create(10_000)
  body.add(Buffer.alloc(5_000, 'a'))
  body.end(['x', '1'])
  const told: unknown[] = []
  body.moveTo({
    data: (chunk) => {
      told.push(chunk.length)
      body.add(Buffer.from('made'))
    },
    end: (trailers) => {
      told.push(trailers)
      body.end(trailers)
    },
  })
  assert.deepEqual(told, [5_000, ['x', '1']])
  assert.deepEqual([body.bytes, body.ended, body.replayable, held], [4, true, true, 0])
})
test('what comes byte by byte is put together: each byte would be an object of its own', () => {
  for (const part of [(): Buffer => Buffer.allocUnsafeSlow(1), (): Buffer => Buffer.alloc(64 * 1024).subarray(0, 1)]) {
    const body = create(64 * 1024)
    for (let i = 0; i < 2_000; i++) {
      const chunk = part()
      chunk[0] = i
      body.add(chunk)
    }
    assert.ok(body.chunks.length < 20, `${body.chunks.length} chunks`)
    assert.deepEqual(Buffer.concat(body.chunks), Buffer.from(Uint8Array.from({ length: 2_000 }, (_, i) => i)))
    assert.ok(body.chunks.reduce((sum, chunk) => sum + chunk.buffer.byteLength, 0) < 128 * 1024)
  }
})
