/** One node's resources of all four types, as an istiod would send them. */
import { makeFixedClusters } from './cds/cluster.ts'
import { makeInboundClusters } from './cds/inbound.ts'
import { makeOutboundClusters } from './cds/outbound.ts'
import type { Json } from './json.ts'
import { makeInboundListeners } from './lds/inbound.ts'
import { makeOutboundListeners } from './lds/outbound.ts'
import { applyPatches } from './lds/patches.ts'
import type { Proxy } from './mesh/proxy.ts'
import { hasIpv4 } from './node.ts'
import { makeRouteTable } from './rds/route-table.ts'

export type NodeResources = {
  readonly cluster: readonly Json[]
  readonly endpoint: readonly Json[]
  readonly listener: readonly Json[]
  readonly route: readonly Json[]
}

export function compileNode(proxy: Proxy): NodeResources {
  const { node } = proxy
  const outbound = makeOutboundClusters(proxy)
  const listeners = applyPatches(proxy, [...makeInboundListeners(proxy), ...makeOutboundListeners(proxy)])
  const clusters = [
    ...outbound.clusters,
    ...makeFixedClusters({ hasIpv4: hasIpv4(node), hasIpv6: node.ips.some((ip) => ip.includes(':')) }),
    ...makeInboundClusters(proxy),
  ]
  const tables = new Set(listeners.flatMap(listTables))
  return {
    cluster: firstOfName(clusters),
    endpoint: outbound.assignments,
    listener: listeners,
    route: [...tables].map((name) => makeRouteTable(proxy, name)),
  }
}

function firstOfName(all: readonly Json[]): Json[] {
  const names = new Set<unknown>()
  return all.filter(({ name }) => !names.has(name) && names.add(name))
}

/** Names of route tables that a listener asks for. */
function listTables(listener: Json): string[] {
  const chains = [
    ...((listener['filter_chains'] ?? []) as Json[]),
    listener['default_filter_chain'] as Json | undefined,
  ]
  return chains
    .flatMap((chain) => (chain?.['filters'] ?? []) as Json[])
    .flatMap((filter) => {
      const rds = (filter['typed_config'] as Json | undefined)?.['rds'] as Json | undefined
      const name = rds?.['route_config_name']
      return typeof name === 'string' ? [name] : []
    })
}
