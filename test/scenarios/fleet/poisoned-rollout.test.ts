/** A thousand devices and a revision that is poison: it stops by itself, and what was good is there again. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { abortRollout, pauseRollout, resumeRollout, startRollout, undoRollout } from '../../../hub/rollout/operate.ts'
import { makeScope, EVERYBODY } from '../../../hub/rollout/scope.ts'
import { startFleet, type FleetRig, type SimDevice } from '../../hub/rollout/fleet-rig.ts'
import { makeCluster } from '../../hub/source/resource-files.ts'

const MINUTE = 60_000
const SETTINGS = 'rollout: {soakSec: 120, awaySec: 60}\n'
const good = { 'mesh.yaml': makeCluster('a') }
const withNew = ({ devices }: FleetRig, name = 'poison'): SimDevice[] => devices.filter(({ has }) => has.has(name))
const lastOf = async ({ registry }: FleetRig) => (await registry.rollouts.list(1))[0]

/** Another one than that which brought what stood in the folder first. */
async function isCompleted({ registry }: FleetRig): Promise<boolean> {
  const [last, before] = await registry.rollouts.list(2)
  return before !== undefined && last?.state === 'completed'
}

async function begin(t: Parameters<typeof startFleet>[0], devices = 1_000, settings = SETTINGS): Promise<FleetRig> {
  const rig = await startFleet(t, { devices, settings, files: good, labels: (i) => ({ site: `s${i % 10}` }) })
  assert.ok(rig.devices.every(({ has }) => has.has('a')))
  return rig
}
const poison = (rig: FleetRig): void =>
  rig.write('mesh.yaml', makeCluster('a') + makeCluster('poison').replace('resources:\n', ''))
const refuse: SimDevice['react'] = (response) =>
  response.resources.some(({ name }) => name === 'poison') ? 'Cluster "poison": it is poison' : undefined

test('a revision that devices refuse is stopped within the first wave, and undone within 30 s', async (t) => {
  const rig = await begin(t)
  let offered = 0
  for (const device of rig.devices)
    device.react = (response) => {
      const problem = refuse(response)
      if (problem !== undefined) offered++
      return problem
    }
  poison(rig)
  await rig.passes(10_000, () => offered > 0)
  const offeredMs = rig.clock.monotonicMs()
  await rig.passes(30_000, async () => (await lastOf(rig))?.state === 'halted')
  await rig.passes(1_000)
  assert.ok(rig.clock.monotonicMs() - offeredMs <= 30_000)
  assert.equal(offered, 10, 'one percent, and nobody else')
  const rollout = await lastOf(rig)
  assert.match(rollout!.reason, /^rejected>0: 10 of 10 device\(s\)/)
  const devices = await rig.registry.fleet.states()
  const before = rollout!.before[0]!.revision
  await rig.passes(10_000, async () => (await rig.registry.fleet.states()).every((d) => d.inForce === before))
  assert.ok(
    devices.length === 1_000 &&
      (await rig.registry.fleet.states()).every((d) => d.inForce === before && d.refused === null),
  )
  const audit = await rig.registry.audit.list({ subject: rollout!.id, most: 10 })
  assert.deepEqual(
    audit.map(({ event, actor }) => `${event} ${actor}`),
    ['rollout.started hub', 'rollout.halted hub'],
  )
  assert.match(audit[1]!.detail, /wave 1 of 4: rejected>0: 10 of 10/)
  await rig.passes(10 * MINUTE)
  assert.equal((await lastOf(rig))!.id, rollout!.id, 'the folder still holds it, and nobody tries it again')
  assert.equal(offered, 10)
})

test('a revision over which devices lose the hub is stopped', async (t) => {
  const rig = await begin(t, 200)
  for (const device of rig.devices)
    device.react = (response) => {
      const isPoison = response.resources.some(({ name }) => name === 'poison')
      for (const { name, version } of isPoison ? response.resources : []) device.has.set(name, version)
      if (isPoison) device.leave()
      return undefined
    }
  poison(rig)
  await rig.passes(3 * MINUTE, async () => (await lastOf(rig))?.state === 'halted')
  assert.match((await lastOf(rig))!.reason, /^lost>2%: 2 of 2/)
  // They are sent what was good as soon as they are back.
  const lost = withNew(rig)
  assert.equal(lost.length, 2)
  for (const device of lost) await device.connect()
  assert.deepEqual(
    lost.map(({ sent }) => sent),
    lost.map(() => (rig.devices.find((d) => !lost.includes(d)) as SimDevice).sent),
  )
})

