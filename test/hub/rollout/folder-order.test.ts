/** Two hubs on one registry, each with a folder of its own, one of which lags behind. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { silentLog } from '../../../core/log.ts'
import { Metrics } from '../../../core/metrics.ts'
import { parseHubConfig } from '../../../hub/config.ts'
import { openRegistry } from '../../../hub/registry/registry.ts'
import { FolderPolicy } from '../../../hub/rollout/folder-policy.ts'
import { undoRollout } from '../../../hub/rollout/operate.ts'
import { LiveRevisions } from '../../../hub/source/live-revisions.ts'
import { SimClock } from '../../helpers/sim-clock.ts'

const ACTOR = { actor: 'operator:test', address: '', nowMs: 0 }

/** Revisions of no files: what stands in them is nobody's matter here. Everything goes to all at once. */
async function openSite() {
  const [clock, registry] = [new SimClock(), openRegistry(':memory:')]
  const { rollout: policy } = parseHubConfig('resources: /nowhere\nrollout: {default: all, soakSec: 0}\n')
  // The first one is never of no files.
  await registry.rollouts.setFolder({ revision: 'none', problems: [], held: '', seenMs: 0 })
  const start = (id: string) => {
    const metrics = new Metrics()
    const shared = { registry, clock, metrics, log: silentLog, holder: id, decided: async () => {} }
    const hub = { id, host: `host-${id}` }
    const folder = new FolderPolicy({ ...shared, hub, live: new LiveRevisions(shared), folder: '/nowhere', policy })
    return {
      isBehind: () => metrics.total('mesh_hub_folder_behind') === 1,
      async has(revision: string): Promise<void> {
        folder.found({ kind: 'revision', revision: { id: revision, files: [] } })
        await folder.settled
      },
    }
  }
  return {
    registry,
    start,
    inForce: async () => (await registry.rollouts.assignments())[0]?.revision,
    soaked: async () => {
      const active = await registry.rollouts.active()
      if (!active) return
      await registry.rollouts.update({ ...active, state: 'completed' })
      await registry.rollouts.setAssignments([{ scope: { kind: 'all' }, revision: active.to }])
    },
    newest: async () => (await registry.rollouts.folder()).revision,
    [Symbol.asyncDispose]: () => registry[Symbol.asyncDispose](),
  }
}

test('a hub that comes late with an older folder is told, and changes nothing, as often as it starts', async () => {
  await using site = await openSite()
  const a = site.start('a')
  for (const revision of ['one1', 'two2']) {
    await a.has(revision)
    await site.soaked()
  }
  for (const id of ['b', 'b', 'c']) {
    const late = site.start(id)
    await late.has('one1')
    assert.ok(late.isBehind())
    assert.deepEqual([await site.newest(), await site.inForce()], ['two2', 'two2'])
  }
  assert.match((await site.registry.rollouts.folders()).get('b')!.behind, /still has the revision one1/)
  const late = site.start('b')
  await late.has('between')
  assert.ok(late.isBehind(), 'what a copy has half-way is no change')
  await late.has('two2')
  assert.ok(!late.isBehind())
  await late.has('three3')
  assert.equal(await site.newest(), 'three3', 'its folder is as good as any, now that it has caught up')
})

test('a folder that is put back by hand is a change, while its hub runs and while it does not', async () => {
  await using site = await openSite()
  const a = site.start('a')
  for (const revision of ['one1', 'two2', 'one1']) {
    await a.has(revision)
    await site.soaked()
  }
  assert.equal(await site.inForce(), 'one1')
  const late = site.start('b')
  await late.has('two2')
  assert.ok(late.isBehind(), 'the other hub has not been put back yet')
  await a.has('two2')
  await site.soaked()
  const again = site.start('a')
  await again.has('one1')
  await site.soaked()
  assert.equal(await site.inForce(), 'one1')
})

test('a new hub may bring what nobody has had; what follows on the revision that is in force is a change', async () => {
  await using site = await openSite()
  const a = site.start('a')
  await a.has('one1')
  await site.soaked()
  const b = site.start('b')
  await b.has('two2')
  await site.soaked()
  assert.equal(await site.inForce(), 'two2')
  await a.has('two2')
  await undoRollout(site.registry, ACTOR)
  assert.equal(await site.inForce(), 'one1')
  // This one has not heard of the second yet.
  const c = site.start('c')
  await c.has('one1')
  await c.has('three3')
  await site.soaked()
  assert.equal(await site.inForce(), 'three3')
})

test('however copies of one history reach the folders of three hubs: what is in force never goes back', async () => {
  const step = fc.record({ hub: fc.nat(2), by: fc.nat(2), restart: fc.boolean() })
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (script) => {
      await using site = await openSite()
      const hubs = ['a', 'b', 'c'].map((id) => ({ id, at: 0, policy: site.start(id) }))
      // All begin with the same: what a new hub brings that nobody has had would be a change.
      for (const { policy } of hubs) {
        await policy.has('rev0')
        await site.soaked()
      }
      let [newest, published] = [0, 0]
      for (const { hub, by, restart } of script) {
        const one = hubs[hub]!
        if (restart) one.policy = site.start(one.id)
        published = Math.max(published, one.at + by)
        one.at += by
        await one.policy.has(`rev${one.at}`)
        await site.soaked()
        const now = Number((await site.newest())!.replace(/\D/g, ''))
        assert.ok(now >= newest, `${now} after ${newest}`)
        newest = now
      }
      // Once all have what was published last, that is in force.
      for (const { policy } of [...hubs, ...hubs]) {
        await policy.has(`rev${published}`)
        await site.soaked()
      }
      assert.equal(await site.inForce(), `rev${published}`)
    }),
    { numRuns: 60 },
  )
})
