import { test } from 'node:test'
import assert from 'node:assert/strict'
import { MemoryBudget } from '../../../core/runtime/memory-budget.ts'
import type { StoredMessage } from '../../../protocols/mqtt/durability.ts'
import { BLOCK_BYTES } from '../../../protocols/mqtt/held-block.ts'
import {
  compact,
  forgetLast,
  MESSAGE_BYTES,
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
  const held = MESSAGE_BYTES + one.topic.length + BLOCK_BYTES
  assert.equal(budget.heldBytes, held + 3 * PLACE_BYTES)
  assert.deepEqual(
    lines.map((line) => line.bytes),
    [size, size, size],
  )
  const first = lines[0]!.shift()!
  assert.equal(first.message, lines[1]!.shift()!.message, 'one copy for all')
  assert.equal(budget.heldBytes, held + PLACE_BYTES)
  assert.equal(lines[2]!.clear(), 1)
  assert.deepEqual([budget.heldBytes, lines[2]!.bytes, lines[2]!.shift()], [0, 0, undefined])
})

test('what waits has let go of the chunk that it came in', () => {
  const kept = compact(message())
  assert.equal(kept.payload.buffer.byteLength, 100)
  assert.equal(compact(kept), kept)
})

test('small messages share a block, which counts as long as one of them waits', () => {
  const budget = new MemoryBudget({ maxBytes: 1e9 })
  const [fast, slow] = [new Waiting(budget), new Waiting(budget)]
  const perMessage = MESSAGE_BYTES + 't'.length + PLACE_BYTES
  const count = BLOCK_BYTES / 256
  for (let i = 0; i < count; i++) {
    const bytes = Buffer.alloc(256, i)
    ;(i === 7 ? slow : fast).push(delivery({ ...message(), payload: bytes }))
    bytes.fill(255)
  }
  forgetLast()
  assert.equal(budget.heldBytes, BLOCK_BYTES + count * perMessage)
  for (let i = 0; i < count; i++) {
    if (i !== 7) assert.deepEqual([...new Set(fast.shift()!.message.payload)], [i], 'bytes of its own')
  }
  assert.equal(budget.heldBytes, BLOCK_BYTES + perMessage, 'the one that is left holds all of it')
  assert.deepEqual([...new Set(slow.shift()!.message.payload)], [7])
  assert.equal(budget.heldBytes, 0)
})

test('a large message, and one without bytes, wait outside blocks', () => {
  const budget = new MemoryBudget({ maxBytes: 1e9 })
  const line = new Waiting(budget)
  for (const bytes of [0, BLOCK_BYTES]) {
    const one = message(bytes)
    line.push(delivery(one))
    forgetLast()
    assert.equal(budget.heldBytes, measureMessageBytes(one) + PLACE_BYTES)
    assert.equal(line.shift()!.message.payload.buffer.byteLength, bytes)
    assert.equal(budget.heldBytes, 0)
  }
})
