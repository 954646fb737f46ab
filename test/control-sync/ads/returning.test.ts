/** A fleet that has lost its hub, and comes back: each device decides by itself, and no second has many of them. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { MeshError } from '../../../core/errors.ts'
import { Returning } from '../../../control-sync/ads/returning.ts'
import { seededRandom } from '../../helpers/random.ts'

const DEVICES = 2_000
const WITHIN_MS = 60_000
const CUT = new MeshError('MESH_CONTROL_UNREACHABLE', 'the hub ended it')
const REFUSED = new MeshError('MESH_CONTROL_UNREACHABLE', 'nobody listens there')

/** @returns when each is connected again, in milliseconds since the hub was lost */
function comeBack(awayMs: number, tryMs: number, random: { float(): number }): number[] {
  return Array.from({ length: DEVICES }, () => {
    const returning = new Returning(WITHIN_MS, random)
    let atMs = returning.next({ reason: CUT, openedMs: -3_600_000, answeredMs: -3_599_000, nowMs: 0 }).waitMs
    while (atMs < awayMs) {
      const openedMs = atMs
      atMs += tryMs
      atMs += returning.next({ reason: REFUSED, openedMs, answeredMs: undefined, nowMs: atMs }).waitMs
    }
    return atMs
  }).toSorted((a, b) => a - b)
}

/** In any second, not only in those that a clock counts. */
function findMostInASecond(times: readonly number[]): number {
  let most = 0
  for (let from = 0, to = 0; to < times.length; to++) {
    while (times[to]! - times[from]! >= 1_000) from++
    most = Math.max(most, to - from + 1)
  }
  return most
}

for (const awayMs of [0, 500, 3_000, 10_000, 45_000, 60_000, 100_000, 600_000, 7_200_000])
  for (const tryMs of [5, 10_000])
    test(`a hub that is away for ${awayMs} ms, where a try that fails takes ${tryMs}: no second has more than 1/30 of the fleet`, () => {
      const times = comeBack(awayMs, tryMs, seededRandom(awayMs + tryMs))
      assert.ok(findMostInASecond(times) <= DEVICES / 30, String(findMostInASecond(times)))
      assert.ok(times.at(-1)! <= awayMs + tryMs + WITHIN_MS * 1.5, 'all are back soon')
    })
test('a device that has just started is not held back as one of many', () => {
  const returning = new Returning(WITHIN_MS, { float: () => 0.99 })
  const { waitMs } = returning.next({ reason: REFUSED, openedMs: 0, answeredMs: undefined, nowMs: 5 })
  assert.ok(waitMs < 1_000)
})
test('what the hub refuses has the waits of its kind', () => {
  const returning = new Returning(WITHIN_MS, { float: () => 0 })
  returning.next({ reason: CUT, openedMs: 0, answeredMs: 1, nowMs: 20_000 })
  const reason = new MeshError('MESH_DEVICE_PENDING', 'waits for an operator')
  assert.equal(returning.next({ reason, openedMs: 0, answeredMs: undefined, nowMs: 5 }).waitMs, 3_000)
})
test('a link that comes and goes by the second is not waited for as long', () => {
  const returning = new Returning(WITHIN_MS, { float: () => 0.99 })
  assert.ok(returning.next({ reason: CUT, openedMs: 0, answeredMs: 1_000, nowMs: 4_000 }).waitMs < 1_000)
})
