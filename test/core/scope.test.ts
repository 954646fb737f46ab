import { test } from 'node:test'
import assert from 'node:assert/strict'
import { Scope } from '../../core/scope.ts'
import { SimClock } from '../helpers/sim-clock.ts'

test('drain forces what is left when the grace period ends, and not before', async () => {
  const clock = new SimClock()
  const scope = new Scope()
  const outcome = scope.drain(new Promise(() => {}), 5_000, clock)
  await clock.advance(4_999)
  assert.equal(scope.aborted.aborted, false)
  await clock.advance(1)
  assert.equal(await outcome, 'forced')
})

test('drain leaves no timer behind when idle wins', async () => {
  const clock = new SimClock()
  assert.equal(await new Scope().drain(Promise.resolve(), 5_000, clock), 'drained')
  assert.equal(clock.pendingTimers, 0)
})

test('owned things close in reverse order, also when idle rejects', async () => {
  const order: string[] = []
  const scope = new Scope()
  scope.own({
    async [Symbol.asyncDispose]() {
      order.push('first')
    },
  })
  scope.onClose(() => {
    order.push('second')
  })
  await assert.rejects(scope.drain(Promise.reject(new Error('boom')), 10, new SimClock()), /boom/)
  assert.deepEqual(order, ['second', 'first'])
})
