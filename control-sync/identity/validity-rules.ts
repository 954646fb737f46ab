/** What goes on when certificates have expired while the control plane is away (agent.yaml `identity.expired`), and by which time that is judged. */
import { MeshError } from '../../agent/core/errors.ts'
import type { Log } from '../../agent/core/log.ts'
import type { Metrics } from '../../agent/core/metrics.ts'
import type { Identity, Judging, ValidityRules } from '../../agent/model/identity.ts'
import type { TimeFloor } from './time-floor.ts'

export type ExpiredSettings = {
  /** `strict`: no mTLS after NotAfter. `site-grace`: peers accept each other for `graceHours` more while the control plane is away. `serve-local`: nothing but what stays on this machine. */
  readonly mode: 'strict' | 'site-grace' | 'serve-local'
  readonly graceHours: number
  /** Besides our own. */
  readonly trustDomains: readonly string[]
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

const HOUR_MS = 3_600_000

export function validityRules({ settings, floor, identity, connected, log, metrics }: ValidityRulesOptions): ValidityRules & { problem(): MeshError | undefined } {
  const inGrace = metrics.counter('mesh_identity_grace_total', 'Connections with a peer whose certificate had expired (identity.expired.mode site-grace), by what the peer was.', ['peer'])
  metrics.gaugeOf('mesh_identity_clock_wrong', '1 while the clock shows less than the time that certificates prove.', () => (floor.clockIsWrong ? 1 : 0))
  const graceMs = settings.graceHours * HOUR_MS
  const graceNow = (): number => (settings.mode === 'site-grace' && !connected() ? graceMs : 0)
  const expired = (): Identity | undefined => {
    const own = identity()
    return own && floor.nowMs() >= own.notAfterMs ? own : undefined
  }
  return {
    refusal() {
      const own = expired()
      if (!own || floor.nowMs() < own.notAfterMs + graceNow()) return undefined
      return new MeshError('MESH_IDENTITY_EXPIRED', `our certificate expired at ${new Date(own.notAfterMs).toISOString()} and is used no more (identity.expired.mode ${settings.mode})`)
    },
    onlyLocal() {
      const own = settings.mode === 'serve-local' ? expired() : undefined
      return own && new MeshError('MESH_IDENTITY_EXPIRED', `our certificate expired at ${new Date(own.notAfterMs).toISOString()}; only what stays on this machine is carried (identity.expired.mode serve-local)`)
    },
    judging(): Judging | undefined {
      const grace = graceNow()
      const { clockIsWrong } = floor
      if (!clockIsWrong && grace === 0) return undefined
      const own = identity()
      return { nowMs: floor.nowMs(), clock: clockIsWrong ? 'lower-bound' : 'right', graceMs: grace, graceTrustDomains: own ? [own.spiffeId.trustDomain, ...settings.trustDomains] : [] }
    },
    accepted({ side, notBeforeMs, expiredMs, spiffeUri }) {
      floor.seen(notBeforeMs)
      if (expiredMs === 0) return
      inGrace.cell({ peer: side }).value++
      log.warn({ evt: 'identity.grace', peer: spiffeUri, side, expiredSec: Math.round(expiredMs / 1000) }, 'a peer of the site was accepted with an expired certificate')
    },
    /** What status adds to the expired certificate. */
    problem() {
      const own = expired()
      const untilMs = own && own.notAfterMs + graceNow()
      if (!own || untilMs === undefined || floor.nowMs() >= untilMs) return undefined
      return new MeshError('MESH_IDENTITY_GRACE', `expired certificates of ${[own.spiffeId.trustDomain, ...settings.trustDomains].join(', ')} count until ${new Date(untilMs).toISOString()}`)
    },
  }
}