test('good devices take it wave after wave; one that is away takes it when it comes', async (t) => {
  const rig = await begin(t, 100)
  const [away] = rig.devices
  away!.leave()
  poison(rig)
  const counts = new Set<number>()
  await rig.passes(12 * MINUTE, async () => {
    counts.add(withNew(rig).length)
    return await isCompleted(rig)
  })
  assert.ok(counts.size <= 5 && Math.max(...counts) === 99)
  await away!.connect()
  assert.ok(away!.has.has('poison'))
})

test('a restart in the middle goes on where it was, whatever the folder says by then', async (t) => {
  const rig = await begin(t, 100)
  poison(rig)
  await rig.passes(30_000, () => withNew(rig).length === 1)
  const before = await lastOf(rig)
  const first = withNew(rig)[0]!.name
  rig.write('mesh.yaml', '{{{')
  await rig.restart()
  assert.deepEqual(
    withNew(rig).map(({ name }) => name),
    [first],
  )
  await rig.passes(20 * MINUTE, () => isCompleted(rig))
  assert.equal((await lastOf(rig))!.id, before!.id)
  assert.equal(withNew(rig).length, 100)
  assert.match((await rig.registry.rollouts.folder()).problems.join(), /mesh\.yaml/)
})

test('an operator pauses, resumes, aborts and undoes; labels get a revision of their own', async (t) => {
  const rig = await begin(t, 40, 'rollout: {default: all, soakSec: 0}\n')
  const first = (await rig.registry.revisions.list())[0]!.id
  poison(rig)
  await rig.passes(10_000, () => isCompleted(rig))
  const second = (await lastOf(rig))!.to
  assert.equal(withNew(rig).length, 40)
  await undoRollout(rig.registry, rig.operator('by hand'))
  await rig.passes(10_000, () => withNew(rig).length === 0)
  const plan = { to: second, waves: '50%,100%', halt: 'never', soakMs: 60_000, awayMs: 60_000 }
  const labelled = { ...plan, scope: makeScope({ labels: { site: 's1' } }) }
  await startRollout(rig.registry, labelled, rig.operator())
  await rig.passes(10_000, () => withNew(rig).length === 2)
  await assert.rejects(startRollout(rig.registry, labelled, rig.operator()), /is running/)
  await pauseRollout(rig.registry, rig.operator('wait'))
  await rig.passes(5 * MINUTE)
  assert.equal(withNew(rig).length, 2)
  await resumeRollout(rig.registry, rig.operator())
  await rig.passes(5 * MINUTE, () => isCompleted(rig))
  assert.equal(withNew(rig).length, 4)
  await startRollout(rig.registry, { ...plan, scope: EVERYBODY }, rig.operator())
  await rig.passes(3_000)
  await abortRollout(rig.registry, rig.operator('no'))
  await rig.passes(10_000, () => withNew(rig).length === 4)
  await startRollout(rig.registry, { ...plan, to: first.slice(0, 6), scope: EVERYBODY, now: true }, rig.operator('now'))
  await rig.passes(10_000, () => withNew(rig).length === 0)
  const events = (await rig.registry.audit.list({ most: 100 })).map(({ event }) => event)
  for (const event of ['paused', 'resumed', 'aborted', 'undone', 'wave', 'completed'])
    assert.ok((events as string[]).includes(`rollout.${event}`), event)
})

test('a file that is removed with most of what devices have waits for an operator', async (t) => {
  const rig = await begin(t, 46)
  rig.write('other.yaml', makeCluster('b'))
  await rig.passes(20 * MINUTE, () => isCompleted(rig))
  const revision = (await lastOf(rig))!.to
  rig.write('mesh.yaml', makeCluster('b'))
  rig.write('other.yaml', '{{{')
  await rig.passes(10_000, async () => (await rig.registry.rollouts.folder()).problems.length > 0)
  assert.ok(rig.devices.every(({ has }) => has.has('a')))
  const fs = await import('node:fs')
  fs.rmSync(`${rig.folder}/other.yaml`)
  fs.rmSync(`${rig.folder}/mesh.yaml`)
  await rig.passes(10_000, async () => (await rig.registry.rollouts.folder()).held !== '')
  assert.match((await rig.registry.rollouts.folder()).held, /takes away 2 of 2 Cluster that are for all/)
  await rig.passes(5 * MINUTE)
  assert.equal((await lastOf(rig))!.to, revision)
  assert.ok(rig.devices.every(({ has }) => has.has('a') && has.has('b')))
})
