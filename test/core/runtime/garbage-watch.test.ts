import { test } from 'node:test'
import assert from 'node:assert/strict'
import { MemoryBudget } from '../../../core/runtime/memory-budget.ts'
import { GarbageWatch } from '../../../core/runtime/garbage-watch.ts'

const MIB = 1024 * 1024

function rig(limitMib: number, freed: { readonly minor: number; readonly major: number }) {
  const usage = { arrayBuffers: 0, heapUsed: 20 * MIB }
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
      usage.arrayBuffers = Math.max(heldBytes, usage.arrayBuffers - freed[what] * MIB)
    },
  })
  /** So many megabytes come, and stay in buffers as garbage or because somebody holds them. */
  const come = (mib: number, p: { held?: boolean } = {}): void => {
    for (let i = 0; i < mib; i++) {
      usage.arrayBuffers += MIB
      if (p.held) heldBytes += MIB
      watch.received(MIB)
    }
  }
  return { said, come, usage, watch, later }
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
