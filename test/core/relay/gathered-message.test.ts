import assert from 'node:assert/strict'
import { test } from 'node:test'
import { GatheredMessage } from '../../../core/relay/gathered-message.ts'

test('parts of any size make the message, which is a copy, and the next one begins empty', () => {
  const message = new GatheredMessage()
  const part = Buffer.from('abc')
  for (let i = 0; i < 1_000; i++) message.add(part)
  message.add(Buffer.from('d'))
  part.fill(0)
  assert.equal(message.length, 3_001)
  assert.equal(Buffer.from(message.take()).toString(), `${'abc'.repeat(1_000)}d`)
  assert.equal(message.length, 0)
  assert.equal(message.take().length, 0)
})
