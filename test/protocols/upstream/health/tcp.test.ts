/** A host that can be connected to, and says what is expected. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { TcpAsk } from '../../../../model/http/health-check.ts'
import { Harness, ORIGIN, type Origin } from '../../http/harness.ts'
import { checkedCluster, checkOf } from './rig.ts'

const PING: TcpAsk = { kind: 'tcp', send: Buffer.from('PING'), receive: [Buffer.from('PO'), Buffer.from('NG')] }
const CONNECT: TcpAsk = { kind: 'tcp', send: new Uint8Array(), receive: [] }

async function rig(asks: TcpAsk, more: { reusesConnection?: boolean } = {}): Promise<{ h: Harness; origin: Origin }> {
  const h = new Harness([checkedCluster(checkOf({ asks, ...more }))])
  const origin = await h.origin(ORIGIN)
  await h.clock.advance(0)
  return { h, origin }
}
const total = (h: Harness, result: string): number => h.metrics.total('mesh_upstream_health_checks_total', { result })

test('a connection is enough where nothing is expected', async () => {
  const { h, origin } = await rig(CONNECT)
  await using _h = h
  assert.equal(total(h, 'passed'), 1)
  assert.ok(origin.last.closed || origin.last.ended)
})
test('nobody there is no answer', async () => {
  await using h = new Harness([checkedCluster(checkOf({ asks: CONNECT }))])
  await h.clock.advance(0)
  assert.equal(total(h, 'network'), 1)
})
test('what comes in pieces, with more between, is what was expected', async () => {
  const { h, origin } = await rig(PING)
  await using _h = h
  assert.equal(await origin.last.take(), 'PING')
  await origin.answer('+P')
  await origin.answer('O-')
  assert.equal(total(h, 'passed'), 0)
  await origin.answer('NG\n')
  assert.equal(total(h, 'passed'), 1)
  await h.clock.advance(40_000)
  assert.equal(await origin.last.take(), 'PING')
  assert.equal(origin.connections.length, 1)
})
test('the connection ends with the answer where it is not to be used again', async () => {
  const { h, origin } = await rig(PING, { reusesConnection: false })
  await using _h = h
  await origin.answer('PONG')
  await h.clock.advance(40_000)
  assert.equal(origin.connections.length, 2)
})
test('what comes unasked is no answer to the next question', async () => {
  const { h, origin } = await rig(PING)
  await using _h = h
  await origin.answer('PONG')
  await origin.answer('PONG')
  await h.clock.advance(40_000)
  assert.equal(origin.connections.length, 2)
  assert.equal(total(h, 'passed'), 1)
})
test('a server that ends its side between two questions is asked over another connection', async () => {
  const { h, origin } = await rig(PING)
  await using _h = h
  for (const times of [1, 2, 3]) {
    await origin.answer('PONG')
    origin.last.stream.end()
    await h.clock.advance(40_000)
    assert.equal(origin.connections.length, times + 1)
  }
  assert.deepEqual([total(h, 'passed'), total(h, 'network')], [3, 0])
})
test('a close, and silence, are no answers', async () => {
  const { h, origin } = await rig(PING)
  await using _h = h
  origin.last.stream.end()
  await h.clock.advance(0)
  assert.equal(total(h, 'network'), 1)
  await h.clock.advance(60_000)
  await origin.answer('NGPO')
  await h.clock.advance(1_000)
  assert.equal(total(h, 'network'), 2)
  assert.ok(origin.last.closed || origin.last.ended)
})
