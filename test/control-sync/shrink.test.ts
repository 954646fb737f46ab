import { test } from 'node:test'
import assert from 'node:assert/strict'
import { silentLog } from '../../agent/core/log.ts'
import { Shrink } from '../../control-sync/shrink.ts'
import { SimClock } from '../helpers/sim-clock.ts'

const names = (count: number): string[] => Array.from({ length: count }, (_, i) => `c${i}`)
function made(shrinkHoldMs = 1_000): { clock: SimClock; shrink: Shrink; released: string[] } {
  const clock = new SimClock()
  const released: string[] = []
  return { clock, released, shrink: new Shrink({ clock, log: silentLog, shrinkHoldMs, release: (r) => released.push(...r) }) }
}

test('a first push that takes most clusters away is held back and then carried out', async () => {
  const { clock, shrink, released } = made()
  shrink.newStream()
  assert.deepEqual(shrink.filter(names(15), 20), [])
  await clock.advance(999)
  assert.equal(released.length, 0)
  await clock.advance(1)
  assert.equal(released.length, 15)
})
test('a stream that ends before takes the removal with it', async () => {
  const { clock, shrink, released } = made()
  shrink.newStream()
  shrink.filter(names(15), 20)
  shrink.newStream()
  await clock.advance(5_000)
  assert.deepEqual(released, [])
})
test('later pushes, small changes and small meshes are carried out at once', () => {
  const { shrink } = made()
  shrink.newStream()
  assert.equal(shrink.filter(names(5), 20).length, 5)
  assert.equal(shrink.filter(names(19), 20).length, 19)
  shrink.newStream()
  assert.equal(shrink.filter(names(4), 4).length, 4)
})
