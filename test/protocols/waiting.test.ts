/**
 * What waits for peers that do not take it: counted, bounded together, and who holds most and stands still goes first.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { setImmediate } from 'node:timers/promises'
import { MemoryBudget } from '../../core/runtime/memory-budget.ts'
import { Metrics } from '../../core/metrics.ts'
import { type Holder, Waiting } from '../../protocols/waiting.ts'
import { SimClock } from '../helpers/sim-clock.ts'
import { cluster } from './http/harness.ts'

function rig(maxBytes: number): {
  waiting: Waiting
  clock: SimClock
  metrics: Metrics
  budget: MemoryBudget
  gone: string[]
  holder(name: string, client: string, more?: Partial<Holder>): Holder
} {
  const metrics = new Metrics()
  const clock = new SimClock(0)
  const budget = new MemoryBudget({ maxBytes, metrics })
  const gone: string[] = []
  const waiting = new Waiting({ clock, metrics, budget })
  return {
    waiting,
    clock,
    metrics,
    budget,
    gone,
    holder: (name, client, more = {}) => ({
      client,
      giveUp: (error) => {
        assert.equal(error.code, 'MESH_STREAM_STALLED')
        gone.push(name)
      },
      ...more,
    }),
  }
}

test('the source that has most waiting goes first, of it what has stood still longest, until a quarter is free', async () => {
  const r = rig(1_000)
  r.waiting.hold(r.holder("another's", '10.0.0.2')).set(180)
  await r.clock.advance(10)
  const holds = ['a', 'b', 'c'].map((name) => r.waiting.hold(r.holder(name, '10.0.0.1')))
  for (const [i, hold] of holds.entries()) {
    hold.set([250, 280, 250][i]!)
    await r.clock.advance(10)
  }
  // The first takes a little: it reads.
  holds[0]!.set(240)
  await r.clock.advance(10)
  holds[2]!.set(320)
  await setImmediate()
  assert.deepEqual([r.gone, r.budget.heldBytes], [['b'], 740])
  assert.equal(r.metrics.total('mesh_memory_given_up_total', { what: 'stream' }), 1)
})
test('one IPv6 /64 is one source', async () => {
  const r = rig(1_000)
  r.waiting.hold(r.holder("another's", '2001:db8:0:2::1')).set(400)
  for (const n of [1, 2, 3]) r.waiting.hold(r.holder(`part ${n}`, `2001:db8:0:1::${n}`)).set(250)
  await setImmediate()
  assert.deepEqual(r.gone, ['part 1', 'part 2'])
})
test('copies of requests go before anything that somebody would miss', async () => {
  const r = rig(1_000)
  r.waiting.hold(r.holder('answer', '10.0.0.1')).set(700)
  r.waiting.hold(r.holder('copy', '10.0.0.2', { what: 'replay-copy' })).set(400)
  await setImmediate()
  assert.deepEqual([r.gone, r.metrics.total('mesh_memory_given_up_total', { what: 'replay-copy' })], [['copy'], 1])
})
test('an owner that fails to give up counts no longer all the same, and what is given back is counted once', async () => {
  const r = rig(100)
  const hold = r.waiting.hold({
    client: 'a',
    giveUp: () => {
      hold.set(0)
    },
  })
  hold.set(150)
  await setImmediate()
  hold.set(0)
  assert.deepEqual([r.budget.heldBytes, r.metrics.total('mesh_stream_waiting_bytes')], [0, 0])
})
test('where a cluster has as many requests as it may, who stands still makes room: of whoever has most of them', () => {
  const r = rig(10_000)
  const [one, other] = [cluster(), cluster()]
  r.waiting.hold(r.holder("another's", '10.0.0.2', { cluster: one })).set(500)
  r.waiting.hold(r.holder('elsewhere', '10.0.0.1', { cluster: other })).set(500)
  for (const name of ['a', 'b']) r.waiting.hold(r.holder(name, '10.0.0.1', { cluster: one })).set(10)
  assert.equal(r.waiting.makeRoom(one), true)
  assert.deepEqual([r.gone, r.metrics.total('mesh_upstream_stalled_ended_total')], [['a'], 1])
  assert.equal(r.waiting.makeRoom(cluster()), false)
})
test('of several parts the one that holds most gives up first', async () => {
  const r = rig(1_000)
  const said: string[] = []
  r.budget.onOver(() => {
    said.push('messages')
  })
  const hold = r.waiting.hold({
    client: 'a',
    giveUp: () => {
      said.push('stream')
    },
  })
  hold.set(400)
  r.budget.take(700)
  await setImmediate()
  assert.deepEqual(said, ['messages', 'stream'])
})
