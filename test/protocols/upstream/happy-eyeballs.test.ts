import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { Address } from '../../../core/os/network.ts'
import { dialFirst, sortByFamily } from '../../../protocols/upstream/happy-eyeballs.ts'
import { SimClock, settle } from '../../helpers/sim-clock.ts'
import { SimNetwork } from '../../helpers/sim-network.ts'
import { cluster, endpoint, GET, Harness, OK, ORIGIN } from '../http/harness.ts'

const at = (host: string, port = 80): Address => ({ host, port })
const [V4, V4_TWO, V6, V6_TWO] = [at('10.0.0.1'), at('10.0.0.2'), at('2001:db8::1'), at('2001:db8::2')]

test('families by turns, beginning with that of the first address', () => {
  assert.deepEqual(sortByFamily([V4, V4_TWO, V6, V6_TWO]), [V4, V6, V4_TWO, V6_TWO])
  assert.deepEqual(sortByFamily([V6, V4, V4_TWO]), [V6, V4, V4_TWO])
  assert.deepEqual(sortByFamily([V4, V4_TWO]), [V4, V4_TWO])
})
test('happy_eyeballs_config: another family first, and several of it before each one of the other', () => {
  const all = [V4, V4_TWO, V6, V6_TWO]
  assert.deepEqual(sortByFamily(all, { first: 6, count: 1 }), [V6, V4, V6_TWO, V4_TWO])
  assert.deepEqual(sortByFamily(all, { count: 2 }), [V4, V4_TWO, V6, V6_TWO])
  assert.deepEqual(sortByFamily([V4, V4_TWO], { first: 6, count: 3 }), [V4, V4_TWO])
})
test('a cluster says which address of an endpoint is tried first', async () => {
  const of = endpoint(V4.host, V4.port, { others: [{ address: V6.host, port: V6.port }] })
  await using h = new Harness([cluster([of], { happyEyeballs: { first: 6, count: 1 } })])
  const [four, six] = [await h.origin(V4), await h.origin(V6)]
  await h.connect().send(GET)
  assert.deepEqual([four.connections.length, six.connections.length], [0, 1])
})

async function race(addresses: readonly Address[], p: { refuse?: Address[]; hole?: Address[] } = {}) {
  const [clock, network, stop] = [new SimClock(), new SimNetwork(), new AbortController()]
  const accepted: string[] = []
  for (const one of addresses) await network.listen(one, ({ local }) => accepted.push(local.host))
  for (const one of p.refuse ?? []) network.refuse(one)
  for (const one of p.hole ?? []) network.blackhole(one)
  const dialed = dialFirst({ network, clock }, addresses, stop.signal, {})
  dialed.catch(() => undefined)
  await settle()
  return { clock, network, stop, accepted, dialed }
}

test('the first address is tried alone for 300 ms', async () => {
  const { clock, accepted, dialed, network } = await race([V6, V4], { hole: [V6] })
  await clock.advance(299)
  assert.equal(network.dials, 1)
  await clock.advance(1)
  assert.equal((await dialed).remote.host, V4.host)
  assert.deepEqual(accepted, [V4.host])
})
test('one that refuses makes way for the next at once', async () => {
  const { dialed } = await race([V4, V4_TWO, V6], { refuse: [V4, V6] })
  assert.equal((await dialed).remote.host, V4_TWO.host)
})
test('where all refuse, the last refusal is told; and a stop ends every attempt', async () => {
  const { dialed } = await race([V4, V6], { refuse: [V4, V6] })
  await assert.rejects(dialed, { code: 'ECONNREFUSED' })
  const late = await race([V4, V6], { hole: [V4, V6] })
  await late.clock.advance(300)
  assert.equal(late.network.dials, 2)
  late.stop.abort(new Error('too late'))
  await assert.rejects(late.dialed, /too late/)
})
test('of five hundred addresses sixteen are tried', async () => {
  const many = Array.from({ length: 500 }, (_, i) => at(`10.1.${i >> 8}.${i & 255}`))
  const { dialed, network } = await race(many, { refuse: many })
  await assert.rejects(dialed, { code: 'ECONNREFUSED' })
  assert.equal(network.dials, 16)
})
test('attempts that come too late leave no connection behind', async () => {
  const { clock, dialed, network, accepted } = await race([V4, V6], { hole: [V4] })
  await clock.advance(300)
  await dialed
  network.restore(V4)
  await clock.advance(10_000)
  assert.deepEqual(accepted, [V6.host])
})

test('an endpoint with additional_addresses is reached where its first address is not', async () => {
  const others = [{ address: ORIGIN.host, port: ORIGIN.port }]
  await using h = new Harness([cluster([endpoint('2001:db8::9', 80, { others })])])
  const origin = await h.origin()
  const client = h.connect()
  await client.send(GET)
  await origin.answer(OK)
  assert.match(await client.take(), /^HTTP\/1\.1 200/)
})
