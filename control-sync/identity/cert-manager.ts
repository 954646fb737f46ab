/**
 * The agent's identity through its life: from disk at start, from the CA when there is none, renewed at half its life, kept when the CA is
 * away. A renewal concerns new handshakes only; open connections go on.
 */
import { backoffMs, jitteredMs, type Clock, type Random } from '../../agent/core/clock.ts'
import { Current } from '../../agent/core/current.ts'
import { type MeshError, toMeshError } from '../../agent/core/errors.ts'
import type { Log } from '../../agent/core/log.ts'
import type { Family, Metrics } from '../../agent/core/metrics.ts'
import type { Identity, IdentitySource } from '../../agent/model/identity.ts'
import { retryPace } from '../ads-errors.ts'
import type { CertificateAuthority } from './ca-client.ts'
import type { IdentityStore } from './identity-store.ts'
import { validityProblem } from './validity.ts'

/** Istio: SECRET_GRACE_PERIOD_RATIO 0.5, jitter 0.01; a little more spread for fleets that boot together. */
const RENEW_AT = { fraction: 0.5, spread: 0.05 }
/** A certificate without a life to speak of must not make us ask in a loop. */
const MIN_RENEWAL_MS = 1_000

export type CertManagerOptions = {
  readonly store: IdentityStore
  readonly authority: CertificateAuthority
  readonly spiffeUri: string
  readonly ttlSec: number
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly metrics: Metrics
  /** No clock that shows an earlier time can be right (date of the build); undefined in development. */
  readonly earliestWallMs: number | undefined
}

export class CertManager implements IdentitySource, AsyncDisposable {
  readonly #o: CertManagerOptions
  readonly #current: Current<Identity | undefined>
  readonly #stop = new AbortController()
  readonly #certified = Promise.withResolvers<void>()
  readonly #renewals: Family<'result'>
  #running: Promise<void> = Promise.resolve()
  #error: MeshError | undefined
  #renewalAtMs: number | undefined
  /** Ends the wait for the next request. */
  #wake = new AbortController()
  #certificateRefused = false

  /** Throws MESH_STATE_UNUSABLE when the stored identity may not be read. */
  constructor(options: CertManagerOptions) {
    this.#o = options
    this.#current = new Current(options.store.load())
    if (this.#current.get()) this.#certified.resolve()
    this.#renewals = options.metrics.counter('mesh_identity_requests_total', 'Certificate requests to the CA, by result.', ['result'])
    options.metrics.gaugeOf('mesh_identity_expires_seconds', 'Seconds until the certificate expires; 0 without one.', () => {
      const identity = this.#current.get()
      return identity ? Math.round((identity.notAfterMs - options.clock.wallMs()) / 1000) : 0
    })
  }

  current(): Identity | undefined { return this.#current.get() }
  watch(fn: (next: Identity) => void): Disposable { return this.#current.watch((next) => { if (next) fn(next) }) }
  /** Resolves once there is an identity, from disk or from the CA. */
  get certified(): Promise<void> { return this.#certified.promise }
  /** Monotonic milliseconds of the next renewal. */
  get renewalAtMs(): number | undefined { return this.#renewalAtMs }

  /** What is wrong now. */
  problem(): MeshError | undefined {
    const { clock, earliestWallMs } = this.#o
    return validityProblem(this.#current.get(), { wallMs: clock.wallMs(), earliestWallMs, renewal: this.#error }) ?? this.#error
  }

  /** Begins to request and renew; returns at once. */
  start(): void { this.#running = this.#run() }

  /** The control plane does not take the certificate any more: a new one is asked for at once, with the token if there is one. */
  certificateRefused(): void {
    this.#certificateRefused = true
    this.#wake.abort()
  }

  /** One request now, stored and in force when it resolves. Rejects as CertificateAuthority does, or with MESH_STATE_UNUSABLE. */
  async request(certificateRefused = false): Promise<Identity> {
    const { authority, store, spiffeUri, ttlSec, log } = this.#o
    try {
      const next = await authority({ current: this.#current.get(), spiffeUri, ttlSec, certificateRefused })
      if (!sameWorkload(next.spiffeId.uri, spiffeUri)) log.warn({ evt: 'identity.other-name', asked: spiffeUri, got: next.spiffeId.uri }, 'the CA knows us by another name than agent.yaml says')
      store.save(next)
      this.#renewals.cell({ result: 'ok' }).value++
      this.#error = undefined
      this.#certificateRefused = false
      this.#current.swap(next)
      this.#certified.resolve()
      log.info({ evt: 'identity.new', spiffeId: next.spiffeId.uri, serial: next.serial, notAfter: new Date(next.notAfterMs).toISOString() }, 'new certificate')
      return next
    } catch (thrown) {
      this.#renewals.cell({ result: 'failed' }).value++
      this.#error = toMeshError(thrown)
      throw thrown
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    await this.#running
  }

  async #run(): Promise<void> {
    const { clock, random, log } = this.#o
    const { signal } = this.#stop
    let failures = 0
    while (!signal.aborted) {
      const waitMs = failures > 0 && this.#error ? backoffMs(failures, retryPace(this.#error), random) : this.#untilRenewalMs()
      this.#renewalAtMs = clock.monotonicMs() + waitMs
      this.#wake = new AbortController()
      try { await clock.sleep(waitMs, AbortSignal.any([signal, this.#wake.signal])) } catch { /* to be asked now, or the end */ }
      if (signal.aborted) return
      const byToken = this.#certificateRefused
      this.#certificateRefused = false
      try {
        await this.request(byToken)
        failures = 0
      } catch (thrown) {
        failures++
        // Turn and turn about, as on the configuration stream.
        this.#certificateRefused = !byToken && toMeshError(thrown).code === 'MESH_CONTROL_UNAUTHENTICATED'
        if (signal.aborted) return
        log.warn({ evt: 'identity.request-failed', failures, err: toMeshError(thrown) }, 'no new certificate; the one at hand serves on')
      }
    }
  }

  /** By what is left of the certificate's life and not by its dates alone: a clock that jumps must not start a storm. */
  #untilRenewalMs(): number {
    const identity = this.#current.get()
    if (!identity) return 0
    const { clock, random } = this.#o
    const lifeMs = identity.notAfterMs - identity.notBeforeMs
    const ageMs = Math.min(lifeMs, Math.max(0, clock.wallMs() - identity.notBeforeMs))
    return Math.max(MIN_RENEWAL_MS, jitteredMs(lifeMs, RENEW_AT, random) - ageMs)
  }
}

/** The trust domain is the CA's to say; namespace and service account are what agent.yaml claims. */
function sameWorkload(a: string, b: string): boolean {
  return a.slice(a.indexOf('/', 9)) === b.slice(b.indexOf('/', 9))
}
