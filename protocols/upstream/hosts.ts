/**
 * The hosts of one cluster: kept in step with its endpoints, by priority, and who of them is fit to serve. Endpoint changes keep the hosts
 * that stay, with their connections and their health.
 */
import type { Clock, Random } from '../../agent/core/clock.ts'
import type { Cluster, ClusterLoad, Endpoint } from '../../agent/model/cluster.ts'
import { pickerFor, type Picker } from './balancer.ts'
import { Host, hostKey } from './host.ts'
import { eject, LINK_DOWN_OUTLIER, mayEject, record, type TryResult } from './outlier.ts'

/** Envoy's overprovisioning factor 140 %: a level that is 72 % healthy still takes everything. */
const OVERPROVISIONING = 1.4

export class Hosts {
  readonly #cluster: Cluster
  readonly #clock: Clock
  readonly #random: Random
  readonly #removed: (host: Host) => void
  readonly #isLinkDown: () => boolean
  #load: ClusterLoad | undefined
  #byKey = new Map<string, Host>()
  /** By priority, lowest first. */
  #levels: Host[][] = []
  #picker: Picker | undefined
  /** When the next ejected host comes back. */
  #nextReturnMs = Infinity

  /** @param removed called for each host that left the cluster */
  constructor(p: { cluster: Cluster; clock: Clock; random: Random; removed: (host: Host) => void; isLinkDown?: (() => boolean) | undefined }) {
    this.#cluster = p.cluster
    this.#clock = p.clock
    this.#random = p.random
    this.#removed = p.removed
    this.#isLinkDown = p.cluster.discovery.kind === 'eds' && p.isLinkDown ? p.isLinkDown : () => false
  }

  get all(): Iterable<Host> { return this.#byKey.values() }

  /** Cheap when `load` is the one of the last call. */
  update(load: ClusterLoad | undefined): void {
    if (load === this.#load) return
    this.#load = load
    const before = this.#byKey
    const levels = new Map<number, Host[]>()
    this.#byKey = new Map()
    for (const locality of load?.localities ?? []) {
      for (const endpoint of locality.endpoints) {
        const host = this.#hostFor(endpoint, before)
        host.priority = locality.priority
        const level = levels.get(locality.priority) ?? []
        if (!level.includes(host)) level.push(host)
        levels.set(locality.priority, level)
      }
    }
    this.#levels = [...levels].sort(([a], [b]) => a - b).map(([, hosts]) => hosts)
    this.#picker = undefined
    for (const [key, host] of before) if (!this.#byKey.has(key)) this.#removed(host)
  }

  /**
   * @param avoid endpoints that are drawn anew, at most `maxPicks` times; then any will do
   * @returns undefined when nobody can serve
   */
  pick(hash: number | undefined, avoid: readonly Endpoint[] | undefined, maxPicks: number): Host | undefined {
    if (this.#nextReturnMs < Infinity && this.#clock.monotonicMs() >= this.#nextReturnMs) this.#picker = undefined
    this.#picker ??= this.#makePicker()
    let host = this.#picker(hash)
    if (!avoid || avoid.length === 0) return host
    const isTried = (h: Host): boolean => avoid.some((e) => hostKey(e) === h.key)
    for (let i = 0; host && isTried(host) && i < maxPicks; i++) host = this.#picker(undefined)
    return host
  }

  /** How a try went, for outlier detection. */
  report(host: Host, result: TryResult): void {
    const outlier = this.#cluster.outlier ?? (this.#isLinkDown() ? LINK_DOWN_OUTLIER : undefined)
    if (!outlier || !record(host.health, result, outlier)) return
    const now = this.#clock.monotonicMs()
    const ejected = [...this.all].filter((h) => h.health.ejectedUntilMs > now).length
    if (host.health.ejectedUntilMs > now || !mayEject(outlier, ejected, this.#byKey.size)) return
    eject(host.health, outlier, now)
    this.#picker = undefined
  }
  isFit(host: Host): boolean {
    return host.endpoint.health === 'healthy' && host.health.ejectedUntilMs <= this.#clock.monotonicMs()
  }

  /** The same address may stand in two localities; one host serves both. */
  #hostFor(endpoint: Endpoint, before: ReadonlyMap<string, Host>): Host {
    const key = hostKey(endpoint)
    const host = this.#byKey.get(key) ?? before.get(key) ?? new Host(endpoint)
    host.endpoint = endpoint
    this.#byKey.set(key, host)
    return host
  }

  #makePicker(): Picker {
    const now = this.#clock.monotonicMs()
    this.#nextReturnMs = Math.min(Infinity, ...[...this.all].map((h) => h.health.ejectedUntilMs).filter((at) => at > now))
    return pickerFor(this.#cluster.balancer, this.#serving(), this.#random)
  }

  /** The first priority that is healthy enough; failing that whatever is fit; in panic everybody, since most health data must be wrong then. */
  #serving(): readonly Host[] {
    const everybody = this.#levels.flat()
    const fit = this.#levels.map((level) => level.filter((h) => this.isFit(h)))
    const enough = fit.findIndex((hosts, i) => hosts.length * OVERPROVISIONING >= this.#levels[i]!.length && hosts.length > 0)
    if (enough >= 0) return fit[enough]!
    const allFit = fit.flat()
    if (allFit.length * 100 < everybody.length * this.#cluster.panicPercent) return everybody
    return fit.find((hosts) => hosts.length > 0) ?? []
  }
}
