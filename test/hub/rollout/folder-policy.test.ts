import { test } from 'node:test'
import assert from 'node:assert/strict'
import { silentLog } from '../../../core/log.ts'
import { Metrics } from '../../../core/metrics.ts'
import { parseHubConfig } from '../../../hub/config.ts'
import { openRegistry } from '../../../hub/registry/registry.ts'
import { FolderPolicy } from '../../../hub/rollout/folder-policy.ts'
import { LiveRevisions } from '../../../hub/source/live-revisions.ts'
import type { FolderFound } from '../../../hub/source/folder.ts'
import { SimClock } from '../../helpers/sim-clock.ts'
import { startRollout } from '../../../hub/rollout/operate.ts'
import { EVERYBODY, makeScope } from '../../../hub/rollout/scope.ts'
import { makeCluster } from '../source/resource-files.ts'
import { startFleet, type FleetRig } from './fleet-rig.ts'

const two = makeCluster('a') + makeCluster('b').slice('resources:\n'.length)
const lastOf = async ({ registry }: FleetRig) => (await registry.rollouts.list(1))[0]!
const begin = (t: Parameters<typeof startFleet>[0], devices: number, settings = ''): Promise<FleetRig> =>
  startFleet(t, { devices, settings, files: { 'a.yaml': makeCluster('a') } })
const has = ({ devices }: FleetRig, name: string): number => devices.filter((d) => d.has.has(name)).length

test('with fewer than ten devices a change goes to all at once, and is watched all the same', async (t) => {
  const rig = await begin(t, 9)
  rig.write('a.yaml', two)
  await rig.passes(5_000, () => has(rig, 'b') === 9)
  const { waves, halt, state, by } = await lastOf(rig)
  assert.deepEqual([waves, halt, state, by], ['100%', 'rejected>0, errors>2x', 'running', 'hub'])
})

test('with more it goes in waves, as hub.yaml says; `all` means all', async (t) => {
  const rig = await begin(t, 10)
  rig.write('a.yaml', two)
  await rig.passes(5_000, () => has(rig, 'b') > 0)
  assert.deepEqual([(await lastOf(rig)).waves, has(rig, 'b')], ['1%,10%,50%,100%', 1])
  const other = await begin(t, 10, 'rollout: {default: all}\n')
  other.write('a.yaml', two)
  await other.passes(5_000, () => has(other, 'b') === 10)
})

test('the next change takes the place of the one before; the folder as it was ends it', async (t) => {
  const rig = await begin(t, 9)
  rig.write('a.yaml', two)
  await rig.passes(5_000, () => has(rig, 'b') === 9)
  const first = await lastOf(rig)
  rig.write('c.yaml', makeCluster('c'))
  await rig.passes(5_000, () => has(rig, 'c') === 9)
  assert.equal((await rig.registry.rollouts.get(first.id))?.state, 'superseded')
  const fs = await import('node:fs')
  fs.rmSync(`${rig.folder}/c.yaml`)
  rig.write('a.yaml', makeCluster('a'))
  await rig.passes(10_000, () => has(rig, 'b') + has(rig, 'c') === 0)
  const last = await lastOf(rig)
  assert.deepEqual([last.state, last.reason], ['aborted', 'the folder is as it was before'])
  assert.equal((await rig.registry.rollouts.assignments())[0]!.revision, last.before[0]!.revision)
})

test('a change while an operator rolls out waits, and is told', async (t) => {
  const rig = await begin(t, 12)
  const revision = (await rig.registry.revisions.list())[0]!.id
  const plan = { to: revision, waves: '100%', halt: 'never', soakMs: 3_600_000, awayMs: 60_000 }
  await startRollout(rig.registry, { ...plan, scope: makeScope({ device: 'gw-1' }) }, rig.operator())
  rig.write('a.yaml', two)
  await rig.passes(5_000, async () => (await rig.registry.rollouts.folder()).held !== '')
  assert.match((await rig.registry.rollouts.folder()).held, /of an operator is under way/)
  assert.equal(has(rig, 'b'), 0)
  assert.equal((await rig.registry.revisions.list()).length, 2, 'it is a revision all the same')
})

