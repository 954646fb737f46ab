import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { RawResource } from '../../model/snapshot.ts'
import type { Applier } from '../../control-sync/apply.ts'
import { EMPTY_SNAPSHOT } from '../../control-sync/apply.ts'
import { PackedResource } from '../../control-sync/snapshot/packed-resource.ts'
import type { References } from '../../control-sync/references.ts'
import type { StoredSnapshot } from '../../control-sync/snapshot/types.ts'
import { SimClock } from '../helpers/sim-clock.ts'
import { clusterWithMistake, edsCluster, tableWithMistake } from '../helpers/control-plane/synced-agent.ts'
import { bareApplier } from '../helpers/control-plane/applier.ts'

const clock = (): SimClock => new SimClock()
const applierOf = (at: SimClock, decodedBy: string): Applier => bareApplier({ clock: at, decodedBy })

/**
 * A good cluster of which it is stored that it is blocked, and a cluster and a table with mistakes of which nothing is
 * stored.
 */
function stored(by: string): StoredSnapshot {
  const raw = ({ name, bytes }: { name: string; bytes: Uint8Array }): RawResource =>
    new PackedResource({ name, version: '', value: bytes })
  const [good, bad, table] = [raw(edsCluster('good')), raw(clusterWithMistake('bad')), raw(tableWithMistake('80'))]
  const resources = {
    ...EMPTY_SNAPSHOT.resources,
    cluster: new Map([
      ['good', good],
      ['bad', bad],
    ]),
    route: new Map([['80', table]]),
  }
  const references = new Map<RawResource, References>([
    [
      good,
      {
        by,
        endpoint: [],
        notes: { ignored: ['type'], skipped: ['something'], blocked: [{ path: 'type', problem: 'is not supported' }] },
      },
    ],
    [bad, { by }],
    [table, { by }],
  ])
  return {
    snapshot: { resources, savedAtMs: 1 },
    references,
    generation: 1,
    contactAtMs: undefined,
    changedAtMs: {},
    damaged: [],
  }
}
const told = (applier: Applier): unknown => [
  applier.rejected.map((r) => `${r.kind} ${r.name}`),
  applier.ignored.length,
  [...applier.skipped.keys()],
  [...applier.referenced('endpoint')],
]

test('what is stored about resources is told at once after a start', () => {
  const applier = applierOf(clock(), 'this one')
  applier.restore(stored('this one'))
  assert.deepEqual(told(applier), [['cluster good'], 1, ['something'], []])
})
test('what another version of meshlet stored about them is found out anew a moment after the start', async () => {
  const at = clock()
  const applier = applierOf(at, 'this one')
  applier.restore(stored('another'))
  await at.advance(2_000)
  assert.deepEqual(told(applier), [['cluster bad', 'route 80'], 0, [], ['good']])
  assert.deepEqual(applier.references('cluster', 'good').by, 'this one')
})
test('what was told of a resource is forgotten with it: replaced, twice in one push, or taken away', async () => {
  const applier = applierOf(clock(), 'this one')
  const put = (...values: { name: string; bytes: Uint8Array }[]): Promise<unknown> =>
    applier.apply([
      { kind: 'cluster', put: values.map(({ name, bytes }) => ({ name, version: '', value: bytes })), removed: [] },
    ])
  const bad = clusterWithMistake('c')
  await put(bad)
  assert.deepEqual(told(applier), [['cluster c'], 0, [], []])
  await put(edsCluster('c'))
  assert.deepEqual(told(applier), [[], 0, [], ['c']])
  await put(bad, edsCluster('c'))
  assert.deepEqual(told(applier), [[], 0, [], ['c']])
  await put(bad)
  await applier.apply([{ kind: 'cluster', put: [], removed: ['c'] }])
  assert.deepEqual(told(applier), [[], 0, [], []])
})
