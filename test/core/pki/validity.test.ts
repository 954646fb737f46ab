import { test } from 'node:test'
import assert from 'node:assert/strict'
import { checkExpiry, checkValidity, isExpired, type Validity } from '../../../core/pki/validity.ts'

const dates = { notBeforeMs: 1_000, notAfterMs: 2_000 }

for (const [nowMs, graceMs, expected] of [
  [999, 0, { state: 'not-yet', inMs: 1 }],
  [1_000, 0, { state: 'valid', leftMs: 1_000 }],
  [1_999, 0, { state: 'valid', leftMs: 1 }],
  [2_000, 0, { state: 'expired', expiredMs: 0 }],
  [2_500, 0, { state: 'expired', expiredMs: 500 }],
  [999, 300, { state: 'not-yet', inMs: 1 }],
  [1_999, 300, { state: 'valid', leftMs: 301 }],
  [2_000, 300, { state: 'grace', leftMs: 300, expiredMs: 0 }],
  [2_299, 300, { state: 'grace', leftMs: 1, expiredMs: 299 }],
  [2_300, 300, { state: 'expired', expiredMs: 300 }],
] as const satisfies readonly (readonly [number, number, Validity])[])
  test(`valid from 1000 until 2000, at ${nowMs} with ${graceMs} ms of grace: ${expected.state}`, () => {
    assert.deepEqual(checkValidity(dates, nowMs, graceMs), expected)
  })

test('by its end alone, what is not valid yet counts', () => {
  assert.deepEqual(checkExpiry(dates, 0), { state: 'valid', leftMs: 2_000 })
  assert.deepEqual(
    [0, 1_999, 2_000].map((nowMs) => isExpired(dates, nowMs)),
    [false, false, true],
  )
})
test('grace is for whoever asks with it: expired is expired', () => {
  assert.ok(isExpired(dates, 2_000))
})
test('dates that cannot be read count as over', () => {
  assert.ok(isExpired({ notAfterMs: NaN }, 0))
  assert.equal(checkExpiry({ notAfterMs: NaN }, 0, 1_000).state, 'expired')
  assert.equal(checkValidity(dates, NaN).state, 'expired')
})
