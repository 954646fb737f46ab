/** Passive health of one endpoint (envoy.config.cluster.v3.OutlierDetection): consecutive failures eject it for a while that grows. Pure. */
import type { Outlier } from '../../agent/model/cluster.ts'

export type HostHealth = {
  consecutive5xx: number
  consecutiveGateway: number
  consecutiveLocal: number
  /** Monotonic milliseconds; 0 = not ejected. */
  ejectedUntilMs: number
  ejections: number
}
export type TryResult =
  | { readonly kind: 'status'; readonly status: number }
  /** Connect, TLS and timeout failures before anything answered. */
  | { readonly kind: 'local-failure' }

/**
 * For discovered endpoints of a cluster without outlier detection of its own while no control plane says which of them are gone: those that do
 * not answer rest, and are tried again.
 */
export const LINK_DOWN_OUTLIER: Outlier = {
  consecutive5xx: undefined, consecutiveGatewayFailures: undefined, consecutiveLocalFailures: 3, intervalMs: 10_000, baseEjectionMs: 5_000, maxEjectionMs: 60_000, maxEjectionPercent: 100,
}

export function newHealth(): HostHealth {
  return { consecutive5xx: 0, consecutiveGateway: 0, consecutiveLocal: 0, ejectedUntilMs: 0, ejections: 0 }
}

/** Counts a result. @returns true when the host is to be ejected now; whether it may be the caller knows (max_ejection_percent). */
export function record(health: HostHealth, result: TryResult, outlier: Outlier): boolean {
  if (result.kind === 'local-failure') {
    // Envoy: without split_external_local_origin_errors a local failure counts as a gateway failure too.
    health.consecutiveLocal++
    health.consecutiveGateway++
    health.consecutive5xx++
  } else {
    health.consecutiveLocal = 0
    health.consecutive5xx = result.status >= 500 ? health.consecutive5xx + 1 : 0
    health.consecutiveGateway = result.status >= 502 && result.status <= 504 ? health.consecutiveGateway + 1 : 0
  }
  return reached(health.consecutive5xx, outlier.consecutive5xx) || reached(health.consecutiveGateway, outlier.consecutiveGatewayFailures) || reached(health.consecutiveLocal, outlier.consecutiveLocalFailures)
}
function reached(count: number, limit: number | undefined): boolean { return limit !== undefined && limit > 0 && count >= limit }

/** base_ejection_time · times ejected, at most max_ejection_time. */
export function eject(health: HostHealth, outlier: Outlier, nowMs: number): void {
  health.ejections++
  health.ejectedUntilMs = nowMs + Math.min(outlier.baseEjectionMs * health.ejections, outlier.maxEjectionMs)
  health.consecutive5xx = 0
  health.consecutiveGateway = 0
  health.consecutiveLocal = 0
}

/** max_ejection_percent; one host may always go, as in Envoy. */
export function mayEject(outlier: Outlier, ejected: number, total: number): boolean {
  return ejected === 0 || ((ejected + 1) * 100) / total <= outlier.maxEjectionPercent
}
