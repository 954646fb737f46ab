/**
 * Clusters with their endpoints as Envoy's /clusters shows them (envoy.admin.v3.Clusters), so that `istioctl
 * proxy-config endpoints` reads it.
 */
import type { ClusterStatus } from '../../protocols/http/message.ts'
import { toPrintableAll } from '../../core/printable.ts'
import type { Cluster, ClusterLoad, Endpoint, TunnelledEndpoint } from '../../model/cluster.ts'
import type { Tables } from '../../model/tables.ts'

type Shown = ClusterStatus & { readonly tunnelled?: readonly TunnelledEndpoint[] }

/**
 * Clusters at work, with their load, then all others of the tables.
 * @param atWork only clusters that were used have counters
 */
export function listClusters(atWork: readonly ClusterStatus[], tables: Tables): readonly Shown[] {
  const used = new Set(atWork.map((c) => c.name))
  const idle = [...tables.clusterNames()].filter((name) => !used.has(name)).map((name) => idleCluster(name, tables))
  return [...atWork, ...idle].map((c) => {
    const tunnelled = loadOf(tables.cluster(c.name), tables)?.localities.flatMap((l) => l.tunnelled ?? []) ?? []
    return tunnelled.length === 0 ? c : { ...c, tunnelled }
  })
}

export function formatClusters(clusters: readonly Shown[]): string {
  return toPrintableAll(clusters)
    .map(
      (c) =>
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
          .join('') + (c.tunnelled ?? []).map((e) => `${c.name}::${e.target}::tunnel::only (not spoken)\n`).join(''),
    )
    .join('')
}

export function formatClustersAsJson(clusters: readonly Shown[]): object {
  return {
    cluster_statuses: clusters.map(({ name, endpoints, tunnelled = [] }) => ({
      name,
      added_via_api: true,
      host_statuses: [
        ...endpoints.map((e) => ({
          address: { socket_address: { address: e.address, port_value: e.port } },
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
        ...tunnelled.map((e) => ({
          address: { envoy_internal_address: { server_listener_name: e.listener, endpoint_id: e.target } },
          health_status: { eds_health_status: e.health.toUpperCase() },
          weight: e.weight,
        })),
      ],
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

function idleCluster(name: string, tables: Tables): ClusterStatus {
  const cluster = tables.cluster(name)
  const endpoints = cluster ? endpointsOf(cluster, tables) : []
  return {
    name,
    activeRequests: 0,
    pendingRequests: 0,
    connections: 0,
    endpoints: endpoints.map(({ priority, endpoint: { address, port, weight, health, tunnel } }) => ({
      address,
      port,
      priority,
      weight,
      health,
      ejected: false,
      activeRequests: 0,
      connections: 0,
      ...(tunnel === undefined ? {} : { tunnel }),
    })),
  }
}

function loadOf(cluster: Cluster | undefined, tables: Tables): ClusterLoad | undefined {
  if (!cluster || cluster.discovery.kind === 'original-dst' || cluster.discovery.kind === 'forward-proxy')
    return undefined
  return cluster.discovery.kind === 'eds' ? tables.load(cluster.discovery.serviceName) : cluster.discovery.load
}

function endpointsOf(cluster: Cluster, tables: Tables): { readonly priority: number; readonly endpoint: Endpoint }[] {
  return (
    loadOf(cluster, tables)?.localities.flatMap(({ priority, endpoints }) =>
      endpoints.map((endpoint) => ({ priority, endpoint })),
    ) ?? []
  )
}
