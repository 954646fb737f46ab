/**
 * What is counted and logged (model/telemetry.go), with an istiod's own providers: `prometheus`, which is on, and
 * `envoy`, which a Telemetry switches on.
 */
import { isSelected, compareText } from '../config.ts'
import { formatDuration } from '../kinds/durations.ts'
import type { AccessLogging, Metrics, Telemetry } from '../kinds/telemetry.ts'
import { makeAny, compact, makeExtension, type Json } from '../json.ts'
import type { Proxy } from './proxy.ts'

export type Side = 'inbound' | 'outbound'
type Mode = 'CLIENT' | 'SERVER'
const modeOf = (side: Side): Mode => (side === 'inbound' ? 'SERVER' : 'CLIENT')

/** Root namespace, the node's, the workload's: what comes later counts more. */
function selectTelemetry({ mesh, node, labels }: Proxy): Telemetry[] {
  const all = mesh.configs.Telemetry
  const hasSelector = (t: (typeof all)[number]): boolean => Object.keys(t.spec.selector?.matchLabels ?? {}).length > 0
  const general = (namespace: string): (typeof all)[number] | undefined =>
    all.find((t) => t.namespace === namespace && !hasSelector(t))
  const { rootNamespace: root } = mesh.options
  const wide = [general(root), node.namespace === root ? undefined : general(node.namespace)]
  const own = all.filter(
    (t) => t.namespace === node.namespace && hasSelector(t) && isSelected(t.spec.selector?.matchLabels, labels),
  )
  return [...wide, ...own].flatMap((t) => (t ? [t.spec] : []))
}

const PROMETHEUS_NAMES: Readonly<Record<string, string>> = {
  REQUEST_COUNT: 'requests_total',
  REQUEST_DURATION: 'request_duration_milliseconds',
  REQUEST_SIZE: 'request_bytes',
  RESPONSE_SIZE: 'response_bytes',
  TCP_OPENED_CONNECTIONS: 'tcp_connections_opened_total',
  TCP_CLOSED_CONNECTIONS: 'tcp_connections_closed_total',
  TCP_SENT_BYTES: 'tcp_sent_bytes_total',
  TCP_RECEIVED_BYTES: 'tcp_received_bytes_total',
  GRPC_REQUEST_MESSAGES: 'request_messages_total',
  GRPC_RESPONSE_MESSAGES: 'response_messages_total',
}
type Override = NonNullable<Metrics['overrides']>[number]
type Merged = {
  disabled?: boolean
  readonly tags: Map<string, NonNullable<Override['tagOverrides']>[string]>
}

/** istio.stats; none where all metrics are off. */
export function makeStats(proxy: Proxy, side: Side): Json[] {
  const metrics = selectTelemetry(proxy).flatMap((t) => t.metrics ?? [])
  const mode = modeOf(side)
  let isOff = false
  const merged = new Map<string, Merged>()
  for (const override of metrics.flatMap((m) => m.overrides ?? [])) {
    const wanted = override.match?.mode ?? 'CLIENT_AND_SERVER'
    if (wanted !== 'CLIENT_AND_SERVER' && wanted !== mode) continue
    if (isAll(override) && override.disabled === true) isOff = true
    else {
      isOff = false
      for (const name of listMetrics(override)) mergeOverride(merged, name, override)
    }
  }
  if (isOff) return []
  const interval = metrics.findLast((m) => m.reportingInterval !== undefined)?.reportingInterval
  return [
    makeExtension(
      'istio.stats',
      makeAny('stats.PluginConfig', {
        disable_host_header_fallback: side === 'inbound' ? true : undefined,
        tcp_reporting_duration: interval && formatDuration(interval),
        metrics: merged.size > 0 ? writeOverrides(merged) : undefined,
      }),
    ),
  ]
}

function isAll({ match }: Override): boolean {
  return match?.customMetric === undefined && (match?.metric ?? 'ALL_METRICS') === 'ALL_METRICS'
}
function listMetrics(override: Override): string[] {
  if (isAll(override)) return Object.keys(PROMETHEUS_NAMES)
  return [override.match?.customMetric ?? override.match!.metric!]
}
function mergeOverride(merged: Map<string, Merged>, name: string, { disabled, tagOverrides = {} }: Override): void {
  const known: Merged = merged.get(name) ?? { tags: new Map() }
  merged.set(name, known)
  if (disabled !== undefined) known.disabled = disabled
  for (const [tag, how] of Object.entries(tagOverrides)) known.tags.set(tag, how)
}
function writeOverrides(merged: ReadonlyMap<string, Merged>): Json[] {
  return [...merged]
    .sort(([a], [b]) => compareText(a, b))
    .map(([name, { disabled, tags }]) => {
      const sorted = [...tags].sort(([a], [b]) => compareText(a, b))
      const removed = sorted.filter(([, how]) => how.operation === 'REMOVE').map(([tag]) => tag)
      const set = sorted.filter(([, how]) => how.operation !== 'REMOVE')
      return compact({
        name: PROMETHEUS_NAMES[name] ?? name,
        drop: disabled === true ? true : undefined,
        tags_to_remove: removed.length > 0 ? removed : undefined,
        dimensions: set.length > 0 ? Object.fromEntries(set.map(([tag, how]) => [tag, how.value ?? ''])) : undefined,
      })
    })
}

const LOG_FORMAT =
  '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% ' +
  '%RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% "%UPSTREAM_TRANSPORT_FAILURE_REASON%" %BYTES_RECEIVED% ' +
  '%BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" ' +
  '"%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER_RAW% %UPSTREAM_LOCAL_ADDRESS% ' +
  '%DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%\n'

/** Of listeners: connections that no chain took. */
export const NO_CHAIN: Json = { response_flag_filter: { flags: ['NR'] } }

/** @param filter besides that of the Telemetry */
export function makeAccessLogs(proxy: Proxy, side: Side, filter?: Json): Json[] {
  const logging = findLogging(proxy, modeOf(side))
  if (!logging) return []
  const expression = logging.filter?.expression
  const filters = [
    ...(filter ? [filter] : []),
    ...(expression === undefined
      ? []
      : [
          {
            extension_filter: makeExtension(
              'envoy.access_loggers.extension_filters.cel',
              makeAny('envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter', { expression }),
            ),
          },
        ]),
  ]
  const file = makeAny('envoy.extensions.access_loggers.file.v3.FileAccessLog', {
    path: '/dev/stdout',
    log_format: { text_format_source: { inline_string: LOG_FORMAT } },
  })
  return [
    compact({
      ...makeExtension('envoy.access_loggers.file', file),
      filter: filters.length > 1 ? { and_filter: { filters } } : filters[0],
    }),
  ]
}

/** Undefined: nothing is logged. */
function findLogging(proxy: Proxy, mode: Mode): { readonly filter: AccessLogging['filter'] } | undefined {
  const all = selectTelemetry(proxy).flatMap((t) => t.accessLogging ?? [])
  const counts = (l: AccessLogging): boolean => [undefined, 'CLIENT_AND_SERVER', mode].includes(l.match?.mode)
  let [names, found, filter] = [false, false, undefined as AccessLogging['filter']]
  // A filter counts with the last entry that names the provider.
  for (const l of all) if (counts(l) && l.providers?.length) filter = l.filter
  for (const l of all) {
    names ||= (l.providers?.length ?? 0) > 0
    if (names && counts(l)) found = l.disabled !== true
  }
  return found ? { filter } : undefined
}
