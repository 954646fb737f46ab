import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { ResourceKind } from '../../../model/snapshot.ts'
import { RejectedRetry } from '../../../control-sync/ads/rejected-retry.ts'
import { SimClock } from '../../helpers/sim-clock.ts'

type Asked = readonly [atMs: number, kind: ResourceKind, names: string]
function made(random = 0, refusedRetryMs = 1_000): { clock: SimClock; refused: RejectedRetry; asked: Asked[] } {
  const clock = new SimClock()
  const asked: Asked[] = []
  const refused = new RejectedRetry(
    { clock, random: { float: () => random }, refusedRetryMs, refusedRetryMaxMs: 8_000 },
    (kind, names) => asked.push([clock.monotonicMs(), kind, names.join()]),
  )
  return { clock, refused, asked }
}
const of = (kind: ResourceKind, ...names: string[]): { kind: ResourceKind; name: string }[] =>
  names.map((name) => ({ kind, name }))

test('asked for at doubling waits up to the maximum, half of each by chance, for as long as it is refused', async () => {
  const { clock, refused, asked } = made()
  refused.update(of('cluster', 'a', 'b'))
  await clock.advance(20_000)
  assert.deepEqual(
    asked.map(([at]) => at),
    [500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500],
  )
  assert.deepEqual(asked[0], [500, 'cluster', 'a,b'])
  const late = made(1)
  late.refused.update(of('cluster', 'a'))
  await late.clock.advance(8_000)
  assert.deepEqual(
    late.asked.map(([at]) => at),
    [1_000, 3_000, 7_000],
  )
})
test('the same refusal again changes no wait, another one begins anew, one less goes on', async () => {
  const { clock, refused, asked } = made()
  refused.update(of('route', 'a'))
  await clock.advance(4_000)
  refused.update(of('route', 'a'))
  assert.equal(asked.length, 3)
  refused.update(of('route', 'a', 'b'))
  await clock.advance(500)
  assert.deepEqual(asked.at(-1), [4_500, 'route', 'a,b'])
  refused.update(of('route', 'b'))
  await clock.advance(1_000)
  assert.deepEqual(asked.at(-1), [5_500, 'route', 'b'])
  refused.update([])
  await clock.advance(60_000)
  assert.equal(asked.length, 5)
  assert.equal(clock.pendingTimers, 0)
})
test('kinds wait on their own; without a stream nobody asks, and with the next one the waits go on where they were', async () => {
  const { clock, refused, asked } = made()
  refused.update([...of('route', 'a'), ...of('cluster', 'a')])
  await clock.advance(1_500)
  assert.equal(asked.length, 4)
  refused.pause()
  await clock.advance(60_000)
  assert.equal(asked.length, 4)
  refused.update([...of('route', 'a'), ...of('cluster', 'a')])
  await clock.advance(1_999)
  assert.equal(asked.length, 4)
  await clock.advance(1)
  assert.equal(asked.length, 6)
})
test('0: never', async () => {
  const { clock, refused, asked } = made(0, 0)
  refused.update(of('route', 'a'))
  await clock.advance(60_000)
  assert.deepEqual(asked, [])
})
