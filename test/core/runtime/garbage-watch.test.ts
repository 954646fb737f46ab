import { test } from 'node:test'
import assert from 'node:assert/strict'
import { MemoryBudget } from '../../../core/runtime/memory-budget.ts'
import { GarbageWatch } from '../../../core/runtime/garbage-watch.ts'
import { MemoryPressure } from '../../../core/runtime/memory-pressure.ts'

const MIB = 1024 * 1024

function rig(limitMib: number, freed: { readonly minor: number; readonly major: number }) {
  const usage = { arrayBuffers: 0, external: 0, heapUsed: 20 * MIB, heapTotal: 25 * MIB }
  /** Resident beside the heap and its buffers. */
  const beside = { mib: 30 }
  const time = { ms: 0 }
  const said: string[] = []
  let heldBytes = 0
  let pauseMs = 0
  const later: { readonly ms: number; readonly fn: () => void }[] = []
  const watch = new GarbageWatch({
    limitBytes: limitMib * MIB,
    heldBytes: () => heldBytes,
    usage: () => usage,
    pressure: new MemoryPressure({
      limitBytes: limitMib * MIB,
      readOwnBytes: () => usage.heapTotal + usage.external + beside.mib * MIB,
      nowMs: () => time.ms,
    }),
    trimMalloc: () => said.push('trim'),
    saveMemory: () => said.push('small'),
    after: (ms, fn) => {
      later.push({ ms, fn })
    },
    collect: (what) => {
      said.push(what)
      if (what === 'all') {
        usage.heapTotal = 26 * MIB
        time.ms += pauseMs
      } else usage.arrayBuffers = Math.max(heldBytes, usage.arrayBuffers - freed[what] * MIB)
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
  const pauses = (ms: number): void => {
    pauseMs = ms
  }
  return { said, come, usage, beside, watch, later, time, pauses }
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
  r.later[0]!.fn()
  assert.deepEqual(r.said, ['minor', 'major'])
})

test('connections that lived at the last collection and are over make their garbage seen', () => {
  const r = rig(256, { minor: 0, major: 100 })
  r.come(1)
  // Two thousand of them live.
  r.usage.heapUsed = 70 * MIB
  r.watch.received(MIB)
  assert.deepEqual(r.said, ['minor', 'major'])
  r.said.length = 0
  r.watch.received(MIB)
  assert.deepEqual(r.said, [])
  // Others come and go, which did not live then.
  for (let i = 0; i < 5_000; i++) r.watch.left(32 * 1024, r.watch.collections)
  assert.deepEqual(r.said, [])
  const began = r.watch.collections - 1
  for (let i = 0; i < 2_000; i++) r.watch.left(32 * 1024, began)
  assert.match(r.said.join(), /major/)
  // However many they were: what lived before there was any lives on.
  r.usage.heapUsed = 30 * MIB
  r.said.length = 0
  for (let i = 0; i < 5_000; i++) r.watch.left(32 * 1024, began)
  assert.deepEqual(r.said, [])
})

const TO_RELEASE = [
  { limitMib: 96, enoughMib: 3, tooMuchMib: 6 },
  { limitMib: 256, enoughMib: 20, tooMuchMib: 24 },
]
for (const { limitMib, enoughMib, tooMuchMib } of TO_RELEASE)
  test(`of ${limitMib} MiB, pages that V8 keeps are given back, not more often than every five seconds`, () => {
    const r = rig(limitMib, { minor: 100, major: 100 })
    r.usage.heapTotal = 26 * MIB
    const looks = (): string[] => {
      r.said.length = 0
      r.watch.received(MIB)
      return [...r.said]
    }
    const burst = (mib: number): void => {
      r.usage.heapTotal += mib * MIB
      looks()
      // The collector emptied the pages, and kept them.
      r.usage.heapTotal = 26 * MIB
    }
    assert.deepEqual(looks(), [])
    r.time.ms = 5_000
    burst(enoughMib)
    assert.deepEqual(looks(), [])
    r.time.ms = 4_999
    burst(tooMuchMib)
    r.time.ms = 5_000
    assert.deepEqual(looks(), ['all', 'trim'])
    r.later.at(-1)!.fn()
    assert.deepEqual(r.said, ['all', 'trim'])
    burst(tooMuchMib)
    assert.deepEqual(looks(), [])
    // Nothing comes any more.
    r.time.ms = 10_000
    r.said.length = 0
    assert.equal(r.later.at(-1)!.ms, 5_000)
    r.later.at(-1)!.fn()
    assert.deepEqual(r.said, ['all', 'trim'])
  })

for (const { limitMib, enoughMib, tooMuchMib } of TO_RELEASE)
  test(`of ${limitMib} MiB, what malloc keeps is given back without a collection, and what cannot be given back is not tried again`, () => {
    const r = rig(limitMib, { minor: 100, major: 100 })
    const looksAt = (ms: number): string[] => {
      r.time.ms = ms
      r.said.length = 0
      r.watch.received(MIB)
      return [...r.said]
    }
    r.beside.mib = 5
    assert.deepEqual(looksAt(4_000), [])
    // Buffers that somebody has are not kept by malloc.
    r.usage.external = 25 * MIB
    assert.deepEqual(looksAt(5_000), [])
    r.usage.external = 0
    r.beside.mib += enoughMib
    assert.deepEqual(looksAt(6_000), [])
    r.beside.mib += tooMuchMib - enoughMib
    assert.deepEqual(looksAt(6_249), [], 'the system is not asked each time')
    assert.deepEqual(looksAt(6_250), ['trim'])
    assert.deepEqual(looksAt(20_000), [])
    r.beside.mib -= tooMuchMib
    assert.deepEqual(looksAt(21_000), [])
    r.beside.mib += tooMuchMib
    assert.deepEqual(looksAt(22_000), ['trim'])
    assert.deepEqual(looksAt(22_250), [])
    // Nothing comes any more.
    r.beside.mib += tooMuchMib
    assert.deepEqual(looksAt(26_900), [])
    assert.equal(r.later.at(-1)!.ms, 100)
    r.time.ms = 27_000
    r.later.at(-1)!.fn()
    assert.deepEqual(r.said, ['trim'])
  })

test('when most of the memory is in use, less is given back and sooner, for a twentieth of the time at most', () => {
  const r = rig(256, { minor: 100, major: 100 })
  const looksAt = (ms: number): string[] => {
    r.time.ms = ms
    r.said.length = 0
    r.watch.received(MIB)
    return [...r.said]
  }
  looksAt(0)
  r.usage.heapTotal = 40 * MIB
  assert.deepEqual(looksAt(10_000), [])
  r.usage.external = 100 * MIB
  r.pauses(10)
  assert.deepEqual(looksAt(11_000), ['all', 'trim'])
  r.usage.heapTotal = 40 * MIB
  assert.deepEqual(looksAt(12_009), [])
  r.pauses(100)
  assert.deepEqual(looksAt(12_010), ['all', 'trim'])
  r.usage.heapTotal = 40 * MIB
  assert.deepEqual(looksAt(14_109), [])
  assert.deepEqual(looksAt(14_110), ['all', 'trim'])
})

test('with much memory no pages are given back', () => {
  const r = rig(4096, { minor: 0, major: 0 })
  r.come(1)
  r.usage.heapTotal = 1_000 * MIB
  r.time.ms = 60_000
  r.come(1)
  assert.deepEqual(r.said, [])
  assert.deepEqual(r.later, [])
})
