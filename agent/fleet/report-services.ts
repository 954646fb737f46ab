/**
 * The services that a report names: clusters, the worst first. Only clusters that were used, or are asked whether they
 * are well, are at work (protocols/upstream/); of the others the tables say what endpoints they have, which are decoded
 * for that once for each version of the tables, and only for as many as have a row.
 */
import type { Tables } from '../../model/tables.ts'
import { compareServices, type ReportedService, type ReportedServices } from '../../model/fleet/report-details.ts'
import type { ClusterStatus } from '../../protocols/http/message.ts'
import { describeIdleCluster } from '../admin/clusters-page.ts'
import type { StatusParts } from '../admin/status-parts.ts'

type Parts = Pick<StatusParts, 'upstreams' | 'tables'>

/** The result collects them as they are at the moment. @param most that are named */
export function createServiceCollector({ upstreams, tables }: Parts, most: number): () => ReportedServices {
  let idle: { readonly of: Tables; readonly known: Map<string, ReportedService> } | undefined
  return () => {
    const now = tables.get()
    if (idle?.of !== now) idle = { of: now, known: new Map() }
    const atWork = joinVersions(upstreams.clusterStatus())
    const rows = [...atWork.values()].sort(compareServices).slice(0, most)
    let idles = 0
    for (const name of now.clusterNames()) {
      if (atWork.has(name)) continue
      idles++
      if (rows.length < most) rows.push(describeIdle(name, now, idle.known))
    }
    return { rows, more: atWork.size + idles - rows.length }
  }
}

function describeIdle(name: string, tables: Tables, known: Map<string, ReportedService>): ReportedService {
  const found = known.get(name) ?? describe(describeIdleCluster(name, tables))
  known.set(name, found)
  return found
}

/** Of a cluster that was replaced, what its last connections still belong to is there as well. */
function joinVersions(all: readonly ClusterStatus[]): ReadonlyMap<string, ReportedService> {
  const byName = new Map<string, ReportedService>()
  for (const status of all) {
    const { connections = 0 } = byName.get(status.name) ?? {}
    const service = describe(status)
    byName.set(status.name, { ...service, connections: service.connections + connections })
  }
  return byName
}

function describe({ name, endpoints, connections }: ClusterStatus): ReportedService {
  return { name, endpoints: endpoints.length, healthy: endpoints.filter(isHealthy).length, connections }
}
function isHealthy({ health, ejected, check }: ClusterStatus['endpoints'][number]): boolean {
  return (health === 'healthy' || health === 'degraded') && !ejected && check?.hasFailed !== true
}
