/** What stands behind the name of an internal listener: to whom a CONNECT for an endpoint goes, and who that must be. */
import { MeshError } from '../../../core/errors.ts'
import { ANY_CONNECTION, type FilterChain } from '../../../model/listener.ts'
import type { Cluster, TunnelWay } from '../../../model/cluster.ts'
import type { PeerIdentity } from '../../../model/identity.ts'
import type { Tables } from '../../../model/tables.ts'
import type { SanMatch } from '../../../model/tls.ts'
import { usesIdentity } from '../../certificate-expiry.ts'
import { matchesSans } from '../../tls/peer.ts'

/**
 * The cluster whose endpoints open tunnels (istiod's connect_originate). Throws MESH_CLUSTER_BLOCKED for anything but
 * HTTP/2 over TLS with the mesh's identity: what is sent inside may be plain text.
 */
export function findTunnelCluster(tables: Tables, { listener: name }: TunnelWay): Cluster {
  const listener = tables.listeners.get(name)
  if (!listener?.internal) throw blocked(name, 'is not configured')
  const { filterChains, defaultFilterChain } = listener
  const [chain, ...more] = defaultFilterChain ? [...filterChains, defaultFilterChain] : filterChains
  const reason = more.length > 0 ? 'has several filter chains' : findProblem(chain)
  if (!chain || reason !== undefined) throw blocked(name, reason ?? 'has no filter chain')
  const [to, ...others] = chain.codec.kind === 'tcp' ? chain.codec.tcp.clusters : []
  const cluster = to && others.length === 0 ? tables.cluster(to.name) : undefined
  if (!cluster) throw blocked(name, `leads to the cluster ${to?.name ?? '(none)'}, which is unknown`)
  const { transport, discovery, protocol, transportMatches } = cluster
  const isMutual = transport.kind === 'tls' && usesIdentity(transport.tls) && transport.tls.validation !== undefined
  if (!isMutual || transport.internal || discovery.kind !== 'original-dst' || protocol !== 'http2')
    throw blocked(name, `leads to the cluster ${cluster.name}, which is none of HTTP/2 over mutual TLS to its address`)
  if (transportMatches.length > 0) throw blocked(name, `leads to the cluster ${cluster.name}, which has several ways`)
  return cluster
}

function findProblem(chain: FilterChain | undefined): string | undefined {
  if (chain?.codec.kind === 'blocked') return `refuses: ${chain.codec.reason}`
  if (chain?.codec.kind !== 'tcp' || !chain.codec.tcp.tunnels) return 'opens no tunnels'
  const { policies, limits = [], authz = [], tls, match } = chain
  if (policies.length + limits.length + authz.length > 0 || tls) return 'has filters that nobody asks'
  return JSON.stringify(match) === JSON.stringify(ANY_CONNECTION) ? undefined : 'does not take every connection'
}

function blocked(name: string, what: string): MeshError {
  return new MeshError('MESH_CLUSTER_BLOCKED', `no tunnel can be opened: the internal listener ${name} ${what}`)
}

/**
 * Whether the other end of a tunnel may be who serves the endpoints of the cluster. istiod tells the trust domain of
 * tunnels and no more; whom it names for a connection without one is expected here, too. A waypoint is somebody else.
 */
export function isExpected(peer: PeerIdentity | undefined, cluster: Cluster, { waypoint }: TunnelWay): boolean {
  if (waypoint) return true
  const named = collectNames(cluster)
  return named === undefined || (peer !== undefined && matchesSans(named, { identity: peer, ipSans: [] }))
}

/** Undefined: nobody in particular. */
function collectNames({ transport, transportMatches }: Cluster): readonly SanMatch[] | undefined {
  const names: SanMatch[] = []
  for (const one of [...transportMatches.map((m) => m.transport), transport]) {
    if (one.kind !== 'tls' || one.internal || !usesIdentity(one.tls) || !one.tls.validation) continue
    const { sans } = one.tls.validation
    if (sans.length === 0) return undefined
    names.push(...sans)
  }
  return names.length === 0 ? undefined : names
}
