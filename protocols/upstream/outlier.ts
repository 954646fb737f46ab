/**
 * Passive health of one endpoint (envoy.config.cluster.v3.OutlierDetection): consecutive failures eject it for a while
 * that grows. Pure.
 */
import type { Outlier } from '../../model/cluster.ts'

export type HostHealth = {
  consecutive5xx: number
  consecutiveGateway: number
  consecutiveLocal: number
  /** Monotonic milliseconds; 0 = never ejected. */
  ejectedUntilMs: number
  /**
   * How many times base_ejection_time the last ejection lasted; falls by one with each interval that the host is back.
   */
  multiplier: number
}
export type TryResult =
  | { readonly kind: 'status'; readonly status: number }
  /** Connect, TLS and timeout failures before anything answered. */
  | { readonly kind: 'local-failure' }
  /** A connection of which nothing more will be told (Envoy's LOCAL_ORIGIN_CONNECT_SUCCESS_FINAL). */
  | { readonly kind: 'connected' }

/**
 * For discovered endpoints of a cluster without outlier detection of its own while no control plane says which of them
 * are gone: those that do not answer rest, and are tried again.
 */
export const LINK_DOWN_OUTLIER: Outlier = {
  consecutive5xx: undefined,
  consecutiveGatewayFailures: undefined,
  consecutiveLocalFailures: 3,
  intervalMs: 10_000,
  baseEjectionMs: 5_000,
  maxEjectionMs: 60_000,
  maxEjectionPercent: 100,
  splitLocal: true,
}

export function createHealth(): HostHealth {
  return { consecutive5xx: 0, consecutiveGateway: 0, consecutiveLocal: 0, ejectedUntilMs: 0, multiplier: 0 }
}

/**
 * Counts a result. @returns in percent how surely the host is to be ejected for it now (enforcing_*), 0 = not at all;
 * whether it may be the caller knows (max_ejection_percent)
 */
export function record(health: HostHealth, result: TryResult, outlier: Outlier): number {
  switch (result.kind) {
    case 'local-failure':
      health.consecutiveLocal++
      // Envoy: unless split_external_local_origin_errors tells them apart, it counts as a 503.
      if (!outlier.splitLocal) {
        health.consecutiveGateway++
        health.consecutive5xx++
      }
      break
    case 'connected':
      health.consecutiveLocal = 0
      if (!outlier.splitLocal) {
        health.consecutiveGateway = 0
        health.consecutive5xx = 0
      }
      break
    case 'status':
      health.consecutiveLocal = 0
      health.consecutive5xx = result.status >= 500 ? health.consecutive5xx + 1 : 0
      health.consecutiveGateway = result.status >= 502 && result.status <= 504 ? health.consecutiveGateway + 1 : 0
      break
    default:
      result satisfies never
  }
  const { enforcing } = outlier
  let percent = 0
  if (reached(health.consecutiveGateway, outlier.consecutiveGatewayFailures)) {
    health.consecutiveGateway = 0
    percent = enforcing?.gatewayFailures ?? 100
  }
  if (reached(health.consecutive5xx, outlier.consecutive5xx)) {
    health.consecutive5xx = 0
    percent = Math.max(percent, enforcing?.consecutive5xx ?? 100)
  }
  if (reached(health.consecutiveLocal, outlier.consecutiveLocalFailures)) {
    health.consecutiveLocal = 0
    percent = Math.max(percent, enforcing?.localFailures ?? 100)
  }
  return percent
}
function reached(count: number, limit: number | undefined): boolean {
  return limit !== undefined && limit > 0 && count >= limit
}

/**
 * base_ejection_time · multiplier, at most max_ejection_time, and up to max_ejection_time_jitter more.
 * @param chance 0..1
 */
export function eject(health: HostHealth, outlier: Outlier, nowMs: number, chance = 0): void {
  const { baseEjectionMs, maxEjectionMs, intervalMs } = outlier
  const healthyIntervals = Math.max(0, Math.floor((nowMs - health.ejectedUntilMs) / intervalMs))
  health.multiplier = Math.max(0, health.multiplier - healthyIntervals)
  if (health.multiplier * baseEjectionMs < maxEjectionMs + baseEjectionMs) health.multiplier++
  health.ejectedUntilMs =
    nowMs +
    Math.min(baseEjectionMs * health.multiplier, maxEjectionMs) +
    Math.floor(chance * (outlier.maxEjectionJitterMs ?? 0))
  health.consecutive5xx = 0
  health.consecutiveGateway = 0
  health.consecutiveLocal = 0
}

/** max_ejection_percent: of one endpoint 10 % is none, unless always_eject_one_host says otherwise. */
export function mayEject(outlier: Outlier, ejected: number, total: number): boolean {
  return (
    ((ejected + 1) * 100) / total <= outlier.maxEjectionPercent ||
    (outlier.alwaysEjectOneHost === true && ejected === 0)
  )
}
