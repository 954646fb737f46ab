/**
 * The agent's identity through its life: from disk at start, from the CA when there is none, renewed at half its life,
 * kept when the CA is away. A renewal concerns new handshakes only; open connections go on.
 */
import { createHash } from 'node:crypto'
import { computeBackoffMs, type Clock, type Random } from '../../core/os/clock.ts'
import { Current } from '../../core/current.ts'
import { toMeshError, type ErrorCode, type MeshError } from '../../core/errors.ts'
import { isExpired } from '../../core/pki/validity.ts'
import type { Log } from '../../core/log.ts'
import type { Family, Metrics } from '../../core/metrics.ts'
import type { Identity, IdentitySource } from '../../model/identity.ts'
import { Failures, retryBackoff } from '../ads/errors.ts'
import type { CertificateAuthority } from './ca-client.ts'
import type { KeyKind } from './csr.ts'
import { findOtherWorkload, rejectReplacement } from './fitness.ts'
import type { IdentityStore } from './identity-store.ts'
import { Renewal } from './renewal.ts'
import type { TimeFloor } from './time-floor.ts'
import type { Trust } from './trust.ts'
import { findValidityProblems } from './validity.ts'

/**
 * The clock may be set, the machine may have slept, the control plane may have refused us: all of that is looked at so
 * often.
 */
const LOOK_MS = 60_000
/**
 * While the certificate is valid no wait is longer than this part of what it has left, so that the end of a short
 * outage is not slept over.
 */
const RETRY_PART = 4
const MIN_RETRY_MS = 1_000
/** A certificate that is refused is replaced at most so often. */
const REPLACE_MS = 30_000

