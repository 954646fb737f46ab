/** Virtual hosts of a port: of VirtualServices and of services without one (core/httproute.go, core/route/route.go). */
import type { Config } from '../config.ts'
import { compact, joinHostPort, nameCluster, type Json } from '../json.ts'
import { isWildcard, overlaps } from '../mesh/hosts.ts'
import { isHttpOrAuto } from '../mesh/protocols.ts'
import type { Proxy } from '../mesh/proxy.ts'
import type { Service } from '../mesh/services.ts'
import type { EgressListener } from '../mesh/sidecar-scope.ts'
import { listDomains } from './domains.ts'
import { findServiceHash, makeHashPolicy } from './hash.ts'
import { makeRetryPolicy } from './retries.ts'
import { makeRoutes } from './route.ts'

type Routes = Config<'VirtualService'>
export type VirtualHost = { readonly name: string; domains: readonly string[]; readonly json: Json }

/** Routes with the hosts that they are for. */
type Group = {
  readonly port: number
  readonly services: readonly Service[]
  readonly hosts: readonly string[]
  readonly routes: readonly Json[]
}

/** @param port of the listener; 0: every port, for the explicit proxy */
export function makeVirtualHosts(proxy: Proxy, listener: EgressListener, port: number): VirtualHost[] {
  const services = new Map<string, Service>()
  for (const service of listener.services) {
    const only = port === 0 ? service : atPort(service, port)
    // Of two entries for one host the later one has it.
    if (only) services.set(only.hostname, only)
  }
  const selected = port === 80 ? listener.routes : listener.routes.filter((r) => hasHost(r, services))
  const groups = selected.flatMap((config) => groupRoutes(proxy, { config, listener, services, port }))
  const routed = new Set(groups.flatMap((g) => g.services.map((s) => s.hostname)))
  for (const service of services.values())
    if (!routed.has(service.hostname))
      for (const p of service.ports) if (isHttpOrAuto(p.protocol)) groups.push(makeDefault(proxy, service, p.number))
  return new HostWriter(proxy, groups, port).write()
}

function atPort(service: Service, number: number): Service | undefined {
  const port = service.ports.find((p) => p.number === number)
  return port && { ...service, hostname: service.hostname.toLowerCase(), ports: [port] }
}

function hasHost({ spec }: Routes, services: ReadonlyMap<string, Service>): boolean {
  return spec.hosts.some((host) => {
    const name = host.toLowerCase()
    if (services.has(name)) return true
    return [...services.keys()].some((s) => (isWildcard(name) || isWildcard(s)) && overlaps(name, s))
  })
}

type Source = {
  readonly config: Routes
  readonly listener: EgressListener
  readonly services: ReadonlyMap<string, Service>
  readonly port: number
}

function groupRoutes(proxy: Proxy, source: Source): Group[] {
  const { config, services, port } = source
  const routes = makeRoutes({ proxy, config, port, findService: (host) => services.get(host) })
  if (routes.length === 0) return []
  const { hosts, matched } = separateHosts(source)
  const byPort = new Map<number, Service[]>()
  for (const service of matched)
    for (const p of service.ports)
      if (isHttpOrAuto(p.protocol)) byPort.set(p.number, [...(byPort.get(p.number) ?? []), service])
  // Hosts that no service has are routed on port 80 only.
  if (byPort.size === 0 && port === 80) byPort.set(80, [])
  return [...byPort].map(([number, its]) => ({ port: number, services: its, hosts, routes }))
}

/** Hosts that are services, and those that are not. */
function separateHosts({ config, listener, services }: Source): {
  readonly hosts: readonly string[]
  readonly matched: readonly Service[]
} {
  const hosts: string[] = []
  const matched: Service[] = []
  for (const host of config.spec.hosts.filter((h) => !isWildcard(h))) {
    const service = services.get(host.toLowerCase())
    if (service) matched.push(service)
    else hosts.push(host)
  }
  for (const host of config.spec.hosts.filter(isWildcard)) {
    const within = [...services.values()].filter((s) => overlaps(s.hostname, host.toLowerCase()))
    if (within.length === 0) hosts.push(host.toLowerCase())
    matched.push(...within.filter((s) => isSame(listener.mostSpecific.get(s.hostname), config)))
  }
  return { hosts, matched }
}

function isSame(a: Routes | undefined, b: Routes): boolean {
  return a?.name === b.name && a.namespace === b.namespace
}

function makeDefault(proxy: Proxy, service: Service, port: number): Group {
  const { hostname } = service
  const hash = findServiceHash(proxy, hostname, port)
  const route = compact({
    cluster: nameCluster(hostname, port),
    timeout: '0s',
    max_grpc_timeout: '0s',
    retry_policy: makeRetryPolicy(undefined, 'any'),
    hash_policy: hash && [makeHashPolicy(hash)],
  })
  const operation = `${joinHostPort(hostname, port)}/*`
  const json = { name: 'default', match: { prefix: '/' }, route, decorator: { operation } }
  return { port, services: [service], hosts: [], routes: [json] }
}

/** Names and domains are unique in a table: the first one has them. */
class HostWriter {
  readonly #proxy: Proxy
  readonly #groups: readonly Group[]
  readonly #port: number
  readonly #names = new Set<string>()
  readonly #domains = new Set<string>()
  readonly #whole: ReadonlySet<string>

  constructor(proxy: Proxy, groups: readonly Group[], port: number) {
    this.#proxy = proxy
    this.#groups = groups
    this.#port = port
    this.#whole = new Set(
      groups.flatMap((g) => g.services.flatMap((s) => [s.hostname, joinHostPort(s.hostname, g.port)])),
    )
  }

  write(): VirtualHost[] {
    const all = this.#groups.flatMap((group) =>
      [
        ...group.hosts.map((host) => this.#host(host.toLowerCase(), group, undefined)),
        ...group.services.map((service) => this.#host(service.hostname, group, service)),
      ]
        .filter((h) => h !== undefined)
        .map((h) => ({ ...h, port: group.port })),
    )
    if (this.#port !== 0) return all.filter((h) => h.port === this.#port)
    // Without a port a name is that of port 80, as in a URL.
    return all
      .map((h) => ({ ...h, domains: h.port === 80 ? h.domains : h.domains.filter((d) => d.includes(':')) }))
      .filter((h) => h.domains.length > 0)
  }

  #host(host: string, group: Group, service: Service | undefined): VirtualHost | undefined {
    const name = joinHostPort(host, group.port)
    if (this.#names.has(name)) return undefined
    this.#names.add(name)
    const { node, mesh } = this.#proxy
    const { all, alternative } = service
      ? listDomains(service, this.#port === 0 ? group.port : 0, node.namespace, mesh.options.domain)
      : { all: [host.includes(':') ? `[${host}]` : host], alternative: [] }
    const domains = all.filter((domain) => {
      if (this.#domains.has(domain.toLowerCase())) return false
      if (alternative.includes(domain) && this.#whole.has(domain)) return false
      this.#domains.add(domain.toLowerCase())
      return true
    })
    if (domains.length === 0) return undefined
    return { name, domains, json: { routes: [...group.routes], include_request_attempt_count: true } }
  }
}
