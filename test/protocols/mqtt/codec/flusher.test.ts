import { test } from 'node:test'
import assert from 'node:assert/strict'
import { Duplex } from 'node:stream'
import { Flusher } from '../../../../protocols/mqtt/codec/flusher.ts'
import { Outbox } from '../../../../protocols/mqtt/codec/outbox.ts'

const message = (bytes: number): { topic: string; payload: Uint8Array; properties: Uint8Array } => ({
  topic: 'a',
  payload: new Uint8Array(bytes),
  properties: new Uint8Array(0),
})

/** A flusher whose turns end when the test says so. */
function turns(maxGatheredBytes?: number): { flusher: Flusher; endTurn: () => void } {
  let ending: (() => void) | undefined
  const flusher = new Flusher((flush) => {
    ending = flush
  }, maxGatheredBytes)
  const endTurn = (): void => {
    const end = ending
    ending = undefined
    end?.()
  }
  return { flusher, endTurn }
}
function receiver(flusher: Flusher): { outbox: Outbox; writes: number[]; publish: (bytes?: number) => void } {
  const writes: number[] = []
  const stream = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      writes.push(chunk.length)
      done()
    },
    writev(chunks, done) {
      writes.push(chunks.length)
      done()
    },
  })
  const outbox = new Outbox({ stream, flusher, version: 4 })
  return { outbox, writes, publish: (bytes = 10) => outbox.publish(message(bytes), 0, 0, undefined, []) }
}

test('messages of an interrupted publisher leave its receivers with one write, its own answers too', () => {
  const { flusher, endTurn } = turns()
  const [publisher, subscriber] = [receiver(flusher), receiver(flusher)]
  for (const isLast of [false, false, true]) {
    subscriber.publish()
    publisher.outbox.ack('puback', 1, 0)
    if (!isLast) publisher.outbox.noteInterrupted()
    endTurn()
  }
  assert.deepEqual([subscriber.writes.length, publisher.writes.length], [1, 1])
})

test('answers to others, and what fills a write by itself, do not wait for an interrupted publisher', () => {
  const { flusher, endTurn } = turns()
  const [publisher, asking, full, idle] = [
    receiver(flusher),
    receiver(flusher),
    receiver(flusher),
    receiver(flusher),
  ] as const
  asking.publish()
  asking.outbox.pingresp()
  for (let i = 0; i < 12; i++) full.publish(3_000)
  idle.publish()
  publisher.outbox.noteInterrupted()
  endTurn()
  assert.deepEqual([asking.writes.length, full.writes.length, idle.writes.length], [1, 1, 0])
  endTurn()
  assert.equal(idle.writes.length, 1, 'what waits goes in the turn that nobody interrupts')
})

test('nothing waits for more than eight turns', () => {
  const { flusher, endTurn } = turns()
  const [publisher, subscriber] = [receiver(flusher), receiver(flusher)]
  const written = Array.from({ length: 16 }, () => {
    subscriber.publish()
    publisher.outbox.noteInterrupted()
    endTurn()
    return subscriber.writes.length
  })
  assert.deepEqual(written, [0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2])
})

test('no more gathers than there is memory for', () => {
  const { flusher, endTurn } = turns(64 * 1024)
  const publisher = receiver(flusher)
  const subscribers = Array.from({ length: 20 }, () => receiver(flusher))
  for (const { publish } of subscribers) for (let i = 0; i < 2; i++) publish(4_000)
  publisher.outbox.noteInterrupted()
  endTurn()
  assert.ok(subscribers.every(({ writes }) => writes.length > 0))
})