export type CertManagerOptions = {
  readonly store: IdentityStore
  readonly authority: CertificateAuthority
  readonly trust: Trust
  readonly floor: TimeFloor
  readonly spiffeUri: string
  readonly ttlSec: number
  readonly key: KeyKind
  /** The join token as it is now; looked at while the certificate is of another workload. */
  readonly token?: (() => string | undefined) | undefined
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
  /** Monotonic; when a certificate was last asked for because the one at hand was refused. */
  #replacedAtMs = -Infinity
  /** Ends the wait for the next request. */
  #nap = new AbortController()
  /** The next request is made with the token. */
  #byToken = false
  /** Hash of the token that was last answered; another one in the file may get another answer. */
  #triedToken: string | undefined

  /** Throws MESH_STATE_UNUSABLE or MESH_STATE_LOCKED when the stored identity may not or cannot be read. */
  constructor(options: CertManagerOptions) {
    this.#o = options
    this.#own = options.store.load()
    this.#current = new Current(this.#own && options.trust.complete(this.#own))
    if (this.#own) {
      this.#certified.resolve()
      options.floor.seen(this.#own.notBeforeMs)
    }
    this.#renewal = new Renewal(options)
    options.floor.onRaise(() => {
      this.#nap.abort()
    })
    this.#requests = options.metrics.counter(
      'mesh_identity_requests_total',
      'Certificate requests to the CA, by result.',
      ['result'],
    )
    options.metrics.gaugeOf(
      'mesh_identity_expires_seconds',
      'Seconds until the certificate expires; 0 without one.',
      () => {
        const identity = this.#current.get()
        return identity ? Math.round((identity.notAfterMs - options.floor.nowMs()) / 1000) : 0
      },
    )
  }

  current(): Identity | undefined {
    return this.#current.get()
  }
  watch(fn: (next: Identity) => void): Disposable {
    return this.#current.watch((next) => {
      if (next) fn(next)
    })
  }
  /** Resolves once there is an identity, from disk or from the CA. */
  get certified(): Promise<void> {
    return this.#certified.promise
  }
  /** Monotonic milliseconds of the next renewal or try. */
  get renewalAtMs(): number | undefined {
    return this.#own && !this.#error ? this.#renewal.dueAtMs : this.#nextLookMs
  }

  /** Everything that is wrong now, worst first. */
  problems(): readonly MeshError[] {
    const { clock, earliestWallMs, floor, trust } = this.#o
    const wrong = findValidityProblems(this.#current.get(), {
      wallMs: clock.wallMs(),
      earliestWallMs,
      floor,
      renewal: this.#error,
    })
    // The reason of an expired certificate stands in its text.
    const own = wrong.some((p) => p.code === 'MESH_IDENTITY_EXPIRED') || !this.#error ? [] : [this.#error]
    return [...wrong, ...own, this.#other, this.#ttlRefused, this.#storeError, ...trust.problems].filter(
      (p) => p !== undefined,
    )
  }

  /** Begins to request and renew; returns at once. */
  start(): void {
    this.#running = this.#run()
  }

  /**
   * The control plane does not take the certificate any more: a new one is asked for at once, with the token if there
   * is one.
   */
  certificateRefused(): void {
    // A control plane that takes none must not be asked for one in a loop.
    const nowMs = this.#o.clock.monotonicMs()
    if (nowMs - this.#replacedAtMs < REPLACE_MS) return
    this.#replacedAtMs = nowMs
    this.#byToken = true
    this.#nap.abort()
  }

  /** The trusted roots have changed, for new handshakes. */
  trustChanged(): void {
    if (this.#own) this.#put(this.#own)
  }

  /**
   * One request now, in force when it resolves, and stored unless the disk refuses. Rejects as CertificateAuthority
   * does.
   * @param certificateRefused the token counts, not the certificate at hand
   */
  async request(certificateRefused = false): Promise<Identity> {
    const { authority, spiffeUri, ttlSec, key, floor, log } = this.#o
    let token: string | undefined
    try {
      if (certificateRefused || !this.#own || isExpired(this.#own, floor.nowMs())) token = this.#tokenNow()
      const { identity, ttlRefused } = await authority({
        current: this.#current.get(),
        spiffeUri,
        ttlSec,
        key,
        certificateRefused,
      })
      const why = rejectReplacement(identity, this.#own, { spiffeUri, nowMs: floor.nowMs() })
      if (why) throw why
      this.#triedToken = token ?? this.#triedToken
      if (findOtherWorkload(identity, spiffeUri))
        log.warn(
          { evt: 'identity.other-name', asked: spiffeUri, got: identity.spiffeId.uri },
          'the CA knows us by another name than agent.yaml says',
        )
      if (ttlRefused && !this.#ttlRefused)
        log.warn({ evt: 'identity.ttl-refused', err: ttlRefused }, 'the CA gives its default life')
      this.#ttlRefused = ttlRefused
      this.#save(identity)
      this.#requests.cell({ result: 'ok' }).value++
      this.#error = undefined
      // The key is new, so the signature is: nothing says better how late it is.
      floor.seen(identity.notBeforeMs)
      this.#renewal.received(identity)
      this.#take(identity)
      log.info(
        {
          evt: 'identity.new',
          spiffeId: identity.spiffeId.uri,
          serial: identity.serial,
          notAfter: new Date(identity.notAfterMs).toISOString(),
        },
        'new certificate',
      )
      return identity
    } catch (thrown) {
      this.#requests.cell({ result: 'failed' }).value++
      this.#error = toMeshError(thrown)
      if (wasRejected(this.#error)) this.#triedToken = token ?? this.#triedToken
      throw thrown
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    await this.#running
  }

  #take(identity: Identity): void {
    this.#own = identity
    this.#put(identity)
    this.#certified.resolve()
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
      this.#o.log.warn(
        { evt: 'identity.not-stored', err: this.#storeError },
        'the new certificate serves, but a restart would not find it',
      )
    }
  }

  async #run(): Promise<void> {
    const { log } = this.#o
    const { signal } = this.#stop
    let failures = 0
    const attempts = new Failures()
    while (!signal.aborted) {
      this.#look()
      if (failures > 0 && this.#error) await this.#wait(this.#retryMs(this.#error, attempts))
      else await this.#due()
      if (signal.aborted) return
      const byToken = this.#byToken
      this.#byToken = false
      try {
        await this.request(byToken)
        failures = 0
        attempts.forget()
      } catch (thrown) {
        failures++
        const { code } = toMeshError(thrown)
        // Turn and turn about, as on the configuration stream: either may be the one that is accepted again first. What
        // was not looked at is shown again.
        if (wasRejected(toMeshError(thrown)))
          this.#byToken = !byToken && (code === 'MESH_CONTROL_UNAUTHENTICATED' || code === 'MESH_CONTROL_TLS')
        else this.#byToken ||= byToken
        if (signal.aborted) return
        log.warn(
          { evt: 'identity.request-failed', failures, err: toMeshError(thrown) },
          'no new certificate; the one at hand serves on',
        )
      }
    }
  }

  /** Resolves when it is time to renew, or at the end. */
  async #due(): Promise<void> {
    while (this.#own && !this.#stop.signal.aborted) {
      this.#look()
      const leftMs = this.#byToken || this.#hasNewToken() ? 0 : this.#renewal.leftMs(this.#own)
      if (leftMs <= 0) return
      await this.#wait(Math.min(Math.ceil(leftMs), LOOK_MS))
    }
  }

  /** Counts the try, but for one that a short life makes hurry: those after its end are not to be late for it. */
  #retryMs(error: MeshError, attempts: Failures): number {
    const { minMs, baseMs, capMs } = retryBackoff(error)
    const attempt = attempts.of(error) + 1
    const leftMs = (this.#own?.notAfterMs ?? 0) - this.#o.floor.nowMs()
    const hurryMs =
      leftMs > 0 && error.code !== 'MESH_CONTROL_SLOW_DOWN' ? Math.max(MIN_RETRY_MS, leftMs / RETRY_PART) : Infinity
    if (baseMs * 2 ** attempt < hurryMs) attempts.add(error)
    return minMs + computeBackoffMs(attempt, { baseMs, capMs: Math.min(capMs, hurryMs) }, this.#o.random)
  }

  async #wait(ms: number): Promise<void> {
    const { clock } = this.#o
    this.#nextLookMs = clock.monotonicMs() + ms
    this.#nap = new AbortController()
    try {
      await clock.sleep(ms, AbortSignal.any([this.#stop.signal, this.#nap.signal]))
    } catch {
      /* something has changed, or it is the end */
    }
  }

  #look(): void {
    this.#o.floor.tick()
    if (this.#o.trust.reread() === 'changed') this.trustChanged()
    this.#takeStored()
  }

  get #other(): MeshError | undefined {
    return this.#own && findOtherWorkload(this.#own, this.#o.spiffeUri)
  }

  /** `meshlet join` beside a running agent writes a certificate of its own: taken where ours is worth nothing. */
  #takeStored(): void {
    const { store, floor, spiffeUri, log } = this.#o
    const own = this.#own
    if (own && !isExpired(own, floor.nowMs()) && !this.#other && !(this.#error && wasRejected(this.#error))) return
    let stored: Identity | undefined
    // A problem of the file was reported when it was written, or will be at the next start.
    try {
      stored = store.peek()
    } catch {
      return
    }
    if (
      !stored ||
      stored.serial === own?.serial ||
      isExpired(stored, floor.nowMs()) ||
      findOtherWorkload(stored, spiffeUri)
    )
      return
    if (own && !this.#other && stored.notBeforeMs < own.notBeforeMs) return
    this.#error = undefined
    this.#take(stored)
    log.info(
      { evt: 'identity.joined', spiffeId: stored.spiffeId.uri, serial: stored.serial },
      'a certificate that was put beside us',
    )
  }

  /** The certificate is of another workload, and there is a token that has not been tried. */
  #hasNewToken(): boolean {
    if (!this.#other) return false
    const token = this.#tokenNow()
    if (token === undefined || token === this.#triedToken) return false
    this.#byToken = true
    return true
  }
  #tokenNow(): string | undefined {
    try {
      const token = this.#o.token?.()
      return token === undefined ? undefined : createHash('sha256').update(token).digest('hex')
    } catch {
      return undefined
    }
  }
}

/** Somebody looked at what we showed and did not want it; anything else says nothing about it. */
function wasRejected({ code }: MeshError): boolean {
  return REJECTED.has(code)
}
const REJECTED: ReadonlySet<ErrorCode> = new Set([
  'MESH_CONTROL_UNAUTHENTICATED',
  'MESH_CONTROL_FORBIDDEN',
  'MESH_CONTROL_TLS',
  'MESH_NO_IDENTITY',
  'MESH_TOKEN_INVALID',
  'MESH_CERTIFICATE_OTHER',
  'MESH_DEVICE_PENDING',
  'MESH_DEVICE_UNKNOWN',
  'MESH_DEVICE_REVOKED',
  'MESH_DEVICE_CLONED',
  'MESH_DEVICE_PROOF',
])
