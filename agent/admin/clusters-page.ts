/**
 * Clusters with their endpoints as Envoy's /clusters shows them (envoy.admin.v3.Clusters), so that `istioctl
 * proxy-config endpoints` reads it.
 */
import type { ClusterStatus } from '../../protocols/http/message.ts'
import { toPrintableAll } from '../../core/printable.ts'
import type { Cluster, ClusterLoad, Endpoint } from '../../model/cluster.ts'
import type { Tables } from '../../model/tables.ts'

/**
 * Clusters at work, with their load, then all others of the tables.
 * @param atWork only clusters that were used have counters
 */
export function listClusters(atWork: readonly ClusterStatus[], tables: Tables): readonly ClusterStatus[] {
  const used = new Set(atWork.map((c) => c.name))
  const idle = [...tables.clusterNames()]
    .filter((name) => !used.has(name))
    .map((name) => describeIdleCluster(name, tables))
  return [...atWork, ...idle]
}

export function formatClusters(clusters: readonly ClusterStatus[]): string {
  return toPrintableAll(clusters)
    .map((c) =>
      c.endpoints
        .map((e) => {
          const line = (name: string, value: string | number): string =>
            `${c.name}::${e.address}:${e.port}::${name}::${value}\n`
          return (
            line('cx_active', e.connections) +
            line('rq_active', e.activeRequests) +
            line('health_flags', formatFlags(e)) +
            line('weight', e.weight) +
            line('priority', e.priority) +
            (e.tunnel === undefined ? '' : line('tunnel', e.tunnel))
          )
        })
        .join(''),
    )
    .join('')
}

export function formatClustersAsJson(clusters: readonly ClusterStatus[]): object {
  return {
    cluster_statuses: clusters.map(({ name, endpoints }) => ({
      name,
      added_via_api: true,
      host_statuses: endpoints.map((e) => ({
        address: addressOf(e),
        stats: [
          { name: 'cx_active', type: 'GAUGE', value: String(e.connections) },
          { name: 'rq_active', type: 'GAUGE', value: String(e.activeRequests) },
        ],
        health_status: {
          eds_health_status: e.health.toUpperCase(),
          ...Object.fromEntries(listFlags(e).flatMap(([, name]) => (name ? [[name, true]] : []))),
        },
        weight: e.weight,
        priority: e.priority,
      })),
    })),
  }
}

type Hosted = ClusterStatus['endpoints'][number]

/** Envoy's health flags of a host: as /clusters writes them, and the field of HostHealthStatus. */
function listFlags({ ejected, check, health }: Hosted): (readonly [flag: string, field: string | undefined])[] {
  const all: (readonly [boolean | undefined, string, string | undefined])[] = [
    [check?.hasFailed, 'failed_active_hc', 'failed_active_health_check'],
    [ejected, 'failed_outlier_check', 'failed_outlier_check'],
    [health === 'unhealthy', 'failed_eds_health', undefined],
    [check?.isDegraded, 'degraded_active_hc', 'failed_active_degraded_check'],
    [health === 'degraded', 'degraded_eds_health', undefined],
    [check?.isLeaving, 'pending_dynamic_removal', 'pending_dynamic_removal'],
    [check?.isPending, 'pending_active_hc', 'pending_active_hc'],
    [check?.isExcluded, 'excluded_via_immediate_hc_fail', 'excluded_via_immediate_hc_fail'],
    [health === 'draining', 'eds_status_draining', undefined],
  ]
  return all.flatMap(([holds, flag, field]) => (holds ? [[flag, field] as const] : []))
}
function formatFlags(host: Hosted): string {
  const flags = listFlags(host)
  return flags.length === 0 ? 'healthy' : flags.map(([flag]) => `/${flag}`).join('')
}

/** As Envoy has it: an endpoint of an ambient mesh is an internal listener that leads there. */
function addressOf({ address, port, tunnel }: Hosted): object {
  const endpoint_id = address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
  return tunnel === undefined
    ? { socket_address: { address, port_value: port } }
    : { envoy_internal_address: { server_listener_name: tunnel, endpoint_id } }
}

/** One that was not used. */
export function describeIdleCluster(name: string, tables: Tables): ClusterStatus {
  const cluster = tables.cluster(name)
  const endpoints = cluster ? endpointsOf(cluster, tables) : []
  return {
    name,
    activeRequests: 0,
    pendingRequests: 0,
    connections: 0,
    endpoints: endpoints.map(({ priority, endpoint: { address, port, weight, health, via } }) => ({
      address,
      port,
      priority,
      weight,
      health,
      ejected: false,
      activeRequests: 0,
      connections: 0,
      ...(via && { tunnel: via.listener }),
    })),
  }
}

function loadOf(cluster: Cluster | undefined, tables: Tables): ClusterLoad | undefined {
  if (cluster?.discovery.kind === 'eds') return tables.load(cluster.discovery.serviceName)
  return cluster && 'load' in cluster.discovery ? cluster.discovery.load : undefined
}

function endpointsOf(cluster: Cluster, tables: Tables): { readonly priority: number; readonly endpoint: Endpoint }[] {
  return (
    loadOf(cluster, tables)?.localities.flatMap(({ priority, endpoints }) =>
      endpoints.map((endpoint) => ({ priority, endpoint })),
    ) ?? []
  )
}
