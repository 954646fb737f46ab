import { test } from 'node:test'
import assert from 'node:assert/strict'
import { silentLog } from '../../../core/log.ts'
import { MeshError } from '../../../core/errors.ts'
import { Metrics } from '../../../core/metrics.ts'
import { openRegistry, type OpenRegistry } from '../../../hub/registry/registry.ts'
import { EVERYBODY } from '../../../hub/rollout/scope.ts'
import { LiveRevisions } from '../../../hub/source/live-revisions.ts'
import { CLUSTER, type ResourceSet } from '../../../hub/source/resources.ts'
import { RevisionSource } from '../../../hub/source/revision-source.ts'
import { SimClock } from '../../helpers/sim-clock.ts'
import { readFiles } from './resource-files.ts'

type Files = Parameters<typeof readFiles>[0]

async function rig(t: { after(fn: () => Promise<void>): void }) {
  const [registry, clock, metrics] = [openRegistry(':memory:'), new SimClock(), new Metrics()]
  const live = new LiveRevisions({ registry, clock, metrics })
  const parts = { registry, live, clock, log: silentLog, metrics }
  const opened: RevisionSource[] = []
  t.after(async () => {
    for (const source of opened) source[Symbol.dispose]()
    await registry[Symbol.asyncDispose]()
  })
  const add = async (id: string, files: Files): Promise<void> => {
    await registry.revisions.add({
      revision: { id, files: readFiles(files) },
      nowMs: 1,
      readSource: async ({ path }) => Buffer.from(path),
    })
  }
  const open = async (): Promise<RevisionSource> => {
    const source = await RevisionSource.open(parts)
    opened.push(source)
    return source
  }
  return { registry, clock, metrics, add, open }
}
const names = (set: ResourceSet): string[] => [...(set.types.get(CLUSTER)?.keys() ?? [])].sort()
const put = (registry: OpenRegistry, revision: string): Promise<void> =>
  registry.rollouts.setAssignments([{ scope: EVERYBODY, revision }])

test('as long as there is no revision nothing is sent, and nothing is gone', async (t) => {
  const { open } = await rig(t)
  const source = await open()
  const watched = source.watch('gw-1', () => {})
  await watched.ready
  assert.deepEqual([names(watched.current()), watched.current().removals], [[], 'later'])
})

test('whoever changes what is in force, devices are sent it within a second, and it is there after a restart', async (t) => {
  const { registry, clock, add, open } = await rig(t)
  await add('r1', { 'all.yaml': [['a']], 'gw-1/own.yaml': [['o']] })
  await add('r2', { 'all.yaml': [['b']] })
  await put(registry, 'r1')
  const source = await open()
  const seen: string[] = []
  const watched = source.watch('gw-1', (set) => seen.push(`${set.revision} ${names(set).join()}`))
  await watched.ready
  assert.deepEqual([names(watched.current()), watched.current().revision], [['a', 'o'], 'r1'])
  await put(registry, 'r2')
  // What is stored is unpacked in real turns.
  // What is read of the disk takes real time.
  for (let i = 0; i < 400 && seen.length === 0; i++) {
    await clock.advance(i < 4 ? 250 : 1)
    await new Promise((resolve) => {
      setTimeout(resolve, 5)
    })
  }
  assert.deepEqual(seen, ['r2 b'])
  const again = (await open()).watch('gw-1', () => {})
  await again.ready
  assert.deepEqual(names(again.current()), ['b'])
})

