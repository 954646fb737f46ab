/** Balancing and outlier detection of a cluster (core/cluster_traffic_policy.go applyLoadBalancer). */
import { formatDuration } from '../kinds/durations.ts'
import type { ConsistentHash, LoadBalancer, OutlierDetection } from '../kinds/destination-rule.ts'
import { compact, type Json } from '../json.ts'
import { chooseLocalitySetting } from '../eds/locality.ts'
import type { ClusterDraft } from './cluster.ts'

export function applyOutlierDetection(draft: ClusterDraft, outlier: OutlierDetection | undefined): void {
  if (!outlier) return
  const { consecutive5xxErrors: server, consecutiveGatewayErrors: gateway } = outlier
  const isSplit = outlier.splitExternalLocalOriginErrors === true
  const local = isSplit ? outlier.consecutiveLocalOriginFailures || undefined : undefined
  draft.fields['outlier_detection'] = compact({
    enforcing_success_rate: 0,
    consecutive_5xx: server,
    enforcing_consecutive_5xx: server === undefined ? undefined : server > 0 ? 100 : 0,
    consecutive_gateway_failure: gateway,
    enforcing_consecutive_gateway_failure: gateway === undefined ? undefined : gateway > 0 ? 100 : 0,
    interval: outlier.interval && formatDuration(outlier.interval),
    base_ejection_time: outlier.baseEjectionTime && formatDuration(outlier.baseEjectionTime),
    max_ejection_percent: outlier.maxEjectionPercent || undefined,
    ...(isSplit
      ? {
          split_external_local_origin_errors: true,
          consecutive_local_origin_failure: local,
          enforcing_consecutive_local_origin_failure: local === undefined ? undefined : 100,
          enforcing_local_origin_success_rate: 0,
        }
      : {}),
  })
  setCommon(draft, 'healthy_panic_threshold', { value: outlier.minHealthPercent ?? 0 })
}

function setCommon(draft: ClusterDraft, field: string, value: Json): void {
  draft.fields['common_lb_config'] = { ...(draft.fields['common_lb_config'] as Json), [field]: value }
}

export function applyLoadBalancer(draft: ClusterDraft, balancer: LoadBalancer = {}): void {
  const locality = chooseLocalitySetting(balancer.localityLbSetting)
  const fails = draft.fields['outlier_detection'] !== undefined && (locality?.failover ?? locality?.failoverPriority)
  if (locality?.distribute || fails) setCommon(draft, 'locality_weighted_lb_config', {})
  if (draft.discovery === 'ORIGINAL_DST') return
  switch (balancer.simple) {
    case 'RANDOM':
      draft.fields['lb_policy'] = 'RANDOM'
      break
    case 'ROUND_ROBIN':
      draft.fields['lb_policy'] = 'ROUND_ROBIN'
      draft.fields['round_robin_lb_config'] = makeSlowStart(balancer)
      break
    case 'PASSTHROUGH':
      draft.discovery = 'ORIGINAL_DST'
      delete draft.fields['load_assignment']
      break
    case 'LEAST_CONN':
    case 'LEAST_REQUEST':
    case 'UNSPECIFIED':
    case undefined:
      draft.fields['lb_policy'] = 'LEAST_REQUEST'
      draft.fields['least_request_lb_config'] = makeSlowStart(balancer)
      break
    default:
      balancer.simple satisfies never
  }
  if (balancer.consistentHash) applyHash(draft, balancer.consistentHash)
}

function applyHash(draft: ClusterDraft, { ringHash, maglev, minimumRingSize }: ConsistentHash): void {
  delete draft.fields['least_request_lb_config']
  delete draft.fields['round_robin_lb_config']
  if (maglev) {
    draft.fields['lb_policy'] = 'MAGLEV'
    if (maglev.tableSize) draft.fields['maglev_lb_config'] = { table_size: maglev.tableSize }
    return
  }
  draft.fields['lb_policy'] = 'RING_HASH'
  const size = ringHash ? ringHash.minimumRingSize : minimumRingSize || 1_024
  if (size) draft.fields['ring_hash_lb_config'] = { minimum_ring_size: size }
}

/** Runtime keys are required by the API; this one is never looked up. */
const NO_KEY = '('
function makeSlowStart({ warmup, warmupDurationSecs }: LoadBalancer): Json | undefined {
  if (warmup)
    return {
      slow_start_config: {
        slow_start_window: formatDuration(warmup.duration),
        aggression: { default_value: warmup.aggression ?? 1, runtime_key: NO_KEY },
        min_weight_percent: { value: warmup.minimumPercent ?? 10 },
      },
    }
  if (warmupDurationSecs === undefined) return undefined
  return { slow_start_config: { slow_start_window: formatDuration(warmupDurationSecs) } }
}
