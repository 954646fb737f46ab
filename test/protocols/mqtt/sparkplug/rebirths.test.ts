import { test } from 'node:test'
import assert from 'node:assert/strict'
import { Rebirths } from '../../../../protocols/mqtt/sparkplug/rebirths.ts'
import { SimClock } from '../../../helpers/sim-clock.ts'

function rig() {
  const clock = new SimClock()
  const sent: string[] = []
  const startMs = clock.monotonicMs()
  const rebirths = new Rebirths({
    clock,
    send: (node, reason) => sent.push(`${clock.monotonicMs() - startMs} ${node} ${reason}`),
  })
  return { clock, sent, rebirths }
}

test('one node is asked at once, and again only after its interval; a request that comes too early waits', async () => {
  const { clock, sent, rebirths } = rig()
  rebirths.want('a', 'gap', 60_000)
  await clock.advance(1_000)
  rebirths.want('a', 'sequence', 60_000)
  rebirths.want('a', 'host', 60_000)
  await clock.advance(58_000)
  assert.deepEqual(sent, ['0 a gap'])
  await clock.advance(120_000)
  assert.deepEqual(sent, ['0 a gap', '60000 a sequence'])
})
test('ten nodes a second, however many', async () => {
  const { clock, sent, rebirths } = rig()
  for (let i = 0; i < 25; i++) rebirths.want(`n${i}`, 'host', 60_000)
  await clock.advance(950)
  assert.equal(sent.length, 10)
  await clock.advance(10_000)
  assert.equal(sent.length, 25)
})
test('one that may not be asked yet does not hold up another', async () => {
  const { clock, sent, rebirths } = rig()
  rebirths.want('a', 'gap', 60_000)
  await clock.advance(1_000)
  rebirths.want('a', 'gap', 60_000)
  rebirths.want('b', 'gap', 60_000)
  await clock.advance(1_000)
  assert.deepEqual(sent, ['0 a gap', '1000 b gap'])
})
test('no more wait than may, and nobody is asked after the end', async () => {
  const { clock, sent, rebirths } = rig()
  for (let i = 0; i < 1_500; i++) rebirths.want(`n${i}`, 'gap', 1_000)
  assert.equal(rebirths.leftOut, 500)
  rebirths.stop()
  await clock.advance(1_000_000)
  assert.deepEqual(sent, [])
})
