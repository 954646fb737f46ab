import type { Cluster, ClusterLoad } from './cluster.ts'
import type { Listener } from './listener.ts'
import type { RouteConfig, VirtualHost } from './route.ts'
import type { Secret } from './tls.ts'

/**
 * One host of the name table (istio.networking.nds.v1.NameTable.NameInfo). `service`: what Kubernetes calls it; its
 * short names are made of that. Undefined for hosts of other registries, which have none.
 */
export type NamedHost = {
  readonly addresses: readonly string[]
  readonly service: { readonly name: string; readonly namespace: string } | undefined
}
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
  /** Undefined = never received. */
  secret(name: string): Secret | undefined
  clusterNames(): Iterable<string>
  /** Those whose hosts are asked whether they are well. */
  checkedClusters(): Iterable<string>
  /** DNS names to addresses (NDS); undefined = none received. */
  readonly names: Names | undefined
  /** True until a control plane has confirmed what came from disk. */
  readonly stale: boolean
}

/**
 * A virtual host that is decoded when it is first asked for. `value` is undefined for one that cannot be used: it then
 * has no routes.
 */
export interface HostSource {
  readonly value: VirtualHost | undefined
}

/** Virtual hosts by domain. */
export interface HostIndex {
  /** The first one that has it. @param domain lower case */
  exact(domain: string): HostSource | undefined
  /** `*`, `*.suffix` and `prefix.*`, lower case, in the order of their hosts. */
  readonly wildcards: readonly (readonly [domain: string, host: HostSource])[]
}

/** Virtual hosts by Host header, in Envoy's order: exact, longest suffix wildcard, longest prefix wildcard, `*`. */
export class RouteTable {
  readonly config: Omit<RouteConfig, 'virtualHosts'>
  readonly #hosts: HostIndex
  /** Exact domains that were asked for. */
  readonly #exact = new Map<string, HostSource>()
  readonly #suffixes: [suffix: string, host: HostSource][] = []
  readonly #prefixes: [prefix: string, host: HostSource][] = []
  #any: HostSource | undefined

  /** @param hosts left out: those of the configuration */
  constructor(config: RouteConfig, hosts: HostIndex = hostsOf(config)) {
    this.config = config
    this.#hosts = hosts
    for (const [domain, host] of hosts.wildcards) this.#add(domain, host)
    this.#suffixes.sort((a, b) => b[0].length - a[0].length)
    this.#prefixes.sort((a, b) => b[0].length - a[0].length)
  }

  /**
   * @param authority Host header or :authority; compared without regard to case, and without port where the table says
   * so.
   */
  virtualHost(authority: string): VirtualHost | undefined {
    return (this.#exact.get(authority) ?? this.#search(authority))?.value
  }

  /**
   * Envoy takes the port off the request's host and never off a domain (ignore_port_in_host_matching), so that a domain
   * with a port matches nothing there. istiod's http_proxy table has such domains for all ports but 80: they can only
   * mean that port, and are asked for first.
   */
  #search(authority: string): HostSource | undefined {
    const full = authority.toLowerCase()
    const host = this.config.ignorePortInHost ? withoutPort(full) : full
    return (
      (host.length < full.length ? this.#exactly(full) : undefined) ??
      this.#exactly(host) ??
      this.#suffixes.find(
        ([s]) => (host.length > s.length && host.endsWith(s)) || (full.length > s.length && full.endsWith(s)),
      )?.[1] ??
      this.#prefixes.find(([p]) => host.length > p.length && host.startsWith(p))?.[1] ??
      this.#any
    )
  }

  #exactly(domain: string): HostSource | undefined {
    const known = this.#exact.get(domain)
    if (known) return known
    const found = this.#hosts.exact(domain)
    if (found) this.#exact.set(domain, found)
    return found
  }

  #add(domain: string, host: HostSource): void {
    if (domain === '*') this.#any ??= host
    else if (domain.startsWith('*')) this.#suffixes.push([domain.slice(1), host])
    else this.#prefixes.push([domain.slice(0, -1), host])
  }
}

export function isWildcard(domain: string): boolean {
  return domain.startsWith('*') || domain.endsWith('*')
}

/** Of virtual hosts that are decoded. */
function hostsOf(config: RouteConfig): HostIndex {
  const exact = new Map<string, HostSource>()
  const wildcards: [string, HostSource][] = []
  for (const value of config.virtualHosts) {
    const host = { value }
    for (const domain of value.domains) {
      if (isWildcard(domain)) {
        wildcards.push([domain, host])
        continue
      }
      if (!exact.has(domain)) exact.set(domain, host)
    }
  }
  return { exact: (domain) => exact.get(domain), wildcards }
}

export function withoutPort(authority: string): string {
  const colon = authority.lastIndexOf(':')
  if (colon < 0 || authority.endsWith(']') || (authority.indexOf(':') !== colon && !authority.startsWith('[')))
    return authority
  return authority.slice(0, colon)
}

export const EMPTY_TABLES: Tables = {
  generation: 0,
  listeners: new Map(),
  names: undefined,
  stale: true,
  cluster: () => undefined,
  load: () => undefined,
  routes: () => undefined,
  secret: () => undefined,
  clusterNames: () => [],
  checkedClusters: () => [],
}
