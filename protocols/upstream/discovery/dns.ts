/**
 * Endpoints that are host names (envoy STRICT_DNS, LOGICAL_DNS): resolved at first use and again every refresh; the
 * last good answer stays.
 */
import { promises as dns } from 'node:dns'
import net from 'node:net'
import type { Clock, Timer } from '../../../core/os/clock.ts'
import type { Address } from '../../../core/os/network.ts'
import { MeshError } from '../../../core/errors.ts'
import type { Log } from '../../../core/log.ts'
import type { ClusterLoad, Discovery, DnsLookupFamily, Endpoint } from '../../../model/cluster.ts'

/** Addresses of a name of one family, or of both (0), best first. Rejects or gives none when there are none. */
export type Resolve = (name: string, family: 0 | 4 | 6) => Promise<readonly string[]>

/** The operating system's resolver, with /etc/hosts; its order is that of RFC 6724. */
export const resolveBySystem: Resolve = async (name, family) =>
  (await dns.lookup(name, { all: true, family, order: 'verbatim' })).map((a) => a.address)

/**
 * These resolvers and nobody else: where the system's own configuration names the DNS proxy of this agent, a name of the
 * mesh would lead back to the address that the mesh gave it. Hosts that the system knows by itself (/etc/hosts) count.
 * @param timeoutMs of one question to one of them @param findHost addresses of /etc/hosts
 */
