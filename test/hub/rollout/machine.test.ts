import { test } from 'node:test'
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { applyAssignment, decideRevision, type Assignment } from '../../../hub/rollout/desired.ts'
import {
  hasBegunFor,
  isActive,
  NOTHING_WATCHED,
  advanceRollout,
  watchWave,
  type DeviceView,
  type Rollout,
  type Step,
} from '../../../hub/rollout/machine.ts'
import { EVERYBODY } from '../../../hub/rollout/scope.ts'
import { parseWaves, planWaves, findWave } from '../../../hub/rollout/waves.ts'

const device = (name: string, p: Partial<DeviceView> = {}): DeviceView => ({
  name,
  labels: {},
  connected: true,
  revision: 'old',
  refused: undefined,
  traffic: undefined,
  failed: [],
  ...p,
})
const fleet = (count: number): DeviceView[] => Array.from({ length: count }, (_, i) => device(`gw-${i}`))
const MINUTE = 60_000

function begin(devices: readonly DeviceView[], p: Partial<Rollout> = {}): Step {
  const waves = p.waves ?? '10%,50%,100%'
  const rollout: Rollout = {
    ...planWaves('r1', parseWaves(waves), devices),
    id: 'r1',
    to: 'new',
    scope: EVERYBODY,
    waves,
    halt: 'rejected>0, lost>2%, errors>2x',
    soakMs: 10 * MINUTE,
    awayMs: 2 * MINUTE,
    state: 'running',
    wave: 0,
    soakedMs: 0,
    reason: '',
    ...p,
  }
  const watch = { ...NOTHING_WATCHED, tracked: watchWave(rollout, devices) }
  return advanceRollout(rollout, watch, { devices, elapsedMs: 0 })
}
const go = ({ rollout, watch }: Step, devices: readonly DeviceView[], elapsedMs = MINUTE): Step =>
  advanceRollout(rollout, watch, { devices, elapsedMs })
/** Those that are to have the revision take it, unless `but` says something else of them. */
const taking = (rollout: Rollout, all: readonly DeviceView[], but: (d: DeviceView) => DeviceView = (d) => d) =>
  all.map((d) => (hasBegunFor(rollout, d.name) ? but({ ...d, revision: 'new' }) : d))

test('good devices take wave after wave, each for its soak', () => {
  const all = fleet(100)
  let step = begin(all)
  const seen: number[] = []
  for (let minute = 0; isActive(step.rollout) && minute < 100; minute++) {
    seen.push(step.rollout.wave)
    step = go(step, taking(step.rollout, all))
  }
  assert.equal(step.rollout.state, 'completed')
  assert.deepEqual(seen, [...Array<number>(10).fill(0), ...Array<number>(10).fill(1), ...Array<number>(10).fill(2)])
})

test('one that refuses halts the first wave; what it refused before does not', () => {
  const all = fleet(100)
  const step = begin(all)
  const bad = (d: DeviceView): DeviceView => ({ ...d, revision: 'old', refused: 'Cluster a: bad' })
  const halted = go(step, taking(step.rollout, all, bad))
  assert.equal(halted.rollout.state, 'halted')
  assert.match(halted.rollout.reason, /^rejected>0: 10 of 10/)
  const known = all.map((d) => ({ ...d, refused: 'Cluster z: old' }))
  const started = begin(known)
  assert.equal(go(started, taking(started.rollout, known)).rollout.state, 'running')
})

test('one that can no longer open a listener halts as one that refuses; what failed before does not', () => {
  const all = fleet(100).map((d) => ({ ...d, failed: ['MESH_PORT_IN_USE 127.0.0.1:53'] }))
  const step = begin(all)
  assert.equal(go(step, taking(step.rollout, all)).rollout.state, 'running')
  assert.equal(
    go(
      step,
      taking(step.rollout, all, (d) => ({ ...d, failed: [] })),
    ).rollout.state,
    'running',
  )
  const bad = (d: DeviceView): DeviceView => ({ ...d, failed: [...d.failed, 'MESH_PORT_IN_USE 127.0.0.1:80'] })
  assert.match(go(step, taking(step.rollout, all, bad)).rollout.reason, /^rejected>0: 10 of 10/)
  // Begun by a version that did not look at it.
  const tracked = new Map([...step.watch.tracked].map(([name, known]) => [name, { ...known, failed: undefined }]))
  const older = { ...step, watch: { ...step.watch, tracked } }
  assert.equal(go(older, taking(step.rollout, all, bad)).rollout.state, 'running')
})

