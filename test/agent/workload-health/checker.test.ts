import { test } from 'node:test'
import assert from 'node:assert/strict'
import { silentLog } from '../../../core/log.ts'
import { Metrics } from '../../../core/metrics.ts'
import type { ReadinessProbe } from '../../../model/readiness-probe.ts'
import { HealthChecker } from '../../../agent/workload-health/checker.ts'
import { SimClock, settle } from '../../helpers/sim-clock.ts'

const SETTINGS: ReadinessProbe = {
  initialDelaySeconds: 0,
  timeoutSeconds: 1,
  periodSeconds: 10,
  successThreshold: 1,
  failureThreshold: 1,
}

/** A workload that answers what the test says, and the times at which it was asked. */
class Workload {
  readonly clock = new SimClock()
  readonly metrics = new Metrics()
  readonly askedMs: number[] = []
  readonly changes: string[] = []
  answer: 'works' | 'hangs' | Error = 'works'
  aborted = 0
  readonly checker: HealthChecker

  constructor(settings: Partial<ReadinessProbe> = {}) {
    const ask = async (signal: AbortSignal): Promise<void> => {
      this.askedMs.push(this.clock.monotonicMs())
      if (this.answer instanceof Error) throw this.answer
      if (this.answer === 'hangs')
        await new Promise((_, reject) => {
          signal.addEventListener('abort', () => {
            this.aborted++
            reject(signal.reason)
          })
        })
    }
    this.checker = new HealthChecker({
      probe: { what: 'it', ask },
      settings: { ...SETTINGS, ...settings },
      clock: this.clock,
      log: silentLog,
      metrics: this.metrics,
    })
    this.checker.health.watch(({ state, reason }) => {
      this.changes.push(reason === undefined ? state : `${state}: ${reason}`)
    })
  }
  get state(): string {
    return this.checker.health.get().state
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.checker[Symbol.asyncDispose]()
  }
}

test('asked at once, then every period; only changes are said', async () => {
  await using w = new Workload()
  assert.equal(w.state, 'unknown')
  w.checker.start()
  w.checker.start()
  await w.clock.advance(25_000)
  assert.deepEqual([w.askedMs, w.changes], [[0, 10_000, 20_000], ['healthy']])
  w.answer = new Error('connection refused')
  await w.clock.advance(20_000)
  w.answer = 'works'
  await w.clock.advance(10_000)
  assert.deepEqual(w.changes, ['healthy', 'unhealthy: connection refused', 'healthy'])
  assert.deepEqual(
    [
      w.metrics.total('mesh_workload_probes_total', { result: 'passed' }),
      w.metrics.total('mesh_workload_probes_total', { result: 'failed' }),
      w.metrics.total('mesh_workload_healthy'),
    ],
    [4, 2, 1],
  )
})

test('the initial delay comes first', async () => {
  await using w = new Workload({ initialDelaySeconds: 30 })
  w.checker.start()
  await w.clock.advance(29_999)
  assert.deepEqual([w.askedMs, w.state], [[], 'unknown'])
  await w.clock.advance(1)
  assert.deepEqual([w.askedMs, w.state], [[30_000], 'healthy'])
})

test('thresholds count answers in a row', async () => {
  await using w = new Workload({ successThreshold: 2, failureThreshold: 3, periodSeconds: 1 })
  w.checker.start()
  await w.clock.advance(0)
  assert.equal(w.state, 'unknown', 'one success of two')
  await w.clock.advance(1_000)
  assert.equal(w.state, 'healthy')
  w.answer = new Error('no')
  await w.clock.advance(2_000)
  w.answer = 'works'
  await w.clock.advance(1_000)
  w.answer = new Error('no')
  await w.clock.advance(2_000)
  assert.equal(w.state, 'healthy', 'never three failures in a row')
  await w.clock.advance(1_000)
  assert.equal(w.state, 'unhealthy')
})

test('no answer within the timeout is a failure, and nothing stays open', async () => {
  await using w = new Workload({ timeoutSeconds: 3 })
  w.answer = 'hangs'
  w.checker.start()
  await w.clock.advance(2_999)
  assert.deepEqual(w.changes, [])
  await w.clock.advance(1)
  assert.deepEqual([w.changes, w.aborted], [['unhealthy: no answer within 3 s'], 1])
  await w.clock.advance(7_000)
  assert.deepEqual(w.askedMs, [0, 10_000], 'the period counts from question to question')
})

test('a timeout longer than the period: one question at a time', async () => {
  await using w = new Workload({ timeoutSeconds: 5, periodSeconds: 2 })
  w.answer = 'hangs'
  w.checker.start()
  await w.clock.advance(11_000)
  assert.deepEqual(w.askedMs, [0, 5_001, 10_002])
})

test('a node that drains is unhealthy at once and asks no more', async () => {
  await using w = new Workload()
  w.checker.start()
  await w.clock.advance(0)
  w.checker.leave('meshlet drains')
  await w.clock.advance(60_000)
  assert.deepEqual([w.changes, w.askedMs], [['healthy', 'unhealthy: meshlet drains'], [0]])
})

test('what was never healthy has nothing to take back; what is stopped does not start', async () => {
  await using w = new Workload()
  w.checker.leave('meshlet drains')
  w.checker.start()
  await w.clock.advance(60_000)
  assert.deepEqual([w.changes, w.askedMs, w.clock.pendingTimers], [[], [], 0])
})

test('closing ends a question under way', async () => {
  const w = new Workload()
  w.answer = 'hangs'
  w.checker.start()
  await settle()
  await w[Symbol.asyncDispose]()
  assert.deepEqual([w.aborted, w.changes, w.clock.pendingTimers], [1, [], 0])
})

test('a reason is bounded: it goes to istiod', async () => {
  await using w = new Workload()
  w.answer = new Error('x'.repeat(100_000))
  w.checker.start()
  await w.clock.advance(0)
  assert.equal(w.checker.health.get().reason?.length, 300)
})
