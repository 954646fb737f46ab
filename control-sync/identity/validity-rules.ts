/**
 * What goes on when certificates have expired while the control plane is away (agent.yaml `identity.expired`), and by
 * which time that is checked.
 */
import { MeshError } from '../../core/errors.ts'
import { checkExpiry, isExpired, type Expiring } from '../../core/pki/validity.ts'
import type { Log } from '../../core/log.ts'
import type { Metrics } from '../../core/metrics.ts'
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

export function validityRules({
  settings,
  floor,
  identity,
  connected,
  log,
  metrics,
}: ValidityRulesOptions): ValidityRules & { problem(): MeshError | undefined } {
  const inGrace = metrics.counter(
    'mesh_identity_grace_total',
    'Connections with a peer whose certificate had expired (identity.expired.mode site-grace), by what the peer was.',
    ['peer'],
  )
  metrics.gaugeOf(
    'mesh_identity_clock_wrong',
    '1 while the clock shows less than the time that certificates prove.',
    () => (floor.clockIsWrong ? 1 : 0),
  )
  const graceMs = settings.graceHours * HOUR_MS
  const graceNow = (): number => (settings.mode === 'site-grace' && !connected() ? graceMs : 0)
  const expired = (): Identity | undefined => {
    const own = identity()
    return own && isExpired(own, floor.nowMs()) ? own : undefined
  }
  const domains = (own: Identity): readonly string[] => [own.spiffeId.trustDomain, ...settings.trustDomains]
  const ended = (own: Identity): MeshError =>
    new MeshError(
      'MESH_IDENTITY_EXPIRED',
      `our certificate expired at ${at(own)} and is used no more (identity.expired.mode ${settings.mode})`,
    )
  const onlyLocal = (own: Identity): MeshError =>
    new MeshError(
      'MESH_IDENTITY_EXPIRED',
      `our certificate expired at ${at(own)}; only what stays on this machine is carried (identity.expired.mode serve-local)`,
    )

  /** The bounds of one connection, each with what ends it. */
  function* bounds({ usesIdentity, peer, byMeshRoots, staysHere }: CertificatesUsed): Generator<Bound> {
    const own = identity()
    const grace = graceNow()
    if (own && usesIdentity) yield { dates: own, graceMs: grace, why: () => ended(own) }
    if (own && settings.mode === 'serve-local' && !staysHere)
      yield { dates: own, graceMs: 0, why: () => onlyLocal(own) }
    // The peer has most likely renewed it since, as we do: a connection outlives the renewals of both sides unless it
    // is wanted otherwise.
    if (!peer || settings.openConnections !== 'end-with-peer') return
    const inGrace = own && byMeshRoots && peer.spiffeId && domains(own).includes(peer.spiffeId.trustDomain)
    yield {
      dates: peer,
      graceMs: inGrace ? grace : 0,
      why: () =>
        new MeshError(
          'MESH_PEER_EXPIRED',
          `the certificate of ${(peer.spiffeId?.uri ?? peer.subject).slice(0, 256)} expired at ${at(peer)} while the connection was open`,
        ),
    }
  }
  return {
    endWithinMs: settings.endWithinMs,
    refusal() {
      const own = expired()
      return own && checkExpiry(own, floor.nowMs(), graceNow()).state === 'expired' ? ended(own) : undefined
    },
    onlyLocal() {
      const own = settings.mode === 'serve-local' ? expired() : undefined
      return own && onlyLocal(own)
    },
    checkValidity(certificates) {
      let leftMs = Infinity
      if (settings.openConnections === 'keep') return { state: 'valid', leftMs }
      const nowMs = floor.nowMs()
      for (const { dates, graceMs, why } of bounds(certificates)) {
        const expiry = checkExpiry(dates, nowMs, graceMs)
        if (expiry.state === 'expired') return { state: 'ended', reason: why() }
        leftMs = Math.min(leftMs, expiry.leftMs)
      }
      return { state: 'valid', leftMs }
    },
    peerVerification(): PeerVerification | undefined {
      const grace = graceNow()
      const { clockIsWrong } = floor
      if (!clockIsWrong && grace === 0) return undefined
      const own = identity()
      return {
        nowMs: floor.nowMs(),
        clock: clockIsWrong ? 'lower-bound' : 'right',
        graceMs: grace,
        graceTrustDomains: own ? domains(own) : [],
      }
    },
    accepted({ side, notBeforeMs, expiredMs, spiffeUri }) {
      floor.seen(notBeforeMs)
      if (expiredMs === 0) return
      inGrace.cell({ peer: side }).value++
      log.warn(
        { evt: 'identity.grace', peer: spiffeUri, side, expiredSec: Math.round(expiredMs / 1000) },
        'a peer of the site was accepted with an expired certificate',
      )
    },
    /** What status adds to the expired certificate. */
    problem() {
      const own = identity()
      const grace = graceNow()
      if (!own || checkExpiry(own, floor.nowMs(), grace).state !== 'grace') return undefined
      return new MeshError(
        'MESH_IDENTITY_GRACE',
        `expired certificates of ${domains(own).join(', ')} count until ${new Date(own.notAfterMs + grace).toISOString()}`,
      )
    },
  }
}

const at = ({ notAfterMs }: { readonly notAfterMs: number }): string => new Date(notAfterMs).toISOString()
