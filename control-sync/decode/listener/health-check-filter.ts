/** envoy.extensions.filters.http.health_check.v3.HealthCheck → HealthCheckFilter. */
import type { HealthCheckFilter } from '../../../model/http/health-check-filter.ts'
import {
  HealthCheckSchema,
  type HealthCheck,
} from '../../../proto/gen/envoy/extensions/filters/http/health_check/v3/health_check_pb.ts'
import { noteIgnored, type DecodePath } from '../fields/decode-path.ts'
import { decodeHeaderMatches } from '../fields/matchers.ts'
import { decodeMs } from '../fields/values.ts'

export function decodeHealthCheckFilter(at: DecodePath, from: HealthCheck): HealthCheckFilter {
  noteIgnored(at, HealthCheckSchema, from)
  if (from.passThroughMode === undefined) at.in('pass_through_mode').issue('is missing')
  const passesThrough = from.passThroughMode ?? false
  const cacheMs = decodeMs(at.in('cache_time'), from.cacheTime) ?? 0
  // Envoy refuses it, too: there is no answer that could be kept.
  if (cacheMs > 0 && !passesThrough) at.in('cache_time').issue('needs pass_through_mode')
  const here = at.in('cluster_min_healthy_percentages')
  return {
    passesThrough,
    cacheMs,
    headers: decodeHeaderMatches(at.in('headers'), from.headers),
    clusters: Object.entries(from.clusterMinHealthyPercentages).map(([name, { value }]) => {
      if (!(value >= 0 && value <= 100)) here.item(name).issue('must be 0 to 100')
      // Envoy counts whole percents.
      return { name, minPercent: Math.floor(value) }
    }),
  }
}
