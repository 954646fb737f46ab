import { test } from 'node:test'
import assert from 'node:assert/strict'
import { DailyRate } from '../../../core/storage/daily-rate.ts'

const HOUR_MS = 3_600_000

test('before a day has passed it is as much as since the start, made a day of', () => {
  const rate = new DailyRate(0)
  assert.equal(rate.read(0, 0), undefined)
  assert.deepEqual(rate.read(1_000, HOUR_MS / 2), { bytes: 48_000, overSec: 1_800 })
  assert.deepEqual(rate.read(6_000, 6 * HOUR_MS), { bytes: 24_000, overSec: 21_600 })
})
test('then it is the last day, whatever was before', () => {
  const rate = new DailyRate(0)
  let total = 0
  for (let hour = 1; hour <= 72; hour++) {
    total += hour <= 48 ? 1_000_000 : 10
    rate.note(total, hour * HOUR_MS)
  }
  assert.deepEqual(rate.read(total, 72 * HOUR_MS), { bytes: 240, overSec: 86_400 })
})
test('where nothing was written for a week that counts, too', () => {
  const rate = new DailyRate(0)
  rate.note(7_000, HOUR_MS)
  assert.deepEqual(rate.read(7_000, 168 * HOUR_MS), { bytes: 0, overSec: 167 * 3_600 })
})
