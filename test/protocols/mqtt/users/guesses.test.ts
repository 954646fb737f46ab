import { test } from 'node:test'
import assert from 'node:assert/strict'
import { Guesses } from '../../../../protocols/mqtt/users/guesses.ts'
import { SimClock } from '../../../helpers/sim-clock.ts'

const never = new AbortController().signal

async function delayOf(clock: SimClock, guesses: Guesses, source: string): Promise<number> {
  const startMs = clock.monotonicMs()
  let told = false
  const waiting = guesses.delayRefusal(source, never).then(() => (told = true))
  while (!told) await clock.advance(50)
  await waiting
  return clock.monotonicMs() - startMs
}

test('each refusal doubles the wait of its source up to a bound; a minute without one begins anew', async () => {
  const clock = new SimClock()
  const guesses = new Guesses(clock, 4_000)
  const delays: number[] = []
  for (let i = 0; i < 7; i++) delays.push(await delayOf(clock, guesses, 'a'))
  assert.deepEqual(delays, [250, 500, 1_000, 2_000, 4_000, 4_000, 4_000])
  assert.equal(await delayOf(clock, guesses, 'b'), 250)
  await clock.advance(60_001)
  assert.equal(await delayOf(clock, guesses, 'a'), 250)
})

test('eight of a source wait at once, the ninth is not looked at; who leaves makes room, its guess counts', async () => {
  const clock = new SimClock()
  const guesses = new Guesses(clock, 4_000)
  const gone = new AbortController()
  const waiting = Array.from({ length: 8 }, () => guesses.delayRefusal('a', gone.signal))
  assert.throws(() => guesses.mayTry('a'), { code: 'MESH_LISTENER_FULL' })
  guesses.mayTry('b')
  gone.abort()
  await Promise.all(waiting)
  guesses.mayTry('a')
  assert.equal(await delayOf(clock, guesses, 'a'), 4_000)
})

test('sources are bounded in number, and 0 holds nothing back', async () => {
  const clock = new SimClock()
  const guesses = new Guesses(clock, 4_000)
  const all = Array.from({ length: 5_000 }, (_, i) => guesses.delayRefusal(`s${i}`, never))
  assert.equal(guesses.sources, 4_096)
  await clock.advance(250)
  await Promise.all(all)
  const off = new Guesses(clock, 0)
  await off.delayRefusal('a', never)
  assert.equal(off.sources, 0)
})
