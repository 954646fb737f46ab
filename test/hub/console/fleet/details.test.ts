import { test } from 'node:test'
import assert from 'node:assert/strict'
import { FleetDetails } from '../../../../hub/console/fleet/details.ts'
import { KEY_HOLDER } from '../../../../hub/registry/enrollments.ts'
import { openRegistry } from '../../../../hub/registry/registry.ts'
import { SimClock } from '../../../helpers/sim-clock.ts'

async function rig() {
  const registry = openRegistry(':memory:')
  const clock = new SimClock()
  for (const name of ['gw-1', 'gw-2']) {
    const of = { namespace: 'edge', serviceAccount: 'gw', jti: null, labels: {}, address: '10.0.0.1' }
    await registry.enrollments.enroll({ ...of, name, keyId: name }, 1)
    await registry.claimName({
      name,
      nodeId: `sidecar~10.0.0.1~${name}.edge~edge.svc`,
      spiffeUri: 'spiffe://demo.mesh/ns/edge/sa/gw',
      ip: '10.0.0.1',
      holder: KEY_HOLDER + name,
      jti: undefined,
      nowMs: 1,
    })
  }
  return {
    clock,
    details: new FleetDetails(registry, clock),
    [Symbol.asyncDispose]: () => registry[Symbol.asyncDispose](),
  }
}

test('questions are answered one after the other, the same question once, and too many that wait are sent away', async () => {
  await using r = await rig()
  await r.details.read()
  const same = [r.details.select({ where: 'name=gw-1' }), r.details.select({ where: 'name=gw-1' })]
  const [one, two] = await Promise.all(same)
  assert.deepEqual(
    one!.rows.map(({ name }) => name),
    ['gw-1'],
  )
  assert.equal(one!.rows, two!.rows)
  const many = Array.from({ length: 40 }, (_, i) => r.details.select({ where: `rtt>${i}` }))
  const outcomes = Promise.allSettled(many)
  await r.clock.advance(1_000)
  const refused = (await outcomes).filter(({ status }) => status === 'rejected')
  assert.equal(refused.length, 8)
  assert.match(String((refused[0] as PromiseRejectedResult).reason), /32 questions about the fleet wait/)
  assert.deepEqual((await r.details.select({ where: 'rtt>99' })).rows, [], 'places are given back')
})

test('a question of very many comparisons is refused, whoever asks it', async () => {
  await using r = await rig()
  const where = Array.from({ length: 101 }, () => 'rtt=1').join(' or ')
  await assert.rejects(r.details.select({ where }), /more than 100 comparisons/)
  assert.equal((await r.details.select({ where: where.slice(0, where.lastIndexOf(' or ')) })).rows.length, 0)
})
