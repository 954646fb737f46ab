/** What the kill run (test/bench/mqtt/kill, test/conformance/mqtt/kill.test.ts) would not notice, nobody would. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { payloadOf, Receipts, Stream } from '../../bench/mqtt/kill/ledger.ts'

/** One stream of each QoS with so many messages, all acknowledged. */
function ledger(sent: number): { receipts: Receipts; got: (topic: 'one' | 'two', ...numbers: number[]) => void } {
  const streams = new Map(
    ([1, 2] as const).map((qos) => {
      const s = new Stream(qos === 1 ? 'one' : 'two', qos)
      return [s.topic, s]
    }),
  )
  for (const s of streams.values()) {
    s.sent = sent
    for (let n = 1; n <= sent; n++) s.acknowledge(n)
  }
  const receipts = new Receipts('it', streams)
  return {
    receipts,
    got: (topic, ...numbers) => {
      for (const n of numbers) receipts.got(topic, payloadOf(topic, n), topic === 'one' ? 1 : 2)
    },
  }
}
const fine = { subscriber: 'it', acknowledged: 3, delivered: 3, lost: 0, duplicates: 0, outOfOrder: 0, damaged: 0 }

test('each message once and in order: nothing to say, and each QoS is counted for itself', () => {
  const { receipts, got } = ledger(3)
  got('two', 1)
  got('one', 1, 2, 3)
  got('two', 2, 3)
  assert.deepEqual(
    [receipts.count(1), receipts.count(2), receipts.distinct],
    [{ ...fine, qos: 1 }, { ...fine, qos: 2 }, 6],
  )
})
test('an acknowledged message that did not come is lost; one that was not acknowledged is not', () => {
  const { receipts, got } = ledger(3)
  got('two', 1, 3)
  assert.deepEqual(receipts.count(2), { ...fine, qos: 2, delivered: 2, lost: 1 })
  const stream = new Stream('two', 2)
  stream.sent = 2
  stream.acknowledge(1)
  const other = new Receipts('it', new Map([['two', stream]]))
  other.got('two', payloadOf('two', 1), 2)
  assert.deepEqual(other.count(2), { ...fine, qos: 2, acknowledged: 1, delivered: 1 })
})
test('what comes again is a duplicate each time, and a repetition of what is known is not out of order', () => {
  const { receipts, got } = ledger(3)
  got('two', 1, 2, 1, 2, 2, 3)
  assert.deepEqual(receipts.count(2), { ...fine, qos: 2, duplicates: 3 })
})
test('a first delivery behind a higher number is out of order', () => {
  const { receipts, got } = ledger(3)
  got('one', 2, 1, 3)
  assert.deepEqual(receipts.count(1), { ...fine, qos: 1, outOfOrder: 1 })
})
test('another payload, topic, QoS or number than was sent is damage and no delivery', () => {
  const { receipts, got } = ledger(1)
  receipts.got('one', Buffer.from(payloadOf('one', 1).toString().replace(/.$/, '?')), 1)
  receipts.got('three', payloadOf('three', 1), 1)
  receipts.got('two', payloadOf('two', 1), 1)
  got('one', 2)
  receipts.got('two', Buffer.alloc(0), 2)
  assert.deepEqual(
    [receipts.count(1).damaged, receipts.count(2).damaged, receipts.count(1).lost, receipts.count(2).lost],
    [4, 1, 1, 1],
  )
})
