import assert from 'node:assert/strict'
import { test } from 'node:test'
import { RevisionInForce } from '../../control-sync/revision-in-force.ts'
import { EMPTY_SNAPSHOT } from '../../control-sync/apply.ts'
import type { Rejected } from '../../control-sync/findings.ts'
import { TYPE_URLS, type RawResource, type Snapshot } from '../../model/snapshot.ts'
import { computeContent } from '../../proto/relay/digest.ts'

const raw = (name: string, version: string): RawResource => ({ name, version, value: Buffer.from(version) })
const withClusters = (...all: RawResource[]): Snapshot => ({
  ...EMPTY_SNAPSHOT,
  resources: { ...EMPTY_SNAPSHOT.resources, cluster: new Map(all.map((r) => [r.name, r])) },
})
const hubs = (...versions: (readonly [string, string])[]): string => computeContent([[TYPE_URLS.cluster, versions]])

function rig() {
  const applier = { snapshot: EMPTY_SNAPSHOT, rejected: [] as readonly Rejected[] }
  const revision = new RevisionInForce(applier)
  const say = (systemVersion: string, resources: RawResource[], removed: string[] = []): void =>
    revision.note({ kind: 'cluster', systemVersion, resources, removed })
  return { applier, revision, say }
}

test('before anything was said, no revision is known, and nothing is in force', () => {
  assert.deepEqual(rig().revision.read(), { revision: '', desired: '', content: hubs() })
})

test('what is taken whole is in force, under the hash that the hub computes', () => {
  const { applier, revision, say } = rig()
  applier.snapshot = withClusters(raw('a', '1'), raw('b', '1'))
  say('r1', [raw('a', '1'), raw('b', '1')])
  assert.deepEqual(revision.read(), { revision: 'r1', desired: 'r1', content: hubs(['b', '1'], ['a', '1']) })
  applier.snapshot = withClusters(raw('a', '2'))
  say('r2', [raw('a', '2')], ['b'])
  assert.deepEqual(revision.read(), { revision: 'r2', desired: 'r2', content: hubs(['a', '2']) })
})

test('a revision of which something is refused is desired and not in force, until it is mended', () => {
  const { applier, revision, say } = rig()
  applier.snapshot = withClusters(raw('a', '1'))
  say('r1', [raw('a', '1')])
  applier.rejected = [{ kind: 'cluster', name: 'a', issues: [], blocked: false }]
  say('r2', [raw('a', '2')])
  assert.deepEqual(revision.read(), { revision: 'r1', desired: 'r2', content: hubs(['a', '1']) })
  applier.rejected = []
  applier.snapshot = withClusters(raw('a', '3'))
  say('r3', [raw('a', '3')])
  assert.equal(revision.read().revision, 'r3')
})

test('an equal resource of another version counts under the one that was said last', () => {
  const { applier, revision, say } = rig()
  applier.snapshot = withClusters(raw('a', '1'))
  say('r1', [raw('a', '1')])
  say('r2', [raw('a', '2')])
  assert.equal(revision.read().content, hubs(['a', '2']))
  say('r3', [raw('a', '1')])
  assert.equal(revision.read().content, hubs(['a', '1']))
})
