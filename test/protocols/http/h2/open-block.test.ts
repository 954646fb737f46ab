import { test } from 'node:test'
import assert from 'node:assert/strict'
import { Metrics } from '../../../../core/metrics.ts'
import { MemoryBudget } from '../../../../core/runtime/memory-budget.ts'
import { OpenBlock } from '../../../../protocols/http/h2/open-block.ts'
import { Waiting } from '../../../../protocols/waiting.ts'
import { SimClock } from '../../../helpers/sim-clock.ts'

test('a header block counts against the budget until it ends, and has so much time from its begin', async () => {
  const metrics = new Metrics()
  const clock = new SimClock(0)
  const waiting = new Waiting({ metrics, clock, budget: new MemoryBudget({ maxBytes: 1 << 20 }) })
  let ended = 0
  const block = new OpenBlock({
    waiting,
    holder: { client: '127.0.0.1', giveUp: () => {} },
    clock,
    timeoutMs: 1_000,
    onTimeout: () => {
      ended++
    },
  })
  const counted = (): number => metrics.total('mesh_stream_waiting_bytes')
  block.set(16_000)
  assert.equal(counted(), 16_000)
  await clock.advance(900)
  block.set(32_000)
  assert.equal(counted(), 32_000)
  block.set(0)
  await clock.advance(2_000)
  assert.deepEqual([counted(), ended], [0, 0], 'it has ended')
  block.set(16_000)
  await clock.advance(600)
  block.set(17_000)
  await clock.advance(600)
  assert.equal(ended, 1, 'more of it does not give it more time')
  block.end()
  assert.equal(counted(), 0)
})
