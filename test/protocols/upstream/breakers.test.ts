import { test } from 'node:test'
import assert from 'node:assert/strict'
import { takeLease } from '../../../core/lease.ts'
import { Load } from '../../../protocols/upstream/breakers.ts'

const breakers = (maxRequests: number) => ({
  maxConnections: 1,
  maxPendingRequests: maxRequests,
  maxRequests,
  maxRetries: 3,
  retryBudget: undefined,
})
/** @returns how many of them were let in, one after the other */
function take(load: Load, maxRequests: number, source: string, count: number): number {
  let taken = 0
  for (; taken < count && load.mayRequest(breakers(maxRequests), source); taken++)
    takeLease(load.requests, load.pending, load.requestsBySource.tally(source))
  return taken
}

test('one source alone gets the limit and no more, whatever the limit', () => {
  for (const max of [0, 1, 2, 8, 9, 100, 1024]) assert.equal(take(new Load(), max, 'a', 2 * max + 10), max)
})
test('a source with less than its share gets in beyond the limit, an eighth of it in all', () => {
  const load = new Load()
  take(load, 80, 'a', 1000)
  assert.deepEqual(
    [take(load, 80, 'b', 6), take(load, 80, 'c', 6), take(load, 80, 'd', 6), take(load, 80, 'a', 1)],
    [6, 4, 0, 0],
  )
  const full = load.refuseToWait({ name: 'c', breakers: breakers(80) }, 'd')
  assert.equal(full?.code, 'MESH_UPSTREAM_OVERFLOW')
  assert.match(full.message, /90 requests wait for cluster c \(max_pending_requests\)/)
  assert.equal(load.refuseToWait({ name: 'c', breakers: breakers(160) }, 'd'), undefined)
})
test('a source with its share gets no more beyond the limit', () => {
  const load = new Load()
  take(load, 24, 'b', 8)
  take(load, 24, 'a', 1000)
  assert.equal(take(load, 24, 'b', 1), 0)
  assert.equal(take(load, 24, 'c', 10), 3)
})
test('a limit below 8 is exact for everybody', () => {
  const load = new Load()
  take(load, 7, 'a', 1000)
  assert.equal(take(load, 7, 'b', 1), 0)
})