test('a mistake is counted once, changes nothing, and its correction is taken', async (t) => {
  const rig = await begin(t, 3)
  rig.write('a.yaml', makeCluster('a', 'soon'))
  await rig.passes(5_000, () => rig.metrics.total('mesh_hub_folder_invalid') === 1)
  await rig.passes(20_000)
  assert.equal(rig.metrics.total('mesh_hub_resource_problems_total'), 1)
  assert.equal(has(rig, 'a'), 3)
  assert.match((await rig.registry.rollouts.folder()).problems.join(), /connect_timeout/)
  rig.write('a.yaml', two)
  await rig.passes(5_000, () => has(rig, 'b') === 3)
  assert.equal(rig.metrics.total('mesh_hub_folder_invalid'), 0)
  assert.deepEqual((await rig.registry.rollouts.folder()).problems, [])
})

test('what an operator went back from stays back, over restarts, until the folder changes', async (t) => {
  const rig = await begin(t, 3, 'rollout: {soakSec: 0}\n')
  const revision = (await rig.registry.revisions.list())[0]!.id
  rig.write('a.yaml', two)
  await rig.passes(
    10_000,
    async () => (await rig.registry.rollouts.list(5)).filter((r) => r.state === 'completed').length === 2,
  )
  const plan = { to: revision, waves: '100%', halt: 'never', soakMs: 0, awayMs: 60_000, now: true }
  await startRollout(rig.registry, { ...plan, scope: EVERYBODY }, rig.operator('back'))
  await rig.restart()
  await rig.passes(10_000)
  assert.equal(has(rig, 'b'), 0)
  rig.write('c.yaml', makeCluster('c'))
  await rig.passes(10_000, () => has(rig, 'c') === 3)
})

test('what could not be taken is not tried again once something newer stands in the folder', async () => {
  await using registry = openRegistry(':memory:')
  const [clock, metrics] = [new SimClock(), new Metrics()]
  const shared = { registry, clock, metrics, log: silentLog, holder: 'h', decided: async () => {} }
  const { rollout } = parseHubConfig('resources: /nowhere\n')
  const live = new LiveRevisions(shared)
  using policy = new FolderPolicy({ ...shared, live, folder: '/nowhere', policy: rollout })
  const found = (id: string): FolderFound => ({ kind: 'revision', revision: { id, files: [] } })
  const folder = async () => (await registry.rollouts.folder()).revision
  await registry.rollouts.setFolder({ revision: 'aaaa', problems: [], held: '', seenMs: 0 })
  const lease = registry.rollouts.lease.bind(registry.rollouts)
  let refusals = 1
  registry.rollouts.lease = async (...p) => refusals-- <= 0 && lease(...p)
  policy.found(found('bbbb'))
  policy.found(found('cccc'))
  await policy.settled
  assert.equal(await folder(), 'cccc')
  await clock.advance(60_000)
  await policy.settled
  assert.equal(await folder(), 'cccc')
  // The newest is.
  refusals = 1
  policy.found(found('dddd'))
  await policy.settled
  assert.equal(await folder(), 'cccc')
  await clock.advance(60_000)
  await policy.settled
  assert.equal(await folder(), 'dddd')
})

test('fifty revisions are kept, and those that a device still has', async (t) => {
  const rig = await begin(t, 2, 'rollout: {default: all, soakSec: 0}\n')
  const ids = async (): Promise<readonly string[]> => (await rig.registry.revisions.list()).map(({ id }) => id)
  const [first] = await ids()
  const change = async (i: number): Promise<string> => {
    const before = await rig.registry.rollouts.folder()
    rig.write('b.yaml', makeCluster(`b${i}`))
    await rig.passes(10_000, async () => {
      const { revision } = await rig.registry.rollouts.folder()
      return revision !== before.revision && (await rig.registry.rollouts.assignments())[0]!.revision === revision
    })
    return (await rig.registry.rollouts.folder()).revision!
  }
  const second = await change(0)
  await rig.passes(2_000)
  rig.devices[0]!.leave()
  await rig.passes(2_000)
  for (let i = 1; i <= 53; i++) await change(i)
  const kept = await ids()
  assert.equal(kept.length, 51)
  assert.ok(kept.includes(second), 'the device that is away has it')
  assert.ok(!kept.includes(first!))
  assert.deepEqual((await rig.registry.revisions.load(second)).files.length, 2, 'whole')
})
