import { test } from 'node:test'
import assert from 'node:assert/strict'
import { Load } from '../../../../protocols/mqtt/operations/load.ts'

test('a steady rate is what all averages come to, the shorter ones sooner', () => {
  const load = new Load(100)
  let count = 100
  for (let i = 0; i < 6; i++) load.update((count += 20), 10)
  const [one, five, fifteen] = load.averages.map(([, value]) => value) as [number, number, number]
  assert.ok(120 > one && one > five && five > fifteen && fifteen > 0)
  // After a minute 1 - 1/e of it is there, as in Unix's load.
  assert.ok(Math.abs(one - 120 * (1 - Math.exp(-1))) < 1e-9)
  for (let i = 0; i < 2000; i++) load.update((count += 20), 10)
  for (const [minutes, value] of load.averages) assert.ok(Math.abs(value - 120) < 0.01, `${minutes}: ${value}`)
  assert.deepEqual(
    load.averages.map(([minutes]) => minutes),
    [1, 5, 15],
  )
})
