/** EnvoyFilters: listeners that are added, network filters that are replaced (core/envoyfilter/listener_patch.go). */
import { isSelected, type Config } from '../config.ts'
import type { EnvoyPatch } from '../kinds/envoy-filter.ts'
import type { Json } from '../json.ts'
import type { Proxy } from '../mesh/proxy.ts'

/** Those of the root namespace first, then the node's own; a lower priority before a higher one. */
function selectPatches({ mesh, node, labels }: Proxy): EnvoyPatch[] {
  const root = mesh.options.rootNamespace
  const of = (namespace: string): Config<'EnvoyFilter'>[] =>
    mesh.configs.EnvoyFilter.filter(
      (f) => f.namespace === namespace && isSelected(f.spec.workloadSelector?.labels, labels),
    ).sort((a, b) => (a.spec.priority ?? 0) - (b.spec.priority ?? 0))
  const all = [...of(root), ...(node.namespace === root ? [] : of(node.namespace))]
  return all.flatMap((f) => f.spec.configPatches)
}

export function applyPatches(proxy: Proxy, listeners: readonly Json[]): Json[] {
  const patches = selectPatches(proxy)
  if (patches.length === 0) return [...listeners]
  const replaced = listeners.map((listener) =>
    patches.filter((p) => p.applyTo === 'NETWORK_FILTER').reduce(replaceFilters, listener),
  )
  const added = patches.filter((p) => p.applyTo === 'LISTENER').map((p) => p.patch.value as Json)
  const names = new Set(replaced.map((l) => l['name']))
  return [...replaced, ...added.filter((l) => !names.has(l['name']!))]
}

const DIRECTIONS = { SIDECAR_INBOUND: 'INBOUND', SIDECAR_OUTBOUND: 'OUTBOUND' } as const

function replaceFilters(listener: Json, { match, patch }: EnvoyPatch): Json {
  if (listener['traffic_direction'] !== DIRECTIONS[match.context]) return listener
  if (match.listener?.name !== undefined && match.listener.name !== listener['name']) return listener
  const wanted = match.listener!.filterChain!.filter.name
  const replace = (chain: Json): Json => {
    if (!isAtPort(listener, chain, match.listener?.portNumber)) return chain
    const filters = (chain['filters'] as Json[]).map((f) => (f['name'] === wanted ? (patch.value as Json) : f))
    return { ...chain, filters }
  }
  const last = listener['default_filter_chain'] as Json | undefined
  return {
    ...listener,
    filter_chains: (listener['filter_chains'] as Json[]).map(replace),
    ...(last ? { default_filter_chain: replace(last) } : {}),
  }
}

/** Of a virtual listener the chain's port counts. */
function isAtPort(listener: Json, chain: Json, port: number | undefined): boolean {
  if (port === undefined) return true
  const own = ((listener['address'] as Json)['socket_address'] as Json)['port_value']
  const isVirtual = listener['name'] === 'virtualInbound'
  const ofChain = (chain['filter_chain_match'] as Json | undefined)?.['destination_port']
  return isVirtual ? ofChain === port : own === port
}
