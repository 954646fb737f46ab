import type { Cluster, ClusterLoad } from './cluster.ts'
import type { Listener } from './listener.ts'
import type { RouteConfig, VirtualHost } from './route.ts'

/**
 * One host of the name table (istio.networking.nds.v1.NameTable.NameInfo). `service`: what Kubernetes calls it; its short names are made of that.
 * Undefined for hosts of other registries, which have none.
 */
export type NamedHost = { readonly addresses: readonly string[]; readonly service: { readonly name: string; readonly namespace: string } | undefined }
/** Lower-case host name without a trailing dot, or `*.` and such a name, → host. */
export type Names = ReadonlyMap<string, NamedHost>

/**
 * A snapshot indexed for lookup; immutable. What did not change between two generations is the same object in both,
 * so `===` tells whether a connection, pool or listener is concerned.
 */
export interface Tables {
  readonly generation: number
  readonly listeners: ReadonlyMap<string, Listener>
  cluster(name: string): Cluster | undefined
  /** EDS by cluster service name; undefined = never received. */
  load(serviceName: string): ClusterLoad | undefined
  routes(name: string): RouteTable | undefined
  clusterNames(): Iterable<string>
  /** DNS names to addresses (NDS); undefined = none received. */
  readonly names: Names | undefined
  /** True until a control plane has confirmed what came from disk. */
  readonly stale: boolean
}

/** A virtual host that is decoded when it is first asked for. `value` is undefined for one that cannot be used: it then has no routes. */
export interface HostSource {
  readonly domains: readonly string[]
  readonly value: VirtualHost | undefined
}

/** Virtual hosts by Host header, in Envoy's order: exact, longest suffix wildcard, longest prefix wildcard, `*`. */
export class RouteTable {
  readonly config: Omit<RouteConfig, 'virtualHosts'>
  readonly #exact = new Map<string, HostSource>()
  readonly #suffixes: [suffix: string, host: HostSource][] = []
  readonly #prefixes: [prefix: string, host: HostSource][] = []
  #any: HostSource | undefined

  /** @param hosts left out: those of the configuration */
  constructor(config: RouteConfig, hosts: readonly HostSource[] = config.virtualHosts.map((value) => ({ domains: value.domains, value }))) {
    this.config = config
    for (const host of hosts) for (const domain of host.domains) this.#add(domain.toLowerCase(), host)
    this.#suffixes.sort((a, b) => b[0].length - a[0].length)
    this.#prefixes.sort((a, b) => b[0].length - a[0].length)
  }

  /** @param authority Host header or :authority; compared without regard to case, and without port where the table says so. */
  virtualHost(authority: string): VirtualHost | undefined { return (this.#exact.get(authority) ?? this.#search(authority))?.value }

  #search(authority: string): HostSource | undefined {
    let host = authority.toLowerCase()
    if (this.config.ignorePortInHost) host = withoutPort(host)
    return this.#exact.get(host)
      ?? this.#suffixes.find(([s]) => host.length > s.length && host.endsWith(s))?.[1]
      ?? this.#prefixes.find(([p]) => host.length > p.length && host.startsWith(p))?.[1]
      ?? this.#any
  }

  #add(domain: string, host: HostSource): void {
    if (domain === '*') this.#any ??= host
    else if (domain.startsWith('*')) this.#suffixes.push([domain.slice(1), host])
    else if (domain.endsWith('*')) this.#prefixes.push([domain.slice(0, -1), host])
    else {
      const key = this.config.ignorePortInHost ? withoutPort(domain) : domain
      if (!this.#exact.has(key)) this.#exact.set(key, host)
    }
  }
}

export function withoutPort(authority: string): string {
  const colon = authority.lastIndexOf(':')
  if (colon < 0 || authority.endsWith(']') || authority.indexOf(':') !== colon && !authority.startsWith('[')) return authority
  return authority.slice(0, colon)
}

export const EMPTY_TABLES: Tables = {
  generation: 0, listeners: new Map(), names: undefined, stale: true,
  cluster: () => undefined, load: () => undefined, routes: () => undefined, clusterNames: () => [],
}
