import { test } from 'node:test'
import assert from 'node:assert/strict'
import { MemoryBudget } from '../../../core/runtime/memory-budget.ts'
import type { StoredMessage } from '../../../protocols/mqtt/durability.ts'
import {
  compact,
  forgetLast,
  PLACE_BYTES,
  measureMessageBytes,
  Waiting,
} from '../../../protocols/mqtt/shared-message.ts'

const chunk = Buffer.alloc(64 * 1024)
const message = (bytes = 100): StoredMessage => ({
  topic: 't',
  payload: chunk.subarray(0, bytes),
  qos: 1,
  retain: false,
  properties: chunk.subarray(0, 0),
  expiresAtMs: undefined,
})
const delivery = (of: StoredMessage) => ({ message: of, qos: 1, retain: false, ids: [] }) as const

test('a message that waits in several lines counts once, each place a little', () => {
  const budget = new MemoryBudget({ maxBytes: 1e9 })
  const lines = [new Waiting(budget), new Waiting(budget), new Waiting(budget)]
  const one = message()
  for (const line of lines) line.push(delivery(one))
  forgetLast()
  const size = measureMessageBytes(one)
  assert.equal(budget.heldBytes, size + 3 * PLACE_BYTES)
  assert.deepEqual(
    lines.map((line) => line.bytes),
    [size, size, size],
  )
  const first = lines[0]!.shift()!
  assert.equal(first.message, lines[1]!.shift()!.message, 'one copy for all')
  assert.equal(budget.heldBytes, size + PLACE_BYTES)
  assert.equal(lines[2]!.clear(), 1)
  assert.deepEqual([budget.heldBytes, lines[2]!.bytes, lines[2]!.shift()], [0, 0, undefined])
})

test('what waits has let go of the chunk that it came in', () => {
  const kept = compact(message())
  assert.equal(kept.payload.buffer.byteLength, 100)
  assert.equal(compact(kept), kept)
})
