/**
 * Hosts that requests name and the mesh does not know beforehand (Envoy's dynamic_forward_proxy): resolved when they are
 * asked for, by the resolvers of the agent and never by its own DNS proxy, and forgotten when nobody asks any more. Their
 * number is bounded; nothing of one that does not resolve stays.
 */
import net from 'node:net'
import { MeshError } from '../../../core/errors.ts'
import { detach } from '../../../core/defects/guard.ts'
import type { Clock } from '../../../core/os/clock.ts'
import type { Endpoint, ForwardProxy } from '../../../model/cluster.ts'
import { resolveInTime, type Resolve } from './dns.ts'
import { formatHostKey, Host } from '../host.ts'

export type ForwardTarget = { readonly name: string; readonly port: number }
type Known = { host: Host; resolvedMs: number; usedMs: number; refreshing: boolean }

export class ForwardHosts {
  readonly #settings: ForwardProxy
  readonly #clock: Clock
  readonly #resolve: Resolve
  readonly #forgotten: (host: Host) => void
  readonly #known = new Map<string, Known>()
  /** Names that are being looked up; callers of one share the answer. */
  readonly #lookups = new Map<string, Promise<void>>()

  /** @param o.forgotten called for each host that nobody gets any more */
  constructor(settings: ForwardProxy, o: { clock: Clock; resolve: Resolve; forgotten: (host: Host) => void }) {
    this.#settings = settings
    this.#clock = o.clock
    this.#resolve = o.resolve
    this.#forgotten = o.forgotten
  }

  get all(): Iterable<Host> {
    return [...this.#known.values()].map(({ host }) => host)
  }

  /** @returns undefined: it has to be resolved first */
  find(target: ForwardTarget): Host | undefined {
    const key = keyOf(target)
    const known = this.#known.get(key)
    if (!known) return undefined
    const nowMs = this.#clock.monotonicMs()
    if (nowMs - known.usedMs >= this.#settings.hostTtlMs) {
      this.#forget(key)
      return undefined
    }
    known.usedMs = nowMs
    if (nowMs - known.resolvedMs >= this.#settings.refreshMs && !known.refreshing) {
      known.refreshing = true
      detach('upstream', this.#refresh(known, target))
    }
    return known.host
  }

  /** Who asks meanwhile goes where the last answer led, also where there is no new one. */
  async #refresh(known: Known, target: ForwardTarget): Promise<void> {
    try {
      await this.resolve(target)
    } catch {
      // The last answer stays.
    }
    known.refreshing = false
    known.resolvedMs = this.#clock.monotonicMs()
  }

  /** Rejects with MESH_DNS_FAILED, or MESH_UPSTREAM_OVERFLOW where there are too many hosts. */
  resolve(target: ForwardTarget): Promise<void> {
    const key = keyOf(target)
    const running = this.#lookups.get(key)
    if (running) return running
    const lookup = this.#lookUp(key, target)
    this.#lookups.set(key, lookup)
    return lookup
  }

  async #lookUp(key: string, target: ForwardTarget): Promise<void> {
    try {
      this.#take(key, target, await this.#addressesOf(target.name))
    } finally {
      this.#lookups.delete(key)
    }
  }

  async #addressesOf(name: string): Promise<readonly string[]> {
    if (net.isIP(name) !== 0) return [name]
    const { lookupFamily } = this.#settings
    try {
      return await resolveInTime(this.#resolve, { name, lookupFamily }, this.#clock)
    } catch (cause) {
      throw new MeshError('MESH_DNS_FAILED', `${name} does not resolve`, { cause })
    }
  }

  #take(key: string, { name, port }: ForwardTarget, found: readonly string[]): void {
    const [address] = found
    if (address === undefined) throw new MeshError('MESH_DNS_FAILED', `${name} has no address`)
    const nowMs = this.#clock.monotonicMs()
    const known = this.#known.get(key)
    if (known && found.includes(known.host.endpoint.address)) {
      known.resolvedMs = nowMs
      return
    }
    if (known) this.#forget(key)
    this.#makeRoom()
    const others = found.slice(1).map((other) => ({ address: other, port }))
    const host = new Host({ ...createEndpoint(name, address, port), ...(others.length > 0 && { others }) }, nowMs)
    this.#known.set(key, { host, resolvedMs: nowMs, usedMs: nowMs, refreshing: false })
  }

  /** Whoever is used least goes first, and nobody with a connection for somebody without one. */
  #makeRoom(): void {
    const { maxHosts, hostTtlMs } = this.#settings
    if (this.#known.size < maxHosts) return
    const nowMs = this.#clock.monotonicMs()
    let last: string | undefined
    let lastMs = Infinity
    for (const [key, { host, usedMs }] of this.#known) {
      if (host.active.now > 0) continue
      if (nowMs - usedMs >= hostTtlMs) this.#forget(key)
      else if (usedMs < lastMs) [last, lastMs] = [key, usedMs]
    }
    if (this.#known.size < maxHosts) return
    if (last === undefined)
      throw new MeshError('MESH_UPSTREAM_OVERFLOW', `${maxHosts} hosts are in use at once (max_hosts)`)
    this.#forget(last)
  }
  #forget(key: string): void {
    const known = this.#known.get(key)
    this.#known.delete(key)
    if (known) this.#forgotten(known.host)
  }
}

const keyOf = ({ name, port }: ForwardTarget): string => formatHostKey({ address: name, port })

/** @param authority as the request has it @returns undefined: no host that could be asked for */
export function readForwardTarget(authority: string | undefined, defaultPort: number): ForwardTarget | undefined {
  const parts = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+))(?::(\d{1,5}))?$/.exec(authority ?? '')
  const name = (parts?.[1] ?? parts?.[2] ?? '').toLowerCase()
  const port = parts?.[3] === undefined ? defaultPort : Number(parts[3])
  if (name === '' || name.length > MAX_NAME_CHARS || port < 1 || port > 65_535) return undefined
  return net.isIP(name) !== 0 || NAME.test(name) ? { name, port } : undefined
}
/** RFC 1035 §2.3.4. */
const MAX_NAME_CHARS = 253
const NAME = /^[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*\.?$/

function createEndpoint(name: string, address: string, port: number): Endpoint {
  return { address, port, hostname: name, weight: 1, health: 'healthy', transportLabels: {}, workload: undefined }
}
