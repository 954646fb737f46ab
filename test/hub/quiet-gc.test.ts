import { test } from 'node:test'
import assert from 'node:assert/strict'
import { QuietGc } from '../../hub/quiet-gc.ts'

const MIB = 1024 * 1024

/** What a collection leaves is `live`. */
function createHeap(live: number) {
  const heap = { mib: live, live, busy: 0, collected: 0 }
  const gc = new QuietGc({
    busyShare: () => heap.busy,
    committedBytes: () => heap.mib * MIB,
    collect: () => {
      heap.collected++
      heap.mib = heap.live
    },
  })
  return { heap, gc }
}

test('the garbage of a burst goes when it is over, once', () => {
  const { heap, gc } = createHeap(40)
  gc.look()
  assert.equal(heap.collected, 1, 'of the start')
  heap.mib = 130
  heap.busy = 0.4
  gc.look()
  assert.equal(heap.collected, 1, 'somebody would wait')
  heap.live = 90
  heap.busy = 0.01
  gc.look()
  gc.look()
  assert.deepEqual([heap.collected, heap.mib], [2, 90])
})

test('a large heap is not collected for a little', () => {
  const { heap, gc } = createHeap(400)
  gc.look()
  heap.mib = 480
  gc.look()
  assert.equal(heap.collected, 1)
  heap.mib = 501
  gc.look()
  assert.equal(heap.collected, 2)
})
