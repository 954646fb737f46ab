/**
 * What one answer after another makes of a host that is asked whether it is well (Envoy's active health checking:
 * thresholds, edges, intervals). Pure.
 */
import type { CheckIntervals, HealthCheck } from '../../../model/http/health-check.ts'
import type { ActiveHealth } from '../host.ts'

export type Verdict =
  | { readonly kind: 'passed'; readonly isDegraded: boolean }
  | {
      readonly kind: 'failed'
      /** `network`: no answer came. `passive`: an answer to somebody else's request said so. */
      readonly by: 'active' | 'network' | 'passive'
      /** As often as the threshold says; else the host is given up at once. */
      readonly isRetriable: boolean
      /** It wants to get nothing at once (x-envoy-immediate-health-check-fail). */
      readonly excludes: boolean
      readonly reason: string
    }

export type Progress = {
  readonly health: ActiveHealth
  successes: number
  failures: number
  /** There was no answer yet. */
  isFirst: boolean
}
/** `pending`: one or more of the same kind, and it changes. */
export type Change = 'none' | 'pending' | 'changed'

/** A host that was not asked yet gets nothing. @param leftOut until then it does not count either */
export function createProgress(leftOut: boolean): Progress {
  const health = { hasFailed: true, isDegraded: false, isPending: leftOut, isExcluded: false }
  return { health, successes: 0, failures: 0, isFirst: true }
}

export function recordVerdict(progress: Progress, verdict: Verdict, thresholds: Thresholds): Change {
  const change =
    verdict.kind === 'passed' ? passed(progress, verdict, thresholds) : failed(progress, verdict, thresholds)
  const { health } = progress
  // The first answer is news, also where it changes nothing.
  const isNews = health.isPending || (progress.isFirst && change === 'none')
  health.isPending = false
  progress.isFirst = false
  return isNews ? 'changed' : change
}
type Thresholds = Pick<HealthCheck, 'healthyThreshold' | 'unhealthyThreshold'>

function passed(
  progress: Progress,
  { isDegraded }: Extract<Verdict, { kind: 'passed' }>,
  { healthyThreshold }: Thresholds,
): Change {
  const { health } = progress
  progress.failures = 0
  let change: Change = 'none'
  if (health.hasFailed) {
    // The first answer of all counts at once.
    if (progress.isFirst || ++progress.successes >= healthyThreshold) {
      health.hasFailed = false
      health.isExcluded = false
      change = 'changed'
    } else change = 'pending'
  }
  if (isDegraded !== health.isDegraded) {
    health.isDegraded = isDegraded
    if (change === 'none') change = 'changed'
  }
  return change
}

function failed(
  progress: Progress,
  { by, isRetriable, excludes }: Extract<Verdict, { kind: 'failed' }>,
  { unhealthyThreshold }: Thresholds,
): Change {
  const { health } = progress
  progress.successes = 0
  const wasExcluded = health.isExcluded
  health.isExcluded ||= excludes
  if (health.hasFailed) return wasExcluded === health.isExcluded ? 'none' : 'changed'
  const isSure = by !== 'network' && !isRetriable
  if (!isSure && ++progress.failures < unhealthyThreshold) return 'pending'
  health.hasFailed = true
  return 'changed'
}

/** @param wasUsed the cluster has had traffic @param chance 0..1, drawn for each of the two jitters */
export function computeWaitMs(
  intervals: CheckIntervals,
  last: { readonly verdict: Verdict; readonly change: Change },
  { wasUsed, chance }: { readonly wasUsed: boolean; readonly chance: () => number },
): number {
  const base = baseMs(intervals, last, wasUsed)
  return Math.max(1, base + chance() * ((base * intervals.jitterPercent) / 100) + chance() * intervals.jitterMs)
}

function baseMs(
  intervals: CheckIntervals,
  { verdict, change }: { readonly verdict: Verdict; readonly change: Change },
  wasUsed: boolean,
): number {
  const isWell = verdict.kind === 'passed'
  const isPending = change === 'pending'
  if (!wasUsed) return isWell && !isPending ? intervals.noTrafficHealthyMs : intervals.noTrafficMs
  if (isWell) return isPending ? intervals.healthyEdgeMs : intervals.healthyMs
  return isPending ? intervals.unhealthyEdgeMs : intervals.unhealthyMs
}
