/** Limits and timeouts of connections to a cluster (core/cluster_traffic_policy.go applyConnectionPool). */
import type { JsonValue } from '@bufbuild/protobuf'
import { countSeconds, formatDuration } from '../kinds/durations.ts'
import type { ConnectionPool, TrafficPolicy } from '../kinds/destination-rule.ts'
import { compact, type Json } from '../json.ts'
import { makeNoLimits, useDownstreamProtocol, useHttp2, type ClusterDraft } from './cluster.ts'

export function applyConnectionPool(
  draft: ClusterDraft,
  pool: ConnectionPool = {},
  budget?: TrafficPolicy['retryBudget'],
): void {
  const { tcp, http } = pool
  const limits = makeNoLimits()
  const limit = (name: string, value: number | undefined): void => {
    if (value !== undefined && value > 0) limits[name] = value
  }
  limit('max_requests', http?.http2MaxRequests)
  limit('max_pending_requests', http?.http1MaxPendingRequests)
  limit('max_retries', http?.maxRetries)
  limit('max_connections', tcp?.maxConnections)
  if (budget)
    limits['retry_budget'] = {
      budget_percent: { value: budget.percent ?? 20 },
      min_retry_concurrency: budget.minRetryConcurrency || 3,
    }
  if (tcp?.connectTimeout !== undefined) draft.fields['connect_timeout'] = formatDuration(tcp.connectTimeout)
  if (tcp?.tcpKeepalive)
    draft.fields['upstream_connection_options'] = { tcp_keepalive: makeKeepalive(tcp.tcpKeepalive) }
  draft.fields['circuit_breakers'] = { thresholds: [limits] }
  applyHttpOptions(draft, pool)
  if (http?.useClientProtocol === true) useDownstreamProtocol(draft)
}

function applyHttpOptions(draft: ClusterDraft, { tcp, http }: ConnectionPool): void {
  const idle = http?.idleTimeout ?? tcp?.idleTimeout
  const duration = tcp?.maxConnectionDuration
  const perConnection = http?.maxRequestsPerConnection || undefined
  const streams = http?.maxConcurrentStreams || undefined
  if (idle === undefined && duration === undefined && perConnection === undefined && streams === undefined) return
  draft.http ??= {}
  draft.http.common = {
    idle_timeout: idle && formatDuration(idle),
    max_requests_per_connection: perConnection,
    max_connection_duration: duration && formatDuration(duration),
  }
  const { protocol } = draft.http
  if (streams !== undefined && protocol && 'explicit_http_config' in protocol)
    if (protocol.explicit_http_config['http2_protocol_options'])
      protocol.explicit_http_config['http2_protocol_options'] = { max_concurrent_streams: streams }
}

type Keepalive = NonNullable<NonNullable<ConnectionPool['tcp']>['tcpKeepalive']>
function makeKeepalive({ probes, time, interval }: Keepalive): Json {
  const fields: Record<string, JsonValue | undefined> = {
    keepalive_probes: probes || undefined,
    keepalive_time: time === undefined ? undefined : countSeconds(time),
    keepalive_interval: interval === undefined ? undefined : countSeconds(interval),
  }
  return compact(fields)
}

/** A rule may have HTTP/2 spoken to a port that is not said to speak it. */
export function applyHttp2Upgrade(draft: ClusterDraft, pool: ConnectionPool | undefined): void {
  if (pool?.http?.useClientProtocol !== true && pool?.http?.h2UpgradePolicy === 'UPGRADE') useHttp2(draft)
}
