import { test } from 'node:test'
import assert from 'node:assert/strict'
import { BOOT_MS, BootSpread } from '../../../core/runtime/boot-spread.ts'
import { SimClock } from '../../helpers/sim-clock.ts'
import { seededRandom } from '../../helpers/random.ts'

const spread = (uptimeMs: number | undefined, spreadMs = 30_000, clock = new SimClock()): BootSpread =>
  new BootSpread({ spreadMs, uptimeMs, clock, random: seededRandom(5) })

test('ten thousand machines that boot at once come spread over the whole time, no two links of one at one moment', () => {
  const waits = Array.from(
    { length: 10_000 },
    (() => {
      const one = spread(20_000)
      return () => one.drawWaitMs()
    })(),
  )
  assert.ok(waits.every((ms) => ms >= 0 && ms <= 30_000))
  const perSecond = Array.from({ length: 30 }, (_, i) => waits.filter((ms) => Math.floor(ms / 1_000) === i).length)
  assert.ok(Math.max(...perSecond) < 500, perSecond.join(' '))
  assert.ok(Math.min(...perSecond) > 200, perSecond.join(' '))
  assert.equal(new Set(waits).size, waits.length)
})
test('long after the boot, or where that is not known, nothing waits', () => {
  for (const uptimeMs of [undefined, BOOT_MS + 1]) assert.equal(spread(uptimeMs).drawWaitMs(), 0)
  assert.ok(spread(BOOT_MS).drawWaitMs() > 0)
  assert.equal(spread(1, 0).drawWaitMs(), 0, 'it can be switched off')
})
test('what the start itself took is part of the wait', async () => {
  const clock = new SimClock()
  const later = spread(1, 30_000, clock)
  await clock.advance(5_000)
  assert.equal(later.drawWaitMs(), Math.max(0, spread(1).drawWaitMs() - 5_000))
  await clock.advance(25_000)
  assert.equal(later.drawWaitMs(), 0)
})
