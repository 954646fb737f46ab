import { test } from 'node:test'
import assert from 'node:assert/strict'
import { silentLog } from '../../../core/log.ts'
import type { ResourceKind } from '../../../model/snapshot.ts'
import type { Change } from '../../../control-sync/apply.ts'
import { RemovalGuard, type InForce } from '../../../control-sync/ads/removal-guard.ts'
import { SimClock } from '../../helpers/sim-clock.ts'

const names = (count: number): string[] => Array.from({ length: count }, (_, i) => `c${i}`)
const push = (kind: ResourceKind, put: readonly string[], removed: readonly string[] = []): Change => ({
  kind,
  put: put.map((name) => ({ name, version: '', value: new Uint8Array(0) })),
  removed,
})
const said = (changes: Change | readonly Change[]): string[] =>
  [changes]
    .flat()
    .flatMap((c) => [...c.put.map((r) => `+${c.kind} ${r.name}`), ...c.removed.map((n) => `-${c.kind} ${n}`)])

/** In force: 20 clusters c0…c19 with endpoints e-c0…, the table `all` over c0 and c19, the table `kept` over c19. */
function made(shrinkHoldMs = 1_000, clusterCount = 20): { clock: SimClock; shrink: RemovalGuard; released: string[] } {
  const clock = new SimClock()
  const released: string[] = []
  const inForce: InForce = {
    clusterCount,
    references: (kind, name) =>
      kind === 'cluster'
        ? { endpoint: [`e-${name}`] }
        : kind === 'route'
          ? { cluster: name === 'all' ? ['c0', 'c19'] : ['c19'] }
          : {},
  }
  const shrink = new RemovalGuard({
    clock,
    log: silentLog,
    shrinkHoldMs,
    inForce,
    release: (changes) => {
      released.push(...said(changes))
    },
  })
  shrink.newStream()
  return { clock, released, shrink }
}

test('a first push that takes most clusters away is held back and then carried out', async () => {
  const { clock, shrink, released } = made()
  assert.deepEqual(said(shrink.filter(push('cluster', ['c18'], names(15)))), ['+cluster c18'])
  assert.deepEqual(shrink.held, { clusters: 15, of: 20, untilMs: 1_000 })
  await clock.advance(999)
  assert.equal(released.length, 0)
  await clock.advance(1)
  assert.deepEqual(
    released,
    names(15).map((n) => `-cluster ${n}`),
  )
  assert.equal(shrink.held, undefined)
})
test('what would empty the held clusters waits with them: endpoints, tables that lead to them, listeners that go, names; the rest counts at once', async () => {
  const { clock, shrink, released } = made()
  shrink.filter(push('cluster', [], names(15)))
  assert.deepEqual(said(shrink.filter(push('endpoint', ['e-c0', 'e-c19'], ['e-c1']))), ['+endpoint e-c19'])
  assert.deepEqual(said(shrink.filter(push('route', ['all', 'kept']))), ['+route kept'])
  assert.deepEqual(
    said(shrink.filter(push('listener', ['inbound'], ['outbound']))),
    ['+listener inbound'],
    'a policy is not kept waiting',
  )
  assert.deepEqual(said(shrink.filter(push('nameTable', ['']))), [])
  await clock.advance(1_000)
  assert.deepEqual(released.slice(15), [
    '+endpoint e-c0',
    '-endpoint e-c1',
    '+route all',
    '-listener outbound',
    '+nameTable ',
  ])
})
test('the last word counts: what comes again while it waits replaces what waited', async () => {
  const { clock, shrink, released } = made()
  shrink.filter(push('cluster', [], names(15)))
  shrink.filter(push('endpoint', ['e-c0']))
  shrink.filter(push('endpoint', [], ['e-c0']))
  shrink.filter(push('listener', [], ['outbound']))
  assert.deepEqual(said(shrink.filter(push('listener', ['outbound']))), ['+listener outbound'])
  await clock.advance(1_000)
  assert.deepEqual(released.slice(15), ['-endpoint e-c0'])
})
test('clusters that come back end the waiting: nothing is removed, and what waited gives way to what is said now', async () => {
  const { clock, shrink, released } = made()
  shrink.filter(push('cluster', [], names(15)))
  shrink.filter(push('route', ['all']))
  shrink.filter(push('endpoint', ['e-c0', 'e-c1']))
  assert.deepEqual(
    said(shrink.filter(push('cluster', names(14)))),
    names(14).map((n) => `+cluster ${n}`),
  )
  assert.equal(shrink.held?.clusters, 1)
  assert.deepEqual(said(shrink.filter(push('cluster', ['c14']))), ['+cluster c14'])
  assert.equal(shrink.held, undefined)
  assert.deepEqual(said(shrink.filter(push('endpoint', ['e-c0']))), ['+endpoint e-c0'])
  await clock.advance(4_999)
  assert.deepEqual(released, [])
  await clock.advance(1)
  assert.deepEqual(released, ['+route all', '+endpoint e-c1'], 'of these nothing newer was said')
})
test('a stream that ends before takes the removal with it, but not the time: a link that flaps does not hold for ever', async () => {
  const { clock, shrink, released } = made()
  shrink.filter(push('cluster', [], names(15)))
  await clock.advance(700)
  shrink.newStream()
  await clock.advance(200)
  assert.deepEqual([released, shrink.held], [[], undefined])
  shrink.filter(push('cluster', [], names(15)))
  assert.equal(shrink.held?.untilMs, 1_000)
  shrink.newStream()
  await clock.advance(200)
  assert.equal(
    said(shrink.filter(push('cluster', [], names(15)))).length,
    15,
    'its time was over while there was no link',
  )
})
test('a first push that is whole again forgets the time of the one before', async () => {
  const { clock, shrink } = made()
  shrink.filter(push('cluster', [], names(15)))
  shrink.newStream()
  shrink.filter(push('cluster', names(20)))
  shrink.newStream()
  await clock.advance(5_000)
  shrink.filter(push('cluster', [], names(15)))
  assert.equal(shrink.held?.untilMs, 6_000)
})
test('later pushes, small changes and small meshes are carried out at once, and everything when the setting is 0', () => {
  const { shrink } = made()
  assert.equal(said(shrink.filter(push('cluster', [], names(5)))).length, 5)
  assert.equal(said(shrink.filter(push('cluster', [], names(19)))).length, 19)
  assert.equal(said(made(1_000, 4).shrink.filter(push('cluster', [], names(4)))).length, 4)
  assert.equal(said(made(0).shrink.filter(push('cluster', [], names(19)))).length, 19)
})
