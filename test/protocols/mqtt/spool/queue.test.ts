import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { QueueEntry } from '../../../../protocols/mqtt/durability.ts'
import { type Blobs, type QueueHost, SpoolQueue } from '../../../../protocols/mqtt/spool/queue.ts'
import { SegmentWriter } from '../../../../protocols/mqtt/spool/segment.ts'
import { MAX_CACHED_BYTES, SegmentCache } from '../../../../protocols/mqtt/spool/segment-cache.ts'
import { decodeSet, encodeSet } from '../../../../protocols/mqtt/spool/rows.ts'
import { seededRandom } from '../../../helpers/random.ts'

function blobOf(count: number, bytes: number): Buffer {
  const writer = new SegmentWriter()
  for (let i = 0; i < count; i++)
    writer.add({
      topic: 't',
      payload: Buffer.alloc(bytes, 'x'),
      qos: 1,
      retain: false,
      properties: new Uint8Array(0),
      expiresAtMs: undefined,
    })
  return writer.finish()
}
/** A queue whose disk is a map. */
class Rig implements QueueHost {
  readonly cache = new SegmentCache()
  readonly disk = new Map<string, Buffer | 'unreadable'>()
  loads = 0
  messages = 0
  bytes = 0
  readonly damagedAt: number[] = []
  queue(name = 'q'): SpoolQueue {
    return new SpoolQueue(this, { id: 1, name, firstSeq: 1, lastSeq: 0, done: [], released: [] })
  }
  append(queue: SpoolQueue, count: number, bytes: number): void {
    const [firstSeq, blob] = [queue.lastSeq + 1, blobOf(count, bytes)]
    this.disk.set(`${queue.name}/${firstSeq}`, blob)
    queue.noteAppended(firstSeq, firstSeq + count - 1, blob)
  }
  async load({ name }: SpoolQueue, firstSeq: number, upToSeq: number): Promise<Blobs | 'damaged'> {
    this.loads++
    const found = new Map<number, Buffer>()
    for (let seq = firstSeq; seq <= upToSeq; seq++) {
      const blob = this.disk.get(`${name}/${seq}`)
      if (blob === 'unreadable') return 'damaged'
      if (blob) found.set(seq, blob)
    }
    return found
  }
  changed(): void {}
  async releases(): Promise<void> {}
  damaged(_queue: SpoolQueue, { firstSeq }: { firstSeq: number }): void {
    this.damagedAt.push(firstSeq)
  }
  counted(messages: number, bytes: number): void {
    this.messages += messages
    this.bytes += bytes
  }
}
async function all(queue: SpoolQueue, max = 10): Promise<number[]> {
  const found: number[] = []
  for (;;) {
    const part: readonly QueueEntry[] = await queue.read(found.at(-1) ?? 0, max)
    if (part.length === 0) return found
    found.push(...part.map((e) => e.seq))
  }
}

test('memory for messages has one bound, whatever the number of queues; the newest stays', () => {
  const rig = new Rig()
  const queues = Array.from({ length: 100 }, (_, i) => rig.queue(`q${i}`))
  for (const queue of queues) rig.append(queue, 10, 10_000)
  assert.ok(rig.cache.bytes <= MAX_CACHED_BYTES, `${rig.cache.bytes}`)
  assert.ok(Array.isArray(queues.at(-1)!.read(0, 10)))
  assert.ok(queues[0]!.read(0, 10) instanceof Promise)
  const one = rig.queue('large')
  rig.append(one, 1, MAX_CACHED_BYTES * 2)
  assert.ok(Array.isArray(one.read(0, 1)))
})

test('what is done leaves memory, and its bytes are free when its segment is', () => {
  const rig = new Rig()
  const queue = rig.queue()
  rig.append(queue, 2, 100)
  rig.append(queue, 1, 100)
  const bytes = queue.bytes
  queue.done(1)
  assert.deepEqual([queue.bytes, queue.depth, queue.firstSeq], [bytes, 2, 2])
  queue.done(2)
  assert.ok(queue.bytes < bytes / 2)
  queue.done(3)
  assert.deepEqual(
    [queue.bytes, queue.depth, queue.firstSeq, rig.cache.bytes, rig.messages, rig.bytes],
    [0, 0, 4, 0, 0, 0],
  )
})

