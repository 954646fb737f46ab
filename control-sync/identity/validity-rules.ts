/**
 * What goes on when certificates have expired while the control plane is away (agent.yaml `identity.expired`), and by
 * which time they are checked.
 */
import { MeshError } from '../../core/errors.ts'
import { checkExpiry, isExpired, type Expiring } from '../../core/pki/validity.ts'
import type { Log } from '../../core/log.ts'
import type { Family, Metrics } from '../../core/metrics.ts'
import type { Identity, PeerVerification, CertificatesUsed, ValidityRules } from '../../model/identity.ts'
import type { TimeFloor } from './time-floor.ts'

export type ExpiredSettings = {
  /**
   * `strict`: no mTLS after NotAfter. `site-grace`: peers accept each other for `graceHours` more while the control
   * plane is away. `serve-local`: nothing but what stays on this machine.
   */
  readonly mode: 'strict' | 'site-grace' | 'serve-local'
  readonly graceHours: number
  /** Besides our own. */
  readonly trustDomains: readonly string[]
  /**
   * Connections that are open when our certificate expires `end`, or are `keep`t as Envoy does; `end-with-peer`: also
   * when the one expires that the peer showed.
   */
  readonly openConnections: 'end' | 'end-with-peer' | 'keep'
  /** From there to when what is still under way is cut. */
  readonly endWithinMs: number
}
export type ValidityRulesOptions = {
  readonly settings: ExpiredSettings
  readonly floor: TimeFloor
  readonly identity: () => Identity | undefined
  /** True while the control plane answers: then there is no reason for grace. */
  readonly connected: () => boolean
  readonly log: Log
  readonly metrics: Metrics
}

/** A certificate that ends a connection, and what is then said. */
type Bound = { readonly dates: Expiring; readonly graceMs: number; readonly why: () => MeshError }

const HOUR_MS = 3_600_000

export function createValidityRules(
  options: ValidityRulesOptions,
): ValidityRules & { problem(): MeshError | undefined } {
  return new Rules(options)
}

class Rules implements ValidityRules {
  readonly endWithinMs: number
  readonly #o: ValidityRulesOptions
  readonly #graceMs: number
  readonly #inGrace: Family<'peer'>

