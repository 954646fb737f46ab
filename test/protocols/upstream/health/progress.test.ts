/** Thresholds, edges and intervals of Envoy's active health checks. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import {
  computeWaitMs,
  createProgress,
  recordVerdict,
  type Verdict,
} from '../../../../protocols/upstream/health/progress.ts'
import { checkOf } from './rig.ts'

const passed: Verdict = { kind: 'passed', isDegraded: false }
const failed = (by: 'active' | 'network' | 'passive', isRetriable = false): Verdict => ({
  kind: 'failed',
  by,
  isRetriable,
  excludes: false,
  reason: '',
})
const network = failed('network')

/** What becomes of a host that was asked once and was well: `+` it may serve, and how the answer changed it. */
function follow(verdicts: readonly Verdict[], first: Verdict = passed): string[] {
  const progress = createProgress(false)
  recordVerdict(progress, first, checkOf())
  return verdicts.map((verdict) => {
    const change = recordVerdict(progress, verdict, checkOf())
    return `${progress.health.hasFailed ? '-' : '+'}${change}`
  })
}

test('a host that was not asked gets nothing, and its first answer counts at once', () => {
  const progress = createProgress(false)
  assert.equal(progress.health.hasFailed, true)
  assert.equal(recordVerdict(progress, passed, checkOf({ healthyThreshold: 9 })), 'changed')
  assert.equal(progress.health.hasFailed, false)
})
test('no answer counts as often as the threshold says', () => {
  assert.deepEqual(follow([network, network, network]), ['+pending', '-changed', '-none'])
  assert.deepEqual(follow([network, passed, network, network]), ['+pending', '+none', '+pending', '-changed'])
})
test('an answer that says no counts at once, unless its status may be repeated', () => {
  assert.deepEqual(follow([failed('active')]), ['-changed'])
  assert.deepEqual(follow([failed('passive')]), ['-changed'])
  assert.deepEqual(follow([failed('active', true), failed('active', true)]), ['+pending', '-changed'])
})
test('a host that failed comes back after as many answers as the threshold says', () => {
  assert.deepEqual(follow([passed, passed, passed], network), ['-pending', '+changed', '+none'])
  assert.deepEqual(follow([passed, network, passed, passed], network), ['-pending', '-none', '-pending', '+changed'])
})
test('degraded comes and goes with each answer', () => {
  const degraded: Verdict = { kind: 'passed', isDegraded: true }
  assert.deepEqual(follow([degraded, degraded, passed]), ['+changed', '+none', '+changed'])
})
test('who wants nothing at once does not count until it is well', () => {
  const progress = createProgress(false)
  recordVerdict(progress, passed, checkOf())
  recordVerdict(progress, { ...failed('active'), excludes: true } as Verdict, checkOf())
  assert.deepEqual(progress.health, { hasFailed: true, isDegraded: false, isPending: false, isExcluded: true })
  recordVerdict(progress, passed, checkOf())
  recordVerdict(progress, passed, checkOf())
  assert.equal(progress.health.isExcluded, false)
})
test('a new host that is left out counts from its first answer, whatever that is', () => {
  const progress = createProgress(true)
  assert.equal(progress.health.isPending, true)
  assert.equal(recordVerdict(progress, network, checkOf()), 'changed')
  assert.equal(progress.health.isPending, false)
})

test('intervals: by answer, by edge, and longer before there was traffic', () => {
  const { intervals } = checkOf()
  const wait = (verdict: Verdict, change: 'none' | 'pending' | 'changed', wasUsed = true): number =>
    computeWaitMs(intervals, { verdict, change }, { wasUsed, chance: () => 0.5 })
  assert.equal(wait(passed, 'none'), 10_000)
  assert.equal(wait(passed, 'changed'), 10_000)
  assert.equal(wait(passed, 'pending'), 3_000)
  assert.equal(wait(network, 'changed'), 5_000)
  assert.equal(wait(network, 'pending'), 2_000)
  assert.equal(wait(passed, 'none', false), 40_000)
  assert.equal(wait(passed, 'pending', false), 60_000)
  assert.equal(wait(network, 'none', false), 60_000)
})
test('both jitters are added, and no interval is nothing', () => {
  const { intervals } = checkOf({}, { jitterMs: 400, jitterPercent: 20 })
  const last = { verdict: passed, change: 'none' } as const
  assert.equal(computeWaitMs(intervals, last, { wasUsed: true, chance: () => 0.5 }), 10_000 + 1_000 + 200)
  const tiny = checkOf({}, { healthyMs: 0.2 }).intervals
  assert.equal(computeWaitMs(tiny, last, { wasUsed: true, chance: () => 0 }), 1)
})