test('who was there and stays away is lost, and who neither takes it nor refuses it', () => {
  const all = fleet(100)
  for (const lost of [
    (d: DeviceView): DeviceView => ({ ...d, connected: false }),
    (d: DeviceView): DeviceView => ({ ...d, revision: 'old' }),
  ]) {
    let step = begin(all)
    step = go(step, taking(step.rollout, all, lost))
    assert.equal(step.rollout.state, 'running', 'a link may fail for a minute')
    step = go(step, taking(step.rollout, all, lost))
    assert.match(step.rollout.reason, /^lost>2%/)
  }
})

test('one whose labels are others meanwhile has no part in it: it is neither lost, nor what it refuses counts', () => {
  const north = { kind: 'labels', labels: { site: 'north' } } as const
  const all = fleet(10).map((d) => ({ ...d, labels: north.labels }))
  const started = begin(all, { scope: north, waves: '50%,100%' })
  const moved = [...started.watch.tracked.keys()][0]
  let step = started
  for (let minute = 0; minute < 10; minute++) {
    const refused = minute > 5 ? 'Cluster old: bad' : undefined
    const now = taking(step.rollout, all).map((d) =>
      d.name === moved ? { ...d, labels: { site: 'south' }, revision: 'old', refused } : d,
    )
    step = go(step, now)
  }
  assert.deepEqual([step.rollout.state, step.rollout.wave, step.evidence.devices], ['running', 1, 4])
  const there = go(
    step,
    taking(step.rollout, all, (d) => (d.name === moved ? { ...d, revision: 'old' } : d)),
  )
  assert.equal(there.rollout.state, 'running', 'what it has not had meanwhile is not held against it')
})

test('who was away counts when it comes within the soak, and later not', () => {
  const away = fleet(10).map((d) => ({ ...d, connected: false }))
  const started = begin(away, { waves: '100%' })
  assert.equal(started.watch.tracked.size, 0)
  const bad = (d: DeviceView): DeviceView => ({ ...d, connected: true, refused: 'no' })
  let late = go(started, away, 11 * MINUTE)
  assert.equal(late.rollout.state, 'completed')
  late = go(late, away.map(bad))
  assert.equal(late.rollout.state, 'completed')
  const inTime = go(
    go(
      started,
      away.map((d) => ({ ...d, connected: true })),
    ),
    away.map(bad),
  )
  assert.equal(inTime.rollout.state, 'halted')
})

test('who comes within the soak has refused the revision before it is seen; what it refused before it went does not count', () => {
  const all = fleet(100)
  const { rollout } = begin(all)
  const first = all.find(({ name }) => findWave(rollout, name) === 0)
  const but = (p: Partial<DeviceView>): DeviceView[] => all.map((d) => (d === first ? { ...d, ...p } : d))
  const stateAfter = (before: Partial<DeviceView>, refused: string): string => {
    const step = begin(but({ connected: false, ...before }))
    return go(
      step,
      taking(step.rollout, but({ refused }), (d) => (d.name === first!.name ? { ...d, revision: 'old' } : d)),
    ).rollout.state
  }
  assert.equal(stateAfter({}, 'Cluster new: bad'), 'halted')
  assert.equal(stateAfter({ refused: 'Cluster a: bad' }, 'Cluster new: bad'), 'halted')
  assert.equal(stateAfter({ refused: 'Cluster a: bad' }, 'Cluster a: bad'), 'running')
})

