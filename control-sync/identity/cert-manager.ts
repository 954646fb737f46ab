/**
 * The agent's identity through its life: from disk at start, from the CA when there is none, renewed at half its life, kept when the CA is
 * away. A renewal concerns new handshakes only; open connections go on.
 */
import { backoffMs, type Clock, type Random } from '../../agent/core/clock.ts'
import { Current } from '../../agent/core/current.ts'
import { toMeshError, type MeshError } from '../../agent/core/errors.ts'
import type { Log } from '../../agent/core/log.ts'
import type { Family, Metrics } from '../../agent/core/metrics.ts'
import type { Identity, IdentitySource } from '../../agent/model/identity.ts'
import { retryPace } from '../ads-errors.ts'
import type { CertificateAuthority } from './ca-client.ts'
import type { KeyKind } from './csr.ts'
import type { IdentityStore } from './identity-store.ts'
import { Renewal } from './renewal.ts'
import type { TimeFloor } from './time-floor.ts'
import type { Trust } from './trust.ts'
import { validityProblems } from './validity.ts'

/** The clock may be set, the machine may have slept, the control plane may have refused us: all of that is looked at so often. */
const LOOK_MS = 60_000

export type CertManagerOptions = {
  readonly store: IdentityStore
  readonly authority: CertificateAuthority
  readonly trust: Trust
  readonly floor: TimeFloor
  readonly spiffeUri: string
  readonly ttlSec: number
  readonly key: KeyKind
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
  readonly #renewal: Renewal
  readonly #stop = new AbortController()
  readonly #certified = Promise.withResolvers<void>()
  readonly #requests: Family<'result'>
  /** As it came from the CA; `#current` is with everything that it is to trust. */
  #own: Identity | undefined
  #running: Promise<void> = Promise.resolve()
  #error: MeshError | undefined
  #ttlRefused: MeshError | undefined
  #storeError: MeshError | undefined
  #nextLookMs = 0
  /** Ends the wait for the next request. */
  #nap = new AbortController()
  /** The next request is made with the token. */
  #byToken = false

  /** Throws MESH_STATE_UNUSABLE or MESH_STATE_LOCKED when the stored identity may not or cannot be read. */
  constructor(options: CertManagerOptions) {
    this.#o = options
    this.#own = options.store.load()
    this.#current = new Current(this.#own && options.trust.complete(this.#own))
    if (this.#own) { this.#certified.resolve(); options.floor.seen(this.#own.notBeforeMs) }
    this.#renewal = new Renewal(options)
    options.floor.onRaise(() => { this.#nap.abort() })
    this.#requests = options.metrics.counter('mesh_identity_requests_total', 'Certificate requests to the CA, by result.', ['result'])
    options.metrics.gaugeOf('mesh_identity_expires_seconds', 'Seconds until the certificate expires; 0 without one.', () => {
      const identity = this.#current.get()
      return identity ? Math.round((identity.notAfterMs - options.floor.nowMs()) / 1000) : 0
    })
  }

  current(): Identity | undefined { return this.#current.get() }
  watch(fn: (next: Identity) => void): Disposable { return this.#current.watch((next) => { if (next) fn(next) }) }
  /** Resolves once there is an identity, from disk or from the CA. */
  get certified(): Promise<void> { return this.#certified.promise }
  /** Monotonic milliseconds of the next renewal or try. */
  get renewalAtMs(): number | undefined { return this.#own && !this.#error ? this.#renewal.dueAtMs : this.#nextLookMs }

  /** Everything that is wrong now, worst first. */
  problems(): readonly MeshError[] {
    const { clock, earliestWallMs, floor, trust } = this.#o
    const wrong = validityProblems(this.#current.get(), { wallMs: clock.wallMs(), earliestWallMs, floor, renewal: this.#error })
    // The reason of an expired certificate stands in its text.
    const own = wrong.some((p) => p.code === 'MESH_IDENTITY_EXPIRED') || !this.#error ? [] : [this.#error]
    return [...wrong, ...own, this.#ttlRefused, this.#storeError, ...trust.problems].filter((p) => p !== undefined)
  }

  /** Begins to request and renew; returns at once. */
  start(): void { this.#running = this.#run() }

  /** The control plane does not take the certificate any more: a new one is asked for at once, with the token if there is one. */
  certificateRefused(): void {
    this.#byToken = true
    this.#nap.abort()
  }

  /** What is trusted has changed: new handshakes go by it. */
  trustChanged(): void { if (this.#own) this.#put(this.#own) }

  /**
   * One request now, in force when it resolves, and stored unless the disk refuses. Rejects as CertificateAuthority does.
   * @param certificateRefused the token counts, not the certificate at hand
   */
  async request(certificateRefused = false): Promise<Identity> {
    const { authority, spiffeUri, ttlSec, key, floor, log } = this.#o
    try {
      const { identity, ttlRefused } = await authority({ current: this.#current.get(), spiffeUri, ttlSec, key, certificateRefused })
      if (!sameWorkload(identity.spiffeId.uri, spiffeUri)) log.warn({ evt: 'identity.other-name', asked: spiffeUri, got: identity.spiffeId.uri }, 'the CA knows us by another name than agent.yaml says')
      if (ttlRefused && !this.#ttlRefused) log.warn({ evt: 'identity.ttl-refused', err: ttlRefused }, 'the CA gives its default life')
      this.#ttlRefused = ttlRefused
      this.#save(identity)
      this.#requests.cell({ result: 'ok' }).value++
      this.#error = undefined
      // The key is new, so the signature is: nothing says better how late it is.
      floor.seen(identity.notBeforeMs)
      this.#renewal.received(identity)
      this.#own = identity
      this.#put(identity)
      this.#certified.resolve()
      log.info({ evt: 'identity.new', spiffeId: identity.spiffeId.uri, serial: identity.serial, notAfter: new Date(identity.notAfterMs).toISOString() }, 'new certificate')
      return identity
    } catch (thrown) {
      this.#requests.cell({ result: 'failed' }).value++
      this.#error = toMeshError(thrown)
      throw thrown
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    await this.#running
  }

  #put(own: Identity): void {
    const next = this.#o.trust.complete(own)
    if (next !== this.#current.get()) this.#current.swap(next)
  }

  /** A certificate that cannot be written down serves all the same; after a restart the one before does. */
  #save(identity: Identity): void {
    try {
      this.#o.store.save(identity)
      this.#storeError = undefined
    } catch (thrown) {
      this.#storeError = toMeshError(thrown)
      this.#o.log.warn({ evt: 'identity.not-stored', err: this.#storeError }, 'the new certificate serves, but a restart would not find it')
    }
  }

  async #run(): Promise<void> {
    const { random, log } = this.#o
    const { signal } = this.#stop
    let failures = 0
    while (!signal.aborted) {
      this.#look()
      if (failures > 0 && this.#error) await this.#wait(backoffMs(failures, retryPace(this.#error), random))
      else await this.#due()
      if (signal.aborted) return
      const byToken = this.#byToken
      this.#byToken = false
      try {
        await this.request(byToken)
        failures = 0
      } catch (thrown) {
        failures++
        const { code } = toMeshError(thrown)
        // Turn and turn about, as on the configuration stream: either may be the one that is accepted again first.
        this.#byToken = !byToken && (code === 'MESH_CONTROL_UNAUTHENTICATED' || code === 'MESH_CONTROL_TLS')
        if (signal.aborted) return
        log.warn({ evt: 'identity.request-failed', failures, err: toMeshError(thrown) }, 'no new certificate; the one at hand serves on')
      }
    }
  }

  /** Resolves when it is time to renew, or at the end. */
  async #due(): Promise<void> {
    while (this.#own && !this.#stop.signal.aborted) {
      this.#look()
      const leftMs = this.#byToken ? 0 : this.#renewal.leftMs(this.#own)
      if (leftMs <= 0) return
      await this.#wait(Math.min(Math.ceil(leftMs), LOOK_MS))
    }
  }

  async #wait(ms: number): Promise<void> {
    const { clock } = this.#o
    this.#nextLookMs = clock.monotonicMs() + ms
    this.#nap = new AbortController()
    try { await clock.sleep(ms, AbortSignal.any([this.#stop.signal, this.#nap.signal])) } catch { /* something has changed, or it is the end */ }
  }

  #look(): void {
    this.#o.floor.tick()
    if (this.#o.trust.reread() === 'changed') this.trustChanged()
  }
}

/** The trust domain is the CA's to say; namespace and service account are what agent.yaml claims. */
function sameWorkload(a: string, b: string): boolean {
  return a.slice(a.indexOf('/', 9)) === b.slice(b.indexOf('/', 9))
}
