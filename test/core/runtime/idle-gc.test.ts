import { test } from 'node:test'
import assert from 'node:assert/strict'
import { IdleGc } from '../../../core/runtime/idle-gc.ts'
import { SimClock } from '../../helpers/sim-clock.ts'

const MIB = 1024 * 1024

/** An agent with a heap: `collections` are the moments at which one was made, in milliseconds. */
class Heap {
  readonly clock = new SimClock()
  readonly collections: number[] = []
  /** Likewise moments at which what was free went. */
  readonly trims: number[] = []
  committedBytes = 44 * MIB
  isIdle = true
  looks = 0
  readonly #startMs = this.clock.monotonicMs()
  readonly memory = new IdleGc({
    isIdle: () => {
      this.looks++
      return this.isIdle
    },
    committedBytes: () => this.committedBytes,
    nowMs: () => this.clock.monotonicMs(),
    after: (ms, fn) => {
      this.clock.after(ms, fn)
    },
    collect: () => {
      this.collections.push(this.clock.monotonicMs() - this.#startMs)
      this.committedBytes = 21 * MIB
    },
    trim: () => this.trims.push(this.clock.monotonicMs() - this.#startMs),
  })
}

test('what the start left is collected once nothing changes any more, and not while somebody is connected', async () => {
  const heap = new Heap()
  heap.memory.changed()
  await heap.clock.advance(1_000)
  heap.memory.changed()
  heap.isIdle = false
  await heap.clock.advance(3_500)
  assert.deepEqual(heap.collections, [])
  heap.isIdle = true
  await heap.clock.advance(12_000)
  assert.equal(heap.collections.length, 1)
})

test('what the start left is collected once, though somebody stays connected', async () => {
  const heap = new Heap()
  heap.isIdle = false
  heap.memory.changed()
  await heap.clock.advance(4_900)
  assert.deepEqual(heap.collections, [])
  await heap.clock.advance(600_000)
  assert.deepEqual(heap.collections, [5_000], 'whenever the looks are')
  heap.committedBytes = 60 * MIB
  heap.memory.changed()
  await heap.clock.advance(600_000)
  assert.equal(heap.collections.length, 1)
})

test('a start whose garbage was collected at once is not collected again while somebody is connected', async () => {
  const heap = new Heap()
  heap.isIdle = false
  heap.memory.collect()
  assert.equal(heap.collections.length, 1)
  heap.memory.changed()
  await heap.clock.advance(600_000)
  assert.equal(heap.collections.length, 1)
})

test('somebody who stays connected is looked at more and more seldom, down to once a minute', async () => {
  const heap = new Heap()
  heap.memory.changed()
  await heap.clock.advance(10_000)
  heap.collections.length = 0
  heap.committedBytes = 60 * MIB
  heap.isIdle = false
  heap.memory.changed()
  await heap.clock.advance(180_000)
  const looks = heap.looks
  await heap.clock.advance(600_000)
  assert.equal(heap.looks - looks, 10)
  heap.isIdle = true
  await heap.clock.advance(60_000)
  assert.equal(heap.collections.length, 1)
})

test('a change that followed is waited for, so that what it left goes in the same collection', async () => {
  const heap = new Heap()
  heap.memory.changed()
  for (let i = 0; i < 5; i++) {
    await heap.clock.advance(1_000)
    heap.memory.changed()
  }
  await heap.clock.advance(10_000)
  assert.deepEqual(heap.collections, [6_500])
})

test('a later change is worth a collection only if the heap has grown by much; in between nobody looks', async () => {
  const heap = new Heap()
  heap.memory.changed()
  await heap.clock.advance(5_000)
  heap.memory.changed()
  heap.committedBytes += 3 * MIB
  assert.deepEqual(heap.trims, [])
  await heap.clock.advance(60_000)
  assert.equal(heap.collections.length, 1)
  assert.deepEqual(heap.trims, [6_500], 'what is free goes all the same')
  heap.committedBytes += 3 * MIB
  await heap.clock.advance(60_000)
  assert.equal(heap.collections.length, 1, 'no change, no look')
  heap.memory.changed()
  await heap.clock.advance(5_000)
  assert.equal(heap.collections.length, 2)
})