test('failures of the wave are compared with before and with the rest', () => {
  const with_ = (failures: number, requests: number) => ({ startedMs: 1, requests, failures })
  const all = fleet(100).map((d) => ({ ...d, traffic: with_(1, 1_000) }))
  const step = begin(all)
  const failing = (d: DeviceView): DeviceView => ({ ...d, traffic: with_(41, 1_100) })
  const halted = go(step, taking(step.rollout, all, failing))
  assert.match(halted.rollout.reason, /^errors>2x: 400 of 1000 requests failed, 0.1 % before/)
  // The others fail as much: it is not the revision.
  const everywhere = taking(step.rollout, all.map(failing), failing)
  assert.equal(go(step, everywhere).rollout.state, 'running')
  // A restart counts anew.
  const restarted = (d: DeviceView): DeviceView => ({ ...d, traffic: { startedMs: 2, requests: 100, failures: 0 } })
  assert.equal(go(step, taking(step.rollout, all, restarted)).rollout.state, 'running')
})

test('a pause holds the waves, and a gate that opens meanwhile halts', () => {
  const all = fleet(20)
  const step = begin(all)
  const paused: Step = { ...step, rollout: { ...step.rollout, state: 'paused' } }
  const later = go(paused, taking(paused.rollout, all), 60 * MINUTE)
  assert.deepEqual([later.rollout.state, later.rollout.wave, later.rollout.soakedMs], ['paused', 0, 0])
  const bad = taking(paused.rollout, all, (d) => ({ ...d, refused: 'no' }))
  assert.equal(go(later, bad).rollout.state, 'halted')
})

/** What may happen to a device between two looks. */
const happening = fc.record({
  which: fc.nat(29),
  connected: fc.boolean(),
  takes: fc.boolean(),
  refuses: fc.boolean(),
  failures: fc.nat(20),
})
const minutes = fc.array(fc.record({ happenings: fc.array(happening, { maxLength: 6 }), pause: fc.boolean() }), {
  maxLength: 40,
})

test('whatever devices do: never past an open gate, always an end, never a device without a revision', () => {
  fc.assert(
    fc.property(minutes, fc.constantFrom('100%', '1%,10%,50%,100%', '30%,100%'), (script, waves) => {
      let all = fleet(30).map((d) => ({ ...d, traffic: { startedMs: 1, requests: 100, failures: 0 } }))
      let assignments: readonly Assignment[] = [{ scope: EVERYBODY, revision: 'old' }]
      let step = begin(all, { waves })
      const tick = (): void => {
        const before = step.rollout
        step = go(step, all)
        const { rollout, evidence } = step
        const isOpen = evidence.rejected.length > 0 || (100 * evidence.lost.length) / evidence.devices > 2
        if (isActive(before) && isOpen) assert.deepEqual([rollout.state, rollout.wave], ['halted', before.wave])
        assert.ok(rollout.wave - before.wave <= 1 && rollout.wave >= before.wave)
        if (before.state === 'paused') assert.equal(rollout.wave, before.wave)
        if (rollout.state === 'completed' && before.state === 'running')
          assignments = applyAssignment(assignments, { scope: EVERYBODY, revision: 'new' })
        for (const { name, labels } of all) {
          const desired = decideRevision({ assignments, active: rollout }, { name, labels })
          const isNew = rollout.state === 'completed' || (isActive(rollout) && findWave(rollout, name) <= rollout.wave)
          assert.equal(desired, isNew ? 'new' : 'old')
        }
      }
      for (const { happenings, pause } of script) {
        for (const h of happenings)
          all = all.map((d, i) =>
            i !== h.which
              ? d
              : {
                  ...d,
                  connected: h.connected,
                  revision: h.takes && hasBegunFor(step.rollout, d.name) ? 'new' : 'old',
                  refused: h.refuses && hasBegunFor(step.rollout, d.name) ? 'no' : undefined,
                  traffic: {
                    ...d.traffic,
                    requests: d.traffic.requests + 20,
                    failures: d.traffic.failures + h.failures,
                  },
                },
          )
        if (isActive(step.rollout))
          step = { ...step, rollout: { ...step.rollout, state: pause ? 'paused' : 'running' } }
        tick()
      }
      if (isActive(step.rollout)) step = { ...step, rollout: { ...step.rollout, state: 'running' } }
      for (let minute = 0; minute < 4 * 13 + 2; minute++) tick()
      assert.ok(!isActive(step.rollout), 'it ends')
    }),
    { numRuns: 150 },
  )
})
