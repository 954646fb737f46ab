import { test } from 'node:test'
import assert from 'node:assert/strict'
import { Window } from '../../../../../protocols/mqtt/bridge/sending/window.ts'
import { SimClock } from '../../../../helpers/sim-clock.ts'

/**
 * A way of `rttMs` that takes `perSec` messages: what is more than fits stands in a queue.
 * @returns the size of the window after each round trip
 */
async function sizes(p: { rttMs: number; perSec: number; most: number; isBusy?: boolean }): Promise<number[]> {
  const clock = new SimClock()
  const window = new Window(clock, p.most)
  const seen: number[] = []
  for (let round = 0; round < 20; round++) {
    const inFlight = p.isBusy === false ? 3 : window.size
    for (let i = 1; i <= inFlight; i++) window.noteSent(i, i)
    await clock.advance(Math.max(p.rttMs, (inFlight / p.perSec) * 1_000))
    for (let i = 1; i <= inFlight; i++) window.noteAcknowledged(i)
    seen.push(window.size)
  }
  return seen
}

test('a long way is filled, and not much more', async () => {
  const all = await sizes({ rttMs: 600, perSec: 5_000, most: 65_535 })
  assert.ok(all.at(-1)! >= 3_000 && all.at(-1)! <= 12_800, String(all))
})
test('never above what the peer allows, from the first message on', async () => {
  for (const most of [1, 20, 1_000])
    assert.ok((await sizes({ rttMs: 600, perSec: 1e6, most })).every((size) => size <= most))
})
test('without enough to send it does not grow', async () =>
  assert.deepEqual(new Set(await sizes({ rttMs: 100, perSec: 1e6, most: 65_535, isBusy: false })), new Set([64])))
test('a way that becomes crowded is given less', async () => {
  const clock = new SimClock()
  const window = new Window(clock, 65_535)
  const roundTrip = async (ms: number): Promise<void> => {
    window.noteSent(1, window.size)
    await clock.advance(ms)
    window.noteAcknowledged(1)
  }
  for (let i = 0; i < 5; i++) await roundTrip(20)
  const before = window.size
  for (let i = 0; i < 3; i++) await roundTrip(2_000)
  assert.ok(window.size <= before / 8, `${before} to ${window.size}`)
})
