/** Documents on their way: what counts, and who goes when there is too much. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { Metrics } from '../../../core/metrics.ts'
import { MemoryBudget } from '../../../core/runtime/memory-budget.ts'
import { Arrivals, MAX_ARRIVING_BYTES } from '../../../protocols/jwks/arrivals.ts'
import { settle } from '../../helpers/sim-clock.ts'

/** Documents of which so many bytes have come, and no more. */
function send(arrivals: Arrivals, ...sizes: number[]): { ends: string[]; finish: () => void } {
  const ends: string[] = sizes.map(() => 'comes')
  const whole = Promise.withResolvers<string>()
  for (const [i, bytes] of sizes.entries())
    void arrivals
      .follow(({ signal, set }) => {
        const given = new Promise<string>((_, reject) => {
          signal.addEventListener('abort', () => reject(signal.reason as Error))
        })
        set(bytes)
        return Promise.race([whole.promise, given])
      })
      .then(
        () => (ends[i] = 'whole'),
        (error: Error) => (ends[i] = error.message),
      )
  return { ends, finish: () => whole.resolve('{}') }
}

test('what is there of a document counts in the memory budget until it is whole', async () => {
  const budget = new MemoryBudget({ maxBytes: 100_000 })
  const { ends, finish } = send(new Arrivals(budget), 1_000, 2_000)
  assert.equal(budget.heldBytes, 3_000)
  finish()
  await settle()
  assert.deepEqual(ends, ['whole', 'whole'])
  assert.equal(budget.heldBytes, 0)
})

test('beyond the budget the largest goes, and is counted', async () => {
  const metrics = new Metrics()
  const budget = new MemoryBudget({ maxBytes: 10_000, metrics })
  const { ends } = send(new Arrivals(budget), 4_000, 5_000, 2_000)
  await settle()
  assert.deepEqual(
    ends.map((end) => /memory budget/.test(end)),
    [false, true, false],
  )
  assert.equal(budget.heldBytes, 6_000)
  assert.equal(metrics.total('mesh_memory_given_up_total', { what: 'connection' }), 1)
})

test('all together have a bound: the largest goes, whoever came last', async () => {
  const size = MAX_ARRIVING_BYTES / 4
  const { ends } = send(new Arrivals(undefined), size, size + 1, size, size - 1, 1)
  await settle()
  assert.deepEqual(
    ends.map((end) => /together/.test(end)),
    [false, true, false, false, false],
  )
})