export function createResolve(
  servers: readonly Address[],
  { timeoutMs, findHost }: { readonly timeoutMs: number; readonly findHost: (name: string) => readonly string[] },
): Resolve {
  const resolver = new dns.Resolver({ timeout: timeoutMs, tries: 2 })
  resolver.setServers(servers.map(({ host, port }) => (host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`)))
  return async (name, family) => {
    const known = findHost(name).filter((a) => net.isIP(a) === (family || net.isIP(a)))
    if (known.length > 0) return known
    const asked = await Promise.allSettled([
      family === 4 ? [] : resolver.resolve6(name),
      family === 6 ? [] : resolver.resolve4(name),
    ])
    const found = asked.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []))
    const failed = asked.find((answer) => answer.status === 'rejected')
    if (found.length === 0 && failed) throw failed.reason
    return found
  }
}

/** As Envoy's dns_lookup_family: of the second family there is something only where the first has no address. */
async function lookUp(resolve: Resolve, name: string, by: DnsLookupFamily): Promise<readonly string[]> {
  const of = (addresses: readonly string[], family: 4 | 6): readonly string[] =>
    addresses.filter((a) => net.isIP(a) === family)
  const preferred = async (family: 4 | 6): Promise<readonly string[]> => {
    const found = await resolve(name, 0)
    const first = of(found, family)
    return first.length > 0 ? first : found
  }
  switch (by) {
    case 'auto':
      return preferred(6)
    case 'v4-preferred':
      return preferred(4)
    case 'v4-only':
      return of(await resolve(name, 4), 4)
    case 'v6-only':
      return of(await resolve(name, 6), 6)
    case 'all':
      return resolve(name, 0)
    default:
      return by satisfies never
  }
}

/**
 * The system's resolver has its own patience, which may be none at all; requests wait for it. Rejects with
 * MESH_DNS_FAILED, or what the resolver says.
 */
export async function resolveInTime(
  resolve: Resolve,
  { name, lookupFamily }: { readonly name: string; readonly lookupFamily: DnsLookupFamily },
  clock: Clock,
): Promise<readonly string[]> {
  const late = Promise.withResolvers<never>()
  const timer = clock.after(LOOKUP_MS, () => {
    late.reject(new MeshError('MESH_DNS_FAILED', `no answer for ${name} within ${LOOKUP_MS} ms`))
  })
  try {
    return (await Promise.race([lookUp(resolve, name, lookupFamily), late.promise])).slice(0, MAX_ADDRESSES)
  } finally {
    timer.cancel()
  }
}

/** More addresses of one name than this are not used. */
const MAX_ADDRESSES = 64
const LOOKUP_MS = 15_000

export class DnsLoad implements Disposable {
  /** Undefined until the first answer. */
  current: ClusterLoad | undefined
  readonly #discovery: Extract<Discovery, { kind: 'dns' }>
  readonly #clock: Clock
  readonly #resolve: Resolve
  readonly #log: Log
  readonly #found: (() => void) | undefined
  readonly #known = new Map<string, readonly string[]>()
  #first: Promise<void> | undefined
  #timer: Timer | undefined
  #disposed = false

  /** @param o.found called for each answer; names are then also tried again where nobody waits */
  constructor(
    discovery: Extract<Discovery, { kind: 'dns' }>,
    o: { clock: Clock; resolve: Resolve; log: Log; found?: (() => void) | undefined },
  ) {
    this.#discovery = discovery
    this.#clock = o.clock
    this.#resolve = o.resolve
    this.#log = o.log
    this.#found = o.found
  }

  /**
   * Resolves when there is an answer. Rejects with MESH_DNS_FAILED when no name of the cluster resolves; the next call
   * tries again.
   */
  ready(): Promise<void> {
    if (this.current) return Promise.resolve()
    this.#first ??= this.#refresh().finally(() => {
      this.#first = undefined
    })
    return this.#first
  }

  async #refresh(): Promise<void> {
    const names = new Set<string>()
    for (const { endpoints } of this.#discovery.load.localities)
      for (const e of endpoints) if (net.isIP(e.address) === 0) names.add(e.address)
    let failure: unknown
    await Promise.all(
      [...names].map(async (name) => {
        try {
          const { lookupFamily = 'auto' } = this.#discovery
          const found = await resolveInTime(this.#resolve, { name, lookupFamily }, this.#clock)
          if (found.length > 0) this.#known.set(name, found)
        } catch (err) {
          failure = err
          this.#log.debug({ evt: 'dns.failed', name, err }, 'name does not resolve')
        }
      }),
    )
    const next = this.#expanded()
    if (next.localities.every((l) => l.endpoints.length === 0)) {
      if (!this.current && this.#found) this.#tryAgain()
      if (!this.current)
        throw new MeshError('MESH_DNS_FAILED', `no name of cluster ${this.#discovery.load.clusterName} resolves`, {
          cause: failure,
        })
    } else if (!this.current || JSON.stringify(next) !== JSON.stringify(this.current)) this.current = next
    this.#tryAgain()
    this.#found?.()
  }
  #tryAgain(): void {
    // Callers that still wait get this answer; there is no next one.
    if (this.#disposed) return
    this.#timer?.cancel()
    this.#timer = this.#clock.after(Math.max(1000, this.#discovery.refreshMs), () => {
      this.#refresh().catch(() => {})
    })
  }

  #expanded(): ClusterLoad {
    const { load } = this.#discovery
    return {
      ...load,
      localities: load.localities.map((l) => ({ ...l, endpoints: l.endpoints.flatMap((e) => this.#hostsOf(e)) })),
    }
  }
  /** Of a logical cluster one host with all addresses, as in Envoy; of a strict one each address is a host. */
  #hostsOf(endpoint: Endpoint): readonly Endpoint[] {
    if (net.isIP(endpoint.address) !== 0) return [endpoint]
    const found = this.#known.get(endpoint.address) ?? []
    const named = { ...endpoint, hostname: endpoint.hostname ?? endpoint.address }
    if (this.#discovery.mode === 'strict') return found.map((address) => ({ ...named, address }))
    const [address, ...more] = found
    if (address === undefined) return []
    const others = more.map((other) => ({ address: other, port: endpoint.port }))
    return [{ ...named, address, ...(others.length > 0 && { others }) }]
  }

  [Symbol.dispose](): void {
    this.#disposed = true
    this.#timer?.cancel()
  }
}