test('an online receiver never makes the disk read', async () => {
  const rig = new Rig()
  const queue = rig.queue()
  let read = 0
  for (let i = 0; i < 200; i++) {
    rig.append(queue, 50, 1_000)
    for (const seq of await all(queue, 64)) {
      queue.done(seq)
      read++
    }
  }
  assert.deepEqual([read, rig.loads], [10_000, 0])
})

test('done: twice, unknown and future numbers are nothing; any order leads to the same end', () => {
  const rig = new Rig()
  const random = seededRandom(5)
  const queue = rig.queue()
  for (let i = 0; i < 10; i++) rig.append(queue, 7, 10)
  for (const seq of [0, -1, 71, 1000]) queue.done(seq)
  assert.equal(queue.depth, 70)
  const order = Array.from({ length: 70 }, (_, i) => i + 1).sort(() => random.float() - 0.5)
  for (const [i, seq] of order.entries()) {
    queue.done(seq)
    queue.done(seq)
    assert.equal(queue.depth, 69 - i)
    assert.equal(queue.firstSeq, Math.min(...order.slice(i + 1), 71))
  }
  assert.deepEqual([queue.doneAbove.size, rig.messages, rig.bytes], [0, 0, 0])
})

test('a segment that is not there at all is given up like a damaged one', async () => {
  const rig = new Rig()
  const queue = rig.queue()
  for (let i = 0; i < 3; i++) rig.append(queue, 1, MAX_CACHED_BYTES)
  rig.disk.delete('q/1')
  rig.disk.set('q/2', blobOf(2, 5))
  assert.deepEqual(await all(queue), [3])
  assert.deepEqual([rig.damagedAt, queue.firstSeq, queue.depth], [[1, 2], 3, 1])
})

test('small segments come from the disk together; one that cannot be read costs no other', async () => {
  const rig = new Rig()
  const queue = rig.queue()
  for (let i = 0; i < 100; i++) rig.append(queue, 10, 200)
  rig.append(rig.queue('other'), 1, MAX_CACHED_BYTES)
  assert.ok(queue.read(0, 1) instanceof Promise)
  const asked = rig.loads
  assert.equal((await all(queue)).length, 1_000)
  assert.ok(rig.loads - asked <= 4, `${rig.loads - asked}`)

  rig.append(rig.queue('again'), 1, MAX_CACHED_BYTES)
  rig.disk.set('q/21', 'unreadable')
  assert.deepEqual(
    (await all(queue)).filter((seq) => seq < 41),
    Array.from({ length: 40 }, (_, i) => i + 1).filter((seq) => seq < 21 || seq > 30),
  )
  assert.deepEqual(rig.damagedAt, [21])
})

test('numbers that no segment has are passed over when the queue is restored', () => {
  const rig = new Rig()
  const queue = new SpoolQueue(rig, { id: 1, name: 'q', firstSeq: 4, lastSeq: 20, done: [6, 11, 30], released: [] })
  for (const [first, last] of [
    [1, 2],
    [5, 8],
    [5, 6],
    [11, 12],
  ] as const)
    queue.noteRestored(first, last, 100)
  queue.finishRestoring()
  assert.deepEqual([queue.firstSeq, queue.lastSeq, queue.depth, queue.deadSegments], [5, 20, 4, 2])
  for (const seq of [5, 7, 8, 9, 12]) queue.done(seq)
  assert.deepEqual([queue.firstSeq, queue.depth, rig.messages], [21, 0, 0])
})

test('sets of numbers survive as they are, without what lies below', () => {
  assert.deepEqual(decodeSet(encodeSet([3, 9, 100, 70_000], 9), 9), [9, 100, 70_000])
  assert.deepEqual(decodeSet(new Uint8Array(7), 5), [5])
  assert.equal(encodeSet([], 1).length, 0)
})
