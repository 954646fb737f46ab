import { test } from 'node:test'
import assert from 'node:assert/strict'
import { silentLog } from '../../../core/log.ts'
import { Metrics } from '../../../core/metrics.ts'
import { forgetDevice, revokeDevice } from '../../../hub/enrollment/operator.ts'
import { RolloutDriver } from '../../../hub/rollout/driver.ts'
import { pauseRollout, startRollout } from '../../../hub/rollout/operate.ts'
import { EVERYBODY } from '../../../hub/rollout/scope.ts'
import { REPORT } from '../../helpers/control-plane/report.ts'
import { startFleet, type FleetRig } from './fleet-rig.ts'
import { makeCluster } from '../source/resource-files.ts'

const MINUTE = 60_000
const PLAN = { scope: EVERYBODY, waves: '50%,100%', halt: 'rejected>0', soakMs: 2 * MINUTE, awayMs: MINUTE }

/** Two revisions, the first of them in force. */
async function begin(t: Parameters<typeof startFleet>[0]): Promise<FleetRig & { readonly second: string }> {
  const files = { 'a.yaml': makeCluster('a') }
  const rig = await startFleet(t, { devices: 20, files, settings: 'rollout: {default: all, soakSec: 0}\n' })
  const first = (await rig.registry.revisions.list())[0]!.id
  rig.write('b.yaml', makeCluster('b'))
  await rig.passes(
    20_000,
    async () => (await rig.registry.rollouts.list(2)).filter((r) => r.state === 'completed').length === 2,
  )
  const second = (await rig.registry.rollouts.assignments())[0]!.revision
  await startRollout(rig.registry, { ...PLAN, to: first, now: true }, rig.operator())
  await rig.passes(10_000, () => withB(rig) === 0)
  return { ...rig, second }
}
const withB = ({ devices }: FleetRig): number => devices.filter(({ has }) => has.has('b')).length
const stateOf = async ({ registry }: FleetRig): Promise<string> => (await registry.rollouts.list(1))[0]!.state

test('one process drives; where it ends, another goes on with the wave and its soak', async (t) => {
  const rig = await begin(t)
  await startRollout(rig.registry, { ...PLAN, to: rig.second }, rig.operator())
  await rig.passes(MINUTE, () => withB(rig) === 10)
  const parts = { registry: rig.registry, clock: rig.clock, log: silentLog, decided: async () => {} }
  const metrics = new Metrics()
  await using _other = new RolloutDriver({ ...parts, holder: 'other', metrics })
  await rig.passes(10_000)
  assert.match(metrics.text(), /mesh_hub_rollout_wave 0/, 'the lease is the first one’s')
  // As a crash leaves it: the row is there, and nobody renews it.
  await rig.registry.exclusively(async (tx) => {
    await tx.rollouts.release('rollout', 'nobody')
  })
  await rig.restart()
  await rig.passes(2 * MINUTE + 10_000, () => withB(rig) === 20)
  await rig.passes(5 * MINUTE, async () => (await stateOf(rig)) === 'completed')
})

test('what an operator says in the middle counts', async (t) => {
  const rig = await begin(t)
  await startRollout(rig.registry, { ...PLAN, to: rig.second }, rig.operator())
  await rig.passes(MINUTE, () => withB(rig) === 10)
  await pauseRollout(rig.registry, rig.operator())
  await rig.passes(10 * MINUTE)
  assert.deepEqual([await stateOf(rig), withB(rig)], ['paused', 10])
})

test('what a device said of the revision before does not halt the next one', async (t) => {
  const rig = await begin(t)
  const says = (problems: readonly { code: string; text: string }[]): Promise<void> =>
    rig.registry.reports.write(
      rig.devices.map(({ name }) => ({
        name,
        atMs: rig.clock.wallMs(),
        restarts: 0,
        expected: '',
        report: { ...REPORT, problems },
      })),
      [],
    )
  await says([])
  const plan = { ...PLAN, halt: 'rejected>0', to: rig.second }
  const first = await startRollout(rig.registry, plan, rig.operator())
  await rig.passes(5_000)
  await says([{ code: 'MESH_PORT_IN_USE', text: '127.0.0.1:80' }])
  await rig.passes(20_000, async () => (await stateOf(rig)) === 'halted')
  assert.match((await rig.registry.rollouts.get(first.id))!.reason, /^rejected>0: 10 of 10/)
  await says([])
  await startRollout(rig.registry, plan, rig.operator())
  await rig.passes(MINUTE)
  assert.equal(await stateOf(rig), 'running')
})

test('a device that an operator forgets or revokes in a wave is not lost; one that goes away by itself is', async (t) => {
  const rig = await begin(t)
  const plan = { ...PLAN, halt: 'rejected>0, lost>0', to: rig.second }
  const first = await startRollout(rig.registry, plan, rig.operator())
  await rig.passes(MINUTE, () => withB(rig) === 10)
  const [forgotten, revoked, away] = rig.devices.filter(({ has }) => has.has('b'))
  for (const device of [forgotten!, revoked!]) device.leave()
  await forgetDevice(rig.registry, forgotten!.name, rig.clock.wallMs())
  const { registry } = rig
  const at = { namespace: 'edge', serviceAccount: 'gw', jti: null, labels: {}, address: '' }
  await registry.exclusively(async (tx) => {
    const known = await tx.device(revoked!.name)
    assert.ok(known)
    await tx.enrollments.enroll({ ...at, name: revoked!.name, keyId: 'k' }, rig.clock.wallMs())
  })
  await revokeDevice(registry, revoked!.name, rig.clock.wallMs())
  const tracked = await registry.rollouts.tracked(first.id)
  assert.deepEqual([tracked.size, tracked.has(forgotten!.name)], [9, false])
  await rig.passes(MINUTE + 10_000)
  assert.equal(await stateOf(rig), 'running')
  away!.leave()
  await rig.passes(MINUTE + 10_000, async () => (await stateOf(rig)) === 'halted')
  assert.match((await registry.rollouts.get(first.id))!.reason, /^lost>0: 1 of 8 device/)
})
