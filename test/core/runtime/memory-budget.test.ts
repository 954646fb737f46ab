import { test } from 'node:test'
import assert from 'node:assert/strict'
import { setImmediate } from 'node:timers/promises'
import { deriveBudgetBytes, MemoryBudget, readMemoryLimitBytes } from '../../../core/runtime/memory-budget.ts'
import { Metrics } from '../../../core/metrics.ts'

const MIB = 1024 * 1024

test('above the bound the parts give up in their order, until a quarter is free, when the callback at hand is over', async () => {
  const metrics = new Metrics()
  const budget = new MemoryBudget({ maxBytes: 1000, metrics })
  const said: string[] = []
  const part = (name: string, has: number): Disposable =>
    budget.onOver((isEnough) => {
      while (has > 0 && !isEnough()) {
        said.push(name)
        has -= 100
        budget.give(100)
        budget.countGivenUp('message')
      }
    })
  part('first', 200)
  using second = part('second', 500)
  budget.take(1000)
  await setImmediate()
  assert.deepEqual(said, [])
  budget.take(100)
  assert.deepEqual(said, [], 'nobody is interrupted')
  await setImmediate()
  assert.deepEqual([said, budget.heldBytes], [['first', 'first', 'second', 'second'], 700])
  assert.equal(metrics.total('mesh_memory_given_up_total', { what: 'message' }), 4)
  assert.deepEqual([metrics.total('mesh_memory_held_bytes'), metrics.total('mesh_memory_budget_bytes')], [700, 1000])
  second[Symbol.dispose]()
  budget.take(400)
  await setImmediate()
  assert.equal(said.length, 4)
})

test('who waits for less to be used is called once, when the callback at hand is over', async () => {
  const budget = new MemoryBudget({ maxBytes: 1000 })
  budget.take(600)
  let calls = 0
  budget.whenEased(() => calls++)
  const forgotten = budget.whenEased(assert.fail)
  forgotten[Symbol.dispose]()
  budget.give(100)
  await setImmediate()
  assert.equal(calls, 0)
  budget.take(-200)
  assert.equal(calls, 0, 'nobody is interrupted')
  await setImmediate()
  assert.equal(calls, 1)
  budget.take(500)
  budget.give(500)
  await setImmediate()
  assert.equal(calls, 1)
})

test('the default leaves the process its own and most of the rest to what is not counted', () => {
  assert.deepEqual(
    [96, 256, 1024, 64 * 1024].map((limit) => Math.floor(deriveBudgetBytes(limit * MIB) / MIB)),
    [5, 32, 160, 256],
  )
  assert.equal(deriveBudgetBytes(32 * MIB), 4 * MIB)
  assert.ok(readMemoryLimitBytes() > 16 * MIB)
})
