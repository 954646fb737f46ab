import { test } from 'node:test'
import assert from 'node:assert/strict'
import { CompiledRevision } from '../../../hub/source/compiled.ts'
import type { FolderRevision } from '../../../hub/source/folder.ts'
import { CLUSTER, type ResourceSet } from '../../../hub/source/resources.ts'
import { systemClock } from '../../../core/os/clock.ts'
import { readFiles } from './resource-files.ts'

const compile = (files: FolderRevision['files'], id = 'r1') => CompiledRevision.compile({ id, files }, systemClock)
/** Names of the clusters, with their timeouts' lengths told apart by version. */
const clusters = (set: ResourceSet): string[] => [...(set.types.get(CLUSTER)?.keys() ?? [])].sort()
const versionOf = (set: ResourceSet, name: string): string => set.types.get(CLUSTER)!.get(name)!.version

test('a device has what is for all, then what its labels say, then its own', async () => {
  const revision = await compile(
    readFiles({
      'all.yaml': [['a'], ['x', '1s']],
      '@site=north/n.yaml': [['n'], ['x', '2s']],
      '@line=3,site=north/l.yaml': [['l'], ['x', '3s']],
      '@site=south/s.yaml': [['s']],
      'gw-1/own.yaml': [['o'], ['x', '4s']],
    }),
  )
  const of = (name: string, labels = {}): ResourceSet => revision.resourcesOf({ name, labels })
  assert.deepEqual(clusters(of('gw-9')), ['a', 'x'])
  assert.deepEqual(clusters(of('gw-9', { site: 'north' })), ['a', 'n', 'x'])
  assert.deepEqual(clusters(of('gw-9', { site: 'north', line: '3' })), ['a', 'l', 'n', 'x'])
  assert.deepEqual(clusters(of('gw-1', { site: 'north' })), ['a', 'n', 'o', 'x'])
  const versions = [
    of('gw-9'),
    of('gw-9', { site: 'north' }),
    of('gw-9', { site: 'north', line: '3' }),
    of('gw-1', { site: 'north', line: '3' }),
  ].map((set) => versionOf(set, 'x'))
  assert.equal(new Set(versions).size, 4, 'each wins over the one before')
  assert.equal(of('gw-1').revision, 'r1')
})

test('devices that are sent the same share it, within a revision and over two of them', async () => {
  const files = readFiles({ 'all.yaml': [['a']], '@site=north/n.yaml': [['n']], 'gw-1/own.yaml': [['o']] })
  const one = await compile(files)
  const sets = new Set(
    Array.from({ length: 1_000 }, (_, i) => one.resourcesOf({ name: `d-${i}`, labels: { site: `${i % 2}` } })),
  )
  assert.equal(sets.size, 1)
  const two = await compile([...files, ...readFiles({ 'more.yaml': [['b']] })], 'r2')
  const node = { name: 'd', labels: {} }
  const [before, after] = [one.resourcesOf(node), two.resourcesOf(node)]
  assert.equal(before.types.get(CLUSTER)!.get('a'), after.types.get(CLUSTER)!.get('a'))
  assert.equal(two.count, 4)
})

test('a revision without files is one, too: of nothing', async () => {
  const empty = await compile([])
  assert.deepEqual([...empty.resourcesOf({ name: 'd', labels: {} }).types], [])
  assert.equal(empty.count, 0)
})
