/**
 * Asks the workload again and again, and says when the answer has changed for good (istio
 * pkg/istio-agent/health/health_check.go).
 */
import type { Clock } from '../../core/os/clock.ts'
import { Current } from '../../core/current.ts'
import { MeshError } from '../../core/errors.ts'
import { guard } from '../../core/defects/guard.ts'
import type { Log } from '../../core/log.ts'
import type { Family, Metrics } from '../../core/metrics.ts'
import type { ReadinessProbe, WorkloadHealth } from '../../model/readiness-probe.ts'
import type { Probe } from './probe.ts'

export type CheckerOptions = {
  readonly probe: Probe
  readonly settings: ReadinessProbe
  readonly clock: Clock
  readonly log: Log
  readonly metrics: Metrics
}

/** Goes into a log line, into `meshlet status` and to istiod. */
const MAX_REASON_CHARS = 300

export class HealthChecker implements AsyncDisposable {
  readonly health: Current<WorkloadHealth>
  readonly #o: CheckerOptions
  readonly #probes: Family<'result'>
  readonly #stop = new AbortController()
  #running: Promise<void> = Promise.resolve()
  #asking: AbortController | undefined
  #successes = 0
  #failures = 0

  constructor(options: CheckerOptions) {
    this.#o = options
    this.health = new Current<WorkloadHealth>({
      state: 'unknown',
      reason: undefined,
      sinceMs: options.clock.monotonicMs(),
    })
    this.#probes = options.metrics.counter(
      'mesh_workload_probes_total',
      'Readiness probes of the workload, by result.',
      ['result'],
    )
    options.metrics.gaugeOf('mesh_workload_healthy', '1 while the workload answers its readiness probe.', () =>
      this.health.get().state === 'healthy' ? 1 : 0,
    )
  }

  get what(): string {
    return this.#o.probe.what
  }

  /** Begins with the initial delay. A second call does nothing. */
  start(): void {
    if (!this.#asking && !this.#stop.signal.aborted) {
      this.#asking = new AbortController()
      this.#running = this.#run()
    }
  }
  /** Unhealthy from now on, whatever the workload would say. */
  leave(reason: string): void {
    this.#end()
    if (this.health.get().state === 'healthy') this.#become('unhealthy', reason)
  }
  async [Symbol.asyncDispose](): Promise<void> {
    this.#end()
    await this.#running
  }

  #end(): void {
    this.#stop.abort()
    this.#asking?.abort()
  }

  async #run(): Promise<void> {
    const { clock, settings } = this.#o
    const stop = this.#stop.signal
    for (let waitMs = settings.initialDelaySeconds * 1000; ;) {
      if (waitMs > 0) await clock.sleep(waitMs, stop).catch(() => undefined)
      if (stop.aborted) return
      const askedMs = clock.monotonicMs()
      const failure = await this.#ask()
      if (stop.aborted) return
      this.#count(failure)
      waitMs = Math.max(1, settings.periodSeconds * 1000 - (clock.monotonicMs() - askedMs))
    }
  }

  /**
   * What speaks against the workload; undefined when it works. Never rejects, and takes no longer than timeoutSeconds.
   */
  async #ask(): Promise<string | undefined> {
    const { clock, settings, probe } = this.#o
    const asking = (this.#asking = new AbortController())
    const late = clock.after(settings.timeoutSeconds * 1000, () =>
      asking.abort(new MeshError('MESH_PROBE_FAILED', `no answer within ${settings.timeoutSeconds} s`)),
    )
    try {
      await new Promise<void>((resolve, reject) => {
        asking.signal.addEventListener(
          'abort',
          guard('health', reject, () => reject(asking.signal.reason)),
          { once: true },
        )
        probe.ask(asking.signal).then(resolve, reject)
      })
      return undefined
    } catch (thrown) {
      return (
        (thrown instanceof Error ? thrown.message : String(thrown)).slice(0, MAX_REASON_CHARS) ||
        'failed without a word'
      )
    } finally {
      late.cancel()
    }
  }

  #count(failure: string | undefined): void {
    const { settings } = this.#o
    const { state } = this.health.get()
    this.#probes.cell({ result: failure === undefined ? 'passed' : 'failed' }).value++
    this.#successes = failure === undefined ? this.#successes + 1 : 0
    this.#failures = failure === undefined ? 0 : this.#failures + 1
    if (this.#successes >= settings.successThreshold && state !== 'healthy') this.#become('healthy', undefined)
    if (this.#failures >= settings.failureThreshold && state !== 'unhealthy') this.#become('unhealthy', failure)
  }

  #become(state: 'healthy' | 'unhealthy', reason: string | undefined): void {
    const { clock, log, probe } = this.#o
    if (state === 'healthy') log.info({ evt: 'workload.healthy', probe: probe.what }, 'the workload answers')
    else
      log.warn(
        { evt: 'workload.unhealthy', code: 'MESH_PROBE_FAILED', probe: probe.what, reason },
        'the workload does not answer as it should',
      )
    this.health.swap({ state, reason, sinceMs: clock.monotonicMs() })
  }
}
