/**
 * What resources name in each other: which endpoints and route tables to subscribe to, and which names lead nowhere.
 * Pure.
 */
import type { Cluster } from '../model/cluster.ts'
import { isRemote } from '../model/http/jwt.ts'
import type { FilterChain, Listener } from '../model/listener.ts'
import type { RouteConfig, VirtualHost } from '../model/route.ts'
import type { DownstreamTls, UpstreamTls } from '../model/tls.ts'
import type { ResourceKind } from '../model/snapshot.ts'
import type { Notes } from './notes.ts'

export type NamedKind = 'cluster' | 'endpoint' | 'route' | 'secret' | 'extension'
/**
 * Kind → names, and what is not in force as it was sent. Small, and stored beside the resource, so that nothing needs
 * to be decoded to know it. `by`: which decoders found it out; others may find something else.
 */
export type References = { readonly [K in NamedKind]?: readonly string[] } & {
  readonly notes?: Notes
  readonly by?: string
}
export const NO_REFERENCES: References = {}
/** Only these say such names: a look for them must not walk over all the others. */
export const WHO_NAMES = {
  cluster: ['listener', 'route'],
  endpoint: ['cluster'],
  route: ['listener'],
  secret: ['listener', 'cluster'],
  extension: ['listener'],
} as const satisfies { readonly [K in NamedKind]: readonly ResourceKind[] }

/** @param value what decode gave for that kind */
export function collectReferences(kind: ResourceKind, value: unknown): References {
  switch (kind) {
    case 'cluster':
      return collectClusterReferences(value as Parameters<typeof collectClusterReferences>[0])
    case 'listener':
      return collectListenerReferences(value as Parameters<typeof collectListenerReferences>[0])
    case 'route':
      return { cluster: [...collectRouteReferences((value as RouteConfig).virtualHosts)] }
    case 'endpoint':
    case 'secret':
    case 'extension':
    case 'nameTable':
    case 'proxyConfig':
      return NO_REFERENCES
    default:
      return kind satisfies never
  }
}

function collectClusterReferences({ discovery, transport, transportMatches }: Cluster): References {
  const secrets = collectSecrets(
    [transport, ...transportMatches.map((m) => m.transport)].map((t) => (t.kind === 'tls' ? t.tls : undefined)),
  )
  if (discovery.kind !== 'eds' && secrets.length === 0) return NO_REFERENCES
  return {
    ...(discovery.kind === 'eds' ? { endpoint: [discovery.serviceName] } : {}),
    ...(secrets.length > 0 ? { secret: secrets } : {}),
  }
}

function collectSecrets(settings: readonly (DownstreamTls | UpstreamTls | undefined)[]): readonly string[] {
  const names = new Set<string>()
  for (const tls of settings)
    for (const ref of [tls?.certificate, tls?.validation?.roots]) if (ref?.from === 'secret') names.add(ref.name)
  return [...names]
}

function collectListenerReferences({ filterChains, defaultFilterChain, extensions }: Listener): References {
  const routes = new Set<string>()
  const clusters = new Set<string>()
  const chains: readonly FilterChain[] = [...filterChains, ...(defaultFilterChain ? [defaultFilterChain] : [])]
  for (const { codec } of chains) {
    if (codec.kind === 'tcp') for (const c of codec.tcp.clusters) clusters.add(c.name)
    if (codec.kind === 'mqtt') {
      if (codec.proxy) clusters.add(codec.proxy.cluster)
      for (const r of codec.mqtt.routes) clusters.add(r.cluster)
      for (const { failover, serverReferences } of codec.mqtt.bridges)
        for (const name of [...failover, ...Object.values(serverReferences)]) clusters.add(name)
    }
    if (codec.kind !== 'http') continue
    for (const filter of codec.http.filters)
      if (filter.kind === 'jwt')
        for (const { jwks } of filter.jwt.providers) if (isRemote(jwks)) clusters.add(jwks.cluster)
    if (codec.http.routes.from === 'rds') routes.add(codec.http.routes.name)
    else for (const name of collectRouteReferences(codec.http.routes.config.virtualHosts)) clusters.add(name)
  }
  const secrets = collectSecrets(chains.map(({ tls }) => tls))
  return {
    route: [...routes],
    cluster: [...clusters],
    ...(secrets.length > 0 ? { secret: secrets } : {}),
    ...(extensions ? { extension: extensions } : {}),
  }
}

/** Names of clusters. */
export function collectRouteReferences(virtualHosts: RouteConfig['virtualHosts']): ReadonlySet<string> {
  const clusters = new Set<string>()
  const addMirrors = (mirrors: VirtualHost['mirrors']): void => {
    for (const { cluster } of mirrors ?? []) if ('name' in cluster) clusters.add(cluster.name)
  }
  for (const host of virtualHosts) {
    addMirrors(host.mirrors)
    for (const { action } of host.routes) {
      if (action.kind !== 'forward') continue
      for (const c of action.clusters) clusters.add(c.name)
      addMirrors(action.mirrors)
    }
  }
  return clusters
}

export type Holder = { readonly kind: ResourceKind; readonly name: string; readonly references: References }
export type Dangling = { readonly holder: Holder; readonly kind: 'cluster'; readonly name: string }

/**
 * Clusters that are named and do not exist. Not an error of the push: requests for them are answered with
 * MESH_NO_CLUSTER, all else is served. (Endpoints and route tables are subscribed by name and may still be on their
 * way.)
 */
export function findDangling(holders: Iterable<Holder>, exists: (cluster: string) => boolean): Dangling[] {
  const found: Dangling[] = []
  for (const holder of holders) {
    for (const name of holder.references.cluster ?? []) if (!exists(name)) found.push({ holder, kind: 'cluster', name })
  }
  return found
}
