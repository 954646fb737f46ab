import { test } from 'node:test'
import assert from 'node:assert/strict'
import { MemoryBudget } from '../../../core/runtime/memory-budget.ts'
import { GarbageWatch } from '../../../core/runtime/garbage-watch.ts'

const MIB = 1024 * 1024

function rig(limitMib: number, freed: { readonly minor: number; readonly major: number }) {
  const usage = { arrayBuffers: 0, heapUsed: 20 * MIB, heapTotal: 25 * MIB }
  const time = { ms: 0 }
  const said: string[] = []
  let heldBytes = 0
  const later: (() => void)[] = []
  const watch = new GarbageWatch({
    limitBytes: limitMib * MIB,
    heldBytes: () => heldBytes,
    usage: () => usage,
    saveMemory: () => said.push('small'),
    after: (_ms, fn) => {
      later.push(fn)
    },
    collect: (what) => {
      said.push(what)
      if (what === 'all') usage.heapTotal = 26 * MIB
      else usage.arrayBuffers = Math.max(heldBytes, usage.arrayBuffers - freed[what] * MIB)
    },
    nowMs: () => time.ms,
  })
  /** So many megabytes come, and stay in buffers as garbage or because somebody holds them. */
  const come = (mib: number, p: { held?: boolean } = {}): void => {
    for (let i = 0; i < mib; i++) {
      usage.arrayBuffers += MIB
      if (p.held) heldBytes += MIB
      watch.received(MIB)
    }
  }
  return { said, come, usage, watch, later, time }
}

test('garbage is collected at a small share of what the process may have; what is held is none', () => {
  const r = rig(256, { minor: 100, major: 100 })
  r.come(40, { held: true })
  assert.deepEqual(r.said, [])
  r.come(20)
  assert.deepEqual(r.said, ['minor', 'minor'])
})
test('what the small collection does not find, the large one does, and what stays is not looked for again', () => {
  const r = rig(256, { minor: 0, major: 1 })
  r.come(17)
  assert.deepEqual(r.said.slice(-2), ['minor', 'major'])
  const before = r.said.filter((what) => what === 'major').length
  r.come(1)
  assert.equal(r.said.filter((what) => what === 'major').length - before, 0)
})
test('a heap that grows counts as well; little memory keeps young objects small; with much of it nothing is done', () => {
  const r = rig(96, { minor: 100, major: 100 })
  assert.deepEqual(r.said, ['small'])
  r.watch.received(MIB)
  r.usage.heapUsed += 7 * MIB
  r.watch.received(MIB)
  assert.deepEqual(r.said, ['small', 'minor'])
  const large = rig(4096, { minor: 0, major: 0 })
  large.come(500)
  assert.deepEqual(large.said, [])
})

test('once after the budget was tight garbage is looked for though nothing comes', () => {
  const r = rig(256, { minor: 0, major: 100 })
  r.come(1)
  const budget = new MemoryBudget({ maxBytes: 10 * MIB })
  budget.garbage = r.watch
  budget.take(4 * MIB)
  budget.give(4 * MIB)
  assert.equal(r.later.length, 0)
  budget.take(6 * MIB)
  r.usage.heapUsed += 20 * MIB
  budget.give(4 * MIB)
  assert.equal(r.later.length, 0)
  budget.give(2 * MIB)
  budget.take(6 * MIB)
  budget.give(6 * MIB)
  assert.equal(r.later.length, 1)
  assert.deepEqual(r.said, [])
  r.later[0]!()
  assert.deepEqual(r.said, ['minor', 'major'])
})

test('with very little memory, pages that the heap has half empty are given back, not more often than every five seconds', () => {
  const r = rig(96, { minor: 100, major: 100 })
  const looks = (): string[] => {
    r.said.length = 0
    r.watch.received(MIB / 4)
    return [...r.said]
  }
  assert.deepEqual(looks(), [])
  r.usage.heapTotal = 40 * MIB
  assert.deepEqual(looks(), [])
  r.time.ms = 5_000
  assert.deepEqual(looks(), ['all'])
  assert.deepEqual(looks(), [])
  r.usage.heapTotal = 40 * MIB
  r.time.ms = 9_999
  assert.deepEqual(looks(), [])
  r.time.ms = 10_000
  assert.deepEqual(looks(), ['all'])
  // What lives there now is no reason to look again.
  r.usage.heapTotal = 29 * MIB
  r.time.ms = 60_000
  assert.deepEqual(looks(), [])
  const enough = rig(256, { minor: 100, major: 100 })
  enough.come(1)
  enough.usage.heapTotal = 100 * MIB
  enough.time.ms = 20_000
  enough.come(1)
  assert.deepEqual(enough.said, [])
})
