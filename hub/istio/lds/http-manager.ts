/** HTTP connection managers (core/listener_builder.go buildHTTPConnectionManager). */
import { formatDuration, isDuration } from '../kinds/durations.ts'
import { ADS_SOURCE, makeAny, compact, makeExtension, type Json } from '../json.ts'
import type { Protocol } from '../mesh/protocols.ts'
import type { Proxy } from '../mesh/proxy.ts'
import { makeAccessLogs, makeStats, type Side } from '../mesh/telemetry.ts'
import { readCanonical } from '../mesh/services.ts'
import { ALPN, CORS, FAULT, GRPC_STATS, GRPC_WEB, INBOUND_METADATA, OUTBOUND_METADATA, ROUTER } from './filters.ts'

const MANAGER = 'envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager'
const REQUEST_ID = 'envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig'

export type Manager = {
  readonly side: Side
  readonly statPrefix: string
  readonly routes: { readonly rds: string } | { readonly route_config: Json }
  readonly protocol: Protocol
  /** Between metadata exchange and statistics: tokens and policies. */
  readonly security: readonly Json[]
  /** Fields besides. */
  readonly more: Json
}

export function makeManager(proxy: Proxy, m: Manager): Json {
  const { node } = proxy
  const logs = makeAccessLogs(proxy, m.side)
  const filters = [
    m.side === 'inbound' ? INBOUND_METADATA : OUTBOUND_METADATA,
    ...m.security,
    ...(m.protocol === 'GRPC-Web' ? [GRPC_WEB] : []),
    GRPC_STATS,
    ...(m.side === 'inbound' ? [] : [ALPN]),
    FAULT,
    CORS,
    ...makeStats(proxy, m.side),
    ROUTER,
  ]
  return makeExtension(
    'envoy.filters.network.http_connection_manager',
    makeAny(MANAGER, {
      stat_prefix: `${m.statPrefix};`,
      ...('rds' in m.routes
        ? { rds: { config_source: ADS_SOURCE, route_config_name: m.routes.rds } }
        : { route_config: m.routes.route_config }),
      http_filters: filters,
      tracing: makeTracing(proxy),
      ...mergeHttp1(node.acceptsHttp10, m.more),
      use_remote_address: false,
      proxy_100_continue: true,
      upgrade_configs: [{ upgrade_type: 'websocket' }],
      stream_idle_timeout: '0s',
      normalize_path: true,
      request_id_extension: { typed_config: makeAny(REQUEST_ID, { use_request_id_for_trace_sampling: true }) },
      path_with_escaped_slashes_action: 'KEEP_UNCHANGED',
      access_log: logs.length > 0 ? logs : undefined,
      common_http_protocol_options: makeIdle(node.idleTimeout),
    }),
  )
}

function mergeHttp1(acceptsHttp10: boolean, more: Json): Json {
  if (!acceptsHttp10) return more
  const own = (more['http_protocol_options'] ?? {}) as Json
  return { ...more, http_protocol_options: { ...own, accept_http_10: true } }
}

export function readIdle(text: string | undefined): string | undefined {
  return text !== undefined && isDuration(text) ? formatDuration(text) : undefined
}
function makeIdle(text: string | undefined): Json | undefined {
  const idle = readIdle(text)
  return idle === undefined ? undefined : { idle_timeout: idle }
}

/** One request in a hundred, with tags that say where it was: the mesh has no tracer, so nothing is sent. */
function makeTracing({ node, labels, mesh }: Proxy): Json {
  const canonical = readCanonical(labels, '')
  const literal = (tag: string, value: string): Json => ({ tag: `istio.${tag}`, literal: { value } })
  const dryRun = (action: string, what: string, key: string): Json => ({
    tag: `istio.authorization.dry_run.${action}_policy.${what}`,
    metadata: {
      kind: { request: {} },
      metadata_key: { key: 'envoy.filters.http.rbac', path: [{ key: `istio_dry_run_${action}_${key}` }] },
    },
  })
  return compact({
    client_sampling: { value: 100 },
    random_sampling: { value: 1 },
    overall_sampling: { value: 100 },
    custom_tags: [
      ...['allow', 'deny'].flatMap((action) => [
        dryRun(action, 'name', 'shadow_effective_policy_id'),
        dryRun(action, 'result', 'shadow_engine_result'),
      ]),
      literal('canonical_revision', canonical.revision),
      literal('canonical_service', canonical.name || 'unknown'),
      literal('cluster_id', node.clusterId || 'unknown'),
      literal('mesh_id', node.meshId),
      literal('namespace', node.namespace || mesh.options.rootNamespace),
    ],
  })
}