  constructor(options: ValidityRulesOptions) {
    const { settings, floor, metrics } = options
    this.#o = options
    this.endWithinMs = settings.endWithinMs
    this.#graceMs = settings.graceHours * HOUR_MS
    this.#inGrace = metrics.counter(
      'mesh_identity_grace_total',
      'Connections with a peer whose certificate had expired (identity.expired.mode site-grace), by what the peer was.',
      ['peer'],
    )
    metrics.gaugeOf(
      'mesh_identity_clock_wrong',
      '1 while the clock shows less than the time that certificates prove.',
      () => (floor.clockIsWrong ? 1 : 0),
    )
  }

  refusal(): MeshError | undefined {
    const own = this.#expired()
    if (!own || checkExpiry(own, this.#o.floor.nowMs(), this.#grace()).state !== 'expired') return undefined
    return this.#ended(own)
  }
  onlyLocal(): MeshError | undefined {
    const own = this.#o.settings.mode === 'serve-local' ? this.#expired() : undefined
    return own && onlyLocal(own)
  }
  checkValidity(certificates: CertificatesUsed): ReturnType<ValidityRules['checkValidity']> {
    let leftMs = Infinity
    const { peer } = certificates
    if (peer?.serial !== undefined && this.#o.identity()?.revoked?.has(peer.serial) === true)
      return { state: 'ended', reason: peerRevoked(peer) }
    if (this.#o.settings.openConnections === 'keep') return { state: 'valid', leftMs }
    const nowMs = this.#o.floor.nowMs()
    for (const { dates, graceMs, why } of this.#bounds(certificates)) {
      const expiry = checkExpiry(dates, nowMs, graceMs)
      if (expiry.state === 'expired') return { state: 'ended', reason: why() }
      leftMs = Math.min(leftMs, expiry.leftMs)
    }
    return { state: 'valid', leftMs }
  }
  peerVerification(): PeerVerification | undefined {
    const { floor, identity } = this.#o
    const graceMs = this.#grace()
    const { clockIsWrong } = floor
    if (!clockIsWrong && graceMs === 0) return undefined
    const own = identity()
    return {
      nowMs: floor.nowMs(),
      clock: clockIsWrong ? 'lower-bound' : 'right',
      graceMs,
      graceTrustDomains: own ? this.#siteDomains(own) : [],
    }
  }
  accepted({ side, notBeforeMs, expiredMs, spiffeUri }: Parameters<ValidityRules['accepted']>[0]): void {
    this.#o.floor.seen(notBeforeMs)
    if (expiredMs === 0) return
    this.#inGrace.cell({ peer: side }).value++
    this.#o.log.warn(
      { evt: 'identity.grace', peer: spiffeUri, side, expiredSec: Math.round(expiredMs / 1000) },
      'a peer of the site was accepted with an expired certificate',
    )
  }
  /** What status adds to the expired certificate. */
  problem(): MeshError | undefined {
    const own = this.#o.identity()
    const graceMs = this.#grace()
    if (!own || checkExpiry(own, this.#o.floor.nowMs(), graceMs).state !== 'grace') return undefined
    return new MeshError(
      'MESH_IDENTITY_GRACE',
      `expired certificates of ${this.#siteDomains(own).join(', ')} count until ${new Date(own.notAfterMs + graceMs).toISOString()}`,
    )
  }

  /** The certificates that one connection rests on. */
  *#bounds({ usesIdentity, peer, byMeshRoots, staysHere }: CertificatesUsed): Generator<Bound> {
    const { settings, identity } = this.#o
    const own = identity()
    const graceMs = this.#grace()
    if (own && usesIdentity) yield { dates: own, graceMs, why: () => this.#ended(own) }
    if (own && settings.mode === 'serve-local' && !staysHere)
      yield { dates: own, graceMs: 0, why: () => onlyLocal(own) }
    // The peer has most likely renewed it since, as we do: a connection outlives the renewals of both sides unless it
    // is wanted otherwise.
    if (!peer || settings.openConnections !== 'end-with-peer') return
    const inGrace = own && byMeshRoots && peer.spiffeId && this.#siteDomains(own).includes(peer.spiffeId.trustDomain)
    yield { dates: peer, graceMs: inGrace ? graceMs : 0, why: () => peerExpired(peer) }
  }

  /** Milliseconds by which an expired certificate of the site still counts now. */
  #grace(): number {
    return this.#o.settings.mode === 'site-grace' && !this.#o.connected() ? this.#graceMs : 0
  }
  /** Our identity, once it has expired. */
  #expired(): Identity | undefined {
    const own = this.#o.identity()
    return own && isExpired(own, this.#o.floor.nowMs()) ? own : undefined
  }
  /** Trust domains whose expired certificates count in grace. */
  #siteDomains(own: Identity): readonly string[] {
    return [own.spiffeId.trustDomain, ...this.#o.settings.trustDomains]
  }
  #ended(own: Identity): MeshError {
    return new MeshError(
      'MESH_IDENTITY_EXPIRED',
      `our certificate expired at ${endOf(own)} and is used no more (identity.expired.mode ${this.#o.settings.mode})`,
    )
  }
}

function onlyLocal(own: Identity): MeshError {
  return new MeshError(
    'MESH_IDENTITY_EXPIRED',
    `our certificate expired at ${endOf(own)}; only what stays on this machine is carried (identity.expired.mode serve-local)`,
  )
}

function peerRevoked(peer: NonNullable<CertificatesUsed['peer']>): MeshError {
  return new MeshError(
    'MESH_PEER_REVOKED',
    `the certificate of ${(peer.spiffeId?.uri ?? peer.subject).slice(0, 256)} was revoked while the connection was open`,
  )
}

function peerExpired(peer: NonNullable<CertificatesUsed['peer']>): MeshError {
  return new MeshError(
    'MESH_PEER_EXPIRED',
    `the certificate of ${(peer.spiffeId?.uri ?? peer.subject).slice(0, 256)} expired at ${endOf(peer)} while the connection was open`,
  )
}

function endOf({ notAfterMs }: { readonly notAfterMs: number }): string {
  return new Date(notAfterMs).toISOString()
}
