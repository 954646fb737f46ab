/** Labels of Istio's standard metrics, as Istio's stats filter derives them. Pure. */
import { printCel } from '../../model/access-log/cel/evaluate.ts'
import type { LogFacts } from '../../model/access-log/facts.ts'
import type { Cluster } from '../../model/cluster.ts'
import { ISTIO_LABELS, type IstioLabels, type IstioMetric, type StatsFilter } from '../../model/telemetry.ts'
import { UNKNOWN_WORKLOAD, type Workload } from '../../model/access-log/workload.ts'

export type Service = { readonly host: string; readonly name: string; readonly namespace: string }

/** Both sides of a request or connection, as this one sees them. */
export type Ends = {
  /** `destination` on the way in: our workload is the server. */
  readonly reporter: 'source' | 'destination'
  readonly own: Workload
  readonly peer: Workload | undefined
  /** SPIFFE URIs of the certificates that were shown; undefined without mutual TLS. */
  readonly ownPrincipal: string | undefined
  readonly peerPrincipal: string | undefined
  readonly service: Service
}

/** Beyond what a name, a host or a SPIFFE id needs it is nobody's; a peer may not fill the memory with its names. */
const MAX_VALUE_LENGTH = 512

const SPECIAL: ReadonlySet<string> = new Set([
  'BlackHoleCluster',
  'PassthroughCluster',
  'InboundPassthroughCluster',
  'InboundPassthroughClusterIpv4',
  'InboundPassthroughClusterIpv6',
])

/**
 * The service that was meant. '' = not known.
 * @param host of the request, where it may stand for a service that the control plane does not name
 */
export function findService(cluster: Cluster | undefined, routeName: string, host: string): Service {
  if (routeName === 'block_all') return { host, name: 'BlackHoleCluster', namespace: '' }
  if (routeName === 'allow_any') return { host, name: 'PassthroughCluster', namespace: '' }
  if (cluster && SPECIAL.has(cluster.name)) return { host, name: cluster.name, namespace: '' }
  const said = cluster?.mesh?.service
  if (!said) return { host, name: host, namespace: '' }
  const named = said.host === '' ? host : said.host
  return { host: named, name: said.name === '' ? named.split('.', 1)[0]! : said.name, namespace: said.namespace }
}

/** Those that are the same for all requests between two workloads. */
export function deriveLabels({ reporter, own, peer, ownPrincipal, peerPrincipal, service }: Ends): IstioLabels {
  const namespace = namespaceIn(peerPrincipal) ?? peer?.namespace
  const other = { ...(peer ?? UNKNOWN_WORKLOAD), namespace: namespace ?? '' }
  const isServer = reporter === 'destination'
  const [source, destination] = isServer ? [other, own] : [own, other]
  const [from, to] = isServer ? [peerPrincipal, ownPrincipal] : [ownPrincipal, peerPrincipal]
  const canonical = isServer ? own.canonicalService : ''
  return {
    reporter,
    source_workload: source.name,
    source_canonical_service: source.canonicalService,
    source_canonical_revision: source.canonicalRevision || 'latest',
    source_workload_namespace: source.namespace,
    source_principal: from ?? '',
    source_app: source.app,
    source_version: source.version,
    source_cluster: source.cluster,
    destination_workload: destination.name,
    destination_workload_namespace: destination.namespace,
    destination_principal: to ?? '',
    destination_app: destination.app,
    destination_version: destination.version,
    destination_service: service.host || canonical,
    destination_canonical_service: destination.canonicalService,
    destination_canonical_revision: destination.canonicalRevision || 'latest',
    destination_service_name: service.name || canonical,
    destination_service_namespace: service.namespace || destination.namespace,
    destination_cluster: destination.cluster,
    connection_security_policy: !isServer
      ? 'unknown'
      : peerPrincipal !== undefined && ownPrincipal !== undefined
        ? 'mutual_tls'
        : 'none',
  }
}

/** Of spiffe://DOMAIN/ns/NAMESPACE/sa/ACCOUNT; what was proved goes before what was said. */
function namespaceIn(principal: string | undefined): string | undefined {
  return principal === undefined ? undefined : /\/ns\/([^/]+)/.exec(principal)?.[1]
}

/** Of the expressions of a filter, for one request or connection, in their order. An error is `unknown`. */
export type LabelValues = readonly string[]
export const NO_VALUES: LabelValues = []

export function deriveValues({ expressions }: Pick<StatsFilter, 'expressions'>, facts: LogFacts): LabelValues {
  return expressions.map((expression) => {
    const text = printCel(expression, facts)
    return text === undefined || text.length > MAX_VALUE_LENGTH ? 'unknown' : text
  })
}

/** What the labels of a metric are changed to. */
export function resolveTags(
  { tags, expressions }: StatsFilter,
  metric: IstioMetric,
  values: LabelValues,
): ReadonlyMap<string, string | undefined> | undefined {
  const changes = tags.get(metric)
  if (!changes) return undefined
  const resolved = new Map<string, string | undefined>()
  for (const [label, value] of changes)
    resolved.set(label, typeof value === 'object' ? (values[expressions.indexOf(value)] ?? 'unknown') : value)
  return resolved
}

/** Empty values of these stay so; the others become `unknown`. */
const MAY_BE_EMPTY: ReadonlySet<string> = new Set(['grpc_response_status', 'response_code'])

/**
 * Prometheus' text of the labels.
 * @param tags undefined = the label is left out; names that are not standard come last
 */
export function formatLabels(labels: IstioLabels, tags?: ReadonlyMap<string, string | undefined>): string {
  const parts: string[] = []
  for (const name of ISTIO_LABELS) {
    if (tags?.has(name)) {
      const value = tags.get(name)
      if (value !== undefined) parts.push(`${name}="${escape(value)}"`)
      continue
    }
    const value = labels[name]
    if (value === undefined) continue
    const known = value === '' && !MAY_BE_EMPTY.has(name) ? 'unknown' : value
    parts.push(`${name}="${escape(known.length > MAX_VALUE_LENGTH ? 'unknown' : known)}"`)
  }
  for (const [name, value] of tags ?? [])
    if (value !== undefined && !STANDARD.has(name)) parts.push(`${name}="${escape(value)}"`)
  return parts.join(',')
}
const STANDARD: ReadonlySet<string> = new Set(ISTIO_LABELS)

function escape(value: string): string {
  return /[\\"\n\r]/.test(value)
    ? value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n').replaceAll('\r', ' ')
    : value
}
