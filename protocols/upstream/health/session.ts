/** One host that is asked again and again. */
import { MeshError, toMeshError } from '../../../core/errors.ts'
import { detach, doNothing, guard } from '../../../core/defects/guard.ts'
import type { Clock, Random, Timer } from '../../../core/os/clock.ts'
import type { HealthCheck } from '../../../model/http/health-check.ts'
import { isOurDoing } from '../../tls/client.ts'
import type { Host } from '../host.ts'
import type { Asker } from './ask.ts'
import type { CheckBudget } from './budget.ts'
import { computeWaitMs, recordVerdict, type Change, type Progress, type Verdict } from './progress.ts'

/** Goes into log lines and `meshlet status`. */
const MAX_REASON_CHARS = 200
/** Until what is missing may be there. */
const OWN_FAILURE_MS = 1_000

export type SessionOptions = {
  readonly host: Host
  readonly check: HealthCheck
  readonly asker: Asker
  readonly progress: Progress
  readonly budget: CheckBudget
  readonly clock: Clock
  readonly random: Random
  /** The cluster has had traffic. */
  readonly wasUsed: () => boolean
  readonly told: (host: Host, verdict: Verdict | undefined, change: Change) => void
}

export class CheckSession implements Disposable {
  readonly #o: SessionOptions
  readonly #stop = new AbortController()
  #timer: Timer | undefined
  /** Waits for its turn. */
  #turn: Disposable | undefined
  /** What the last failure was. */
  reason: string | undefined
  /** There was an answer, or it was tried to get one. */
  wasAsked: boolean

  constructor(options: SessionOptions) {
    this.#o = options
    this.wasAsked = !options.progress.isFirst
  }

  get progress(): Progress {
    return this.#o.progress
  }

  /** @param withinMs the first question comes at some moment of these */
  start(withinMs: number): void {
    this.#wait(withinMs * this.#o.random.float())
  }
  [Symbol.dispose](): void {
    this.#stop.abort(new MeshError('MESH_DRAINING', 'nobody asks any more'))
    this.#timer?.cancel()
    this.#turn?.[Symbol.dispose]()
    this.#o.asker[Symbol.dispose]()
  }

  /** By its own word in an answer to somebody else. */
  failPassively(): void {
    this.#record({
      kind: 'failed',
      by: 'passive',
      isRetriable: false,
      excludes: true,
      reason: 'it said so (x-envoy-immediate-health-check-fail)',
    })
  }

  #wait(ms: number): void {
    this.#timer = this.#o.clock.after(ms, () => this.#begin())
  }
  #begin(): void {
    this.#turn = this.#o.budget.take(this.#o.check, (turn) => detach('health', this.#ask(turn)))
  }

  async #ask(turn: Disposable): Promise<void> {
    const verdict = await this.#askInTime().finally(() => turn[Symbol.dispose]())
    if (this.#stop.signal.aborted) return
    this.wasAsked = true
    const { check, random, wasUsed } = this.#o
    if (!verdict) {
      this.#wait(Math.min(OWN_FAILURE_MS, check.intervals.healthyMs))
      told(this.#o, undefined, 'none')
      return
    }
    const change = this.#record(verdict)
    const chance = (): number => random.float()
    this.#wait(computeWaitMs(check.intervals, { verdict, change }, { wasUsed: wasUsed(), chance }))
  }

  /** Never rejects. @returns undefined: what is missing is ours, such as a certificate, and says nothing of the host */
  async #askInTime(): Promise<Verdict | undefined> {
    const { clock, check, asker } = this.#o
    const late = new AbortController()
    const timer = clock.after(check.timeoutMs, () => {
      late.abort(new MeshError('MESH_PROBE_FAILED', `no answer within ${check.timeoutMs} ms`))
    })
    const signal = AbortSignal.any([late.signal, this.#stop.signal])
    const over = new AbortController()
    const aborted = Promise.withResolvers<never>()
    signal.addEventListener(
      'abort',
      guard('health', aborted.reject, () => aborted.reject(signal.reason)),
      { once: true, signal: over.signal },
    )
    try {
      return await Promise.race([asker.ask(signal), aborted.promise])
    } catch (thrown) {
      const error = toMeshError(thrown)
      if (isOurDoing(error) || error.code === 'MESH_NO_IDENTITY') return undefined
      const reason = error.message
      return { kind: 'failed', by: 'network', isRetriable: false, excludes: false, reason }
    } finally {
      over.abort()
      timer.cancel()
    }
  }

  #record(verdict: Verdict): Change {
    const change = recordVerdict(this.#o.progress, verdict, this.#o.check)
    this.reason = verdict.kind === 'failed' ? verdict.reason.slice(0, MAX_REASON_CHARS) : undefined
    told(this.#o, verdict, change)
    return change
  }
}

/** Whoever is told has their own defects: the next question comes. */
const told = guard('health', doNothing, (o: SessionOptions, verdict: Verdict | undefined, change: Change) => {
  o.told(o.host, verdict, change)
})
