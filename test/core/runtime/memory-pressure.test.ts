import { test } from 'node:test'
import assert from 'node:assert/strict'
import { setImmediate } from 'node:timers/promises'
import { MemoryBudget } from '../../../core/runtime/memory-budget.ts'
import { MemoryPressure } from '../../../core/runtime/memory-pressure.ts'
import { readOwnBytes } from '../../../core/runtime/memory-usage.ts'

const MIB = 1024 * 1024

function rig(limitMib = 160) {
  const now = { ownMib: 60, ms: 0, measures: 0 }
  const pressure = new MemoryPressure({
    limitBytes: limitMib * MIB,
    readOwnBytes: () => {
      now.measures++
      return now.ownMib * MIB
    },
    nowMs: () => now.ms,
  })
  return { now, pressure }
}

test('it is measured four times a second, and under pressure fifty times', () => {
  const { now, pressure } = rig()
  const measuredAt = (ms: number): boolean => {
    now.ms = ms
    return pressure.measure()
  }
  assert.deepEqual([measuredAt(0), measuredAt(249), measuredAt(250)], [true, false, true])
  now.ownMib = 101
  assert.deepEqual([pressure.isPressed, measuredAt(500), pressure.isPressed], [false, true, true])
  assert.deepEqual([measuredAt(519), measuredAt(520)], [false, true])
  assert.equal(now.measures, 4)
})

test('what is full is measured again when it is asked, and what the system does not say is no pressure', () => {
  const { now, pressure } = rig()
  pressure.measure()
  assert.equal(pressure.roomBytes, 50 * MIB)
  now.ownMib = 120
  now.ms = 1_000
  pressure.measure()
  assert.equal(pressure.roomBytes, -10 * MIB)
  now.ownMib = 70
  assert.equal(pressure.roomBytes, -10 * MIB)
  now.ms = 1_020
  assert.equal(pressure.roomBytes, 40 * MIB)
  now.ownMib = 0
  now.ms = 9_000
  assert.deepEqual([pressure.measure(), pressure.isPressed, pressure.roomBytes > 0], [false, false, true])
  assert.ok(readOwnBytes() > 10 * MIB)
})

test('when the process has nearly all that it may have, what waits goes, down to an eighth of the budget', async () => {
  const { now, pressure } = rig()
  const budget = new MemoryBudget({ maxBytes: 40 * MIB })
  budget.pressure = pressure
  using _part = budget.onOver((isEnough) => {
    while (!isEnough()) budget.give(MIB)
  })
  const heldAfter = async (ownMib: number): Promise<number> => {
    now.ownMib = ownMib
    now.ms += 1_000
    pressure.measure()
    budget.take(1)
    await setImmediate()
    return Math.ceil(budget.heldBytes / MIB)
  }
  budget.take(30 * MIB)
  assert.equal(await heldAfter(109), 31)
  assert.equal(budget.isFull, false)
  // Ten too much: of 30 that wait 20 may, and a quarter of it is made free.
  assert.equal(await heldAfter(120), 15)
  assert.equal(budget.isFull, true)
  assert.equal(await heldAfter(150), 4)
  assert.equal(await heldAfter(150), 4)
  assert.equal(await heldAfter(60), 4)
  assert.equal(budget.isFull, false)
})