test('one that comes before the next look is sent what the registry has now: another hub may have sent it that', async (t) => {
  const { registry, clock, add, open } = await rig(t)
  await add('r1', { 'all.yaml': [['a']] })
  await add('r2', { 'all.yaml': [['b']] })
  await put(registry, 'r1')
  const source = await open()
  const seen: string[] = []
  const there = source.watch('gw-1', (set) => seen.push(set.revision))
  await there.ready
  await put(registry, 'r2')
  const [comes, too] = ['gw-2', 'gw-3'].map((name) => source.watch(name, () => {}))
  await Promise.all([comes!.ready, too!.ready])
  assert.deepEqual([comes!.current().revision, too!.current().revision], ['r2', 'r2'])
  assert.deepEqual(seen, [], 'the others with the next look')
  for (let i = 0; i < 200 && seen.length === 0; i++) await clock.advance(i < 4 ? 250 : 1)
  assert.deepEqual(seen, ['r2'])
})

test('labels of a device count, and a thousand that are sent the same share one set', async (t) => {
  const { registry, add, open } = await rig(t)
  const who = { namespace: 'edge', serviceAccount: 'gateway', jti: null, address: '' }
  await registry.enrollments.enroll({ ...who, name: 'gw-1', keyId: 'k', labels: { site: 'north' } }, 1)
  await add('r1', { 'all.yaml': [['a']], '@site=north/n.yaml': [['n']] })
  await put(registry, 'r1')
  const source = await open()
  const labelled = source.watch('gw-1', () => {})
  await labelled.ready
  assert.deepEqual(names(labelled.current()), ['a', 'n'])
  const sets = new Set<ResourceSet>()
  for (let i = 0; i < 1_000; i++) {
    const watched = source.watch(`d-${i}`, () => {})
    await watched.ready
    sets.add(watched.current())
  }
  assert.equal(sets.size, 1)
})

test('a device whose labels cannot be read is sent nothing until they can', async (t) => {
  const { registry, clock, add, open } = await rig(t)
  const who = { namespace: 'edge', serviceAccount: 'gateway', jti: null, address: '' }
  await registry.enrollments.enroll({ ...who, name: 'gw-1', keyId: 'k', labels: { site: 'north' } }, 1)
  await add('r1', { 'all.yaml': [['a']], '@site=north/n.yaml': [['n']] })
  await add('r2', { 'all.yaml': [['b']], '@site=north/n.yaml': [['n']] })
  await put(registry, 'r1')
  const source = await open()
  const { byName } = registry.enrollments
  registry.enrollments.byName = () => Promise.reject(new MeshError('MESH_STORAGE_FAILED', 'away'))
  const seen: string[] = []
  const watched = source.watch('gw-1', (set) => seen.push(names(set).join()))
  await watched.ready
  assert.deepEqual([names(watched.current()), watched.current().removals], [[], 'later'])
  await put(registry, 'r2')
  await clock.advance(1_000)
  assert.deepEqual(seen, [], 'nor what is for all')
  registry.enrollments.byName = byName
  for (let i = 0; i < 200 && seen.length === 0; i++) await clock.advance(i < 4 ? 250 : 1)
  assert.match(seen[0]!, /,n$/)
})

test('a revision that cannot be read leaves what was in force, and one device that leaves is forgotten', async (t) => {
  const { registry, clock, metrics, add, open } = await rig(t)
  await add('r1', { 'all.yaml': [['a']] })
  await put(registry, 'r1')
  const source = await open()
  const watched = source.watch('gw-1', () => assert.fail('nothing has changed'))
  await watched.ready
  await put(registry, 'nowhere')
  await clock.advance(2_000)
  assert.deepEqual(names(watched.current()), ['a'])
  assert.equal(metrics.total('mesh_hub_nodes_known'), 1)
  watched[Symbol.dispose]()
  assert.equal(metrics.total('mesh_hub_nodes_known'), 0)
})

test('a name that leads out of the folder is refused', async (t) => {
  const source = await (await rig(t)).open()
  for (const name of ['..', '.', '', 'a/b', '.hidden', '@site=north', 'x'.repeat(300)])
    assert.throws(
      () => source.watch(name, () => {}),
      (err: unknown) => err instanceof MeshError && err.code === 'MESH_CONFIG_INVALID',
    )
})
