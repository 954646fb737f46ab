/**
 * The hosts of one cluster: kept in step with its endpoints, by priority, and who of them is fit to serve. Endpoint
 * changes keep the hosts that stay, with their connections and their health.
 */
import type { Clock, Random } from '../../core/os/clock.ts'
import { isSameWay, type Cluster, type ClusterLoad, type Endpoint } from '../../model/cluster.ts'
import type { TriedPriorities, WantedHost } from '../http/message.ts'
import { createPicker, type Chances } from './balancing/balancer.ts'
import { Host, formatHostKey, type Picker } from './host.ts'
import type { HostCount } from '../http/filters/health-check.ts'
import { eject, LINK_DOWN_OUTLIER, mayEject, record, type TryResult } from './outlier.ts'
import { chooseByPercent, createLocalityPicker, computeShares, type LevelCount } from './balancing/levels.ts'

const MAY_BE_WANTED: ReadonlySet<Endpoint['health']> = new Set(['healthy', 'degraded'])
const NOBODY: LevelCount = { all: 0, fit: 0 }

export type PickOptions = {
  readonly hash?: bigint | undefined
  /** Drawn anew, at most `maxHostPicks` times; then any will do. */
  readonly avoid?: readonly Endpoint[] | undefined
  readonly maxHostPicks: number
  readonly triedPriorities?: TriedPriorities | undefined
  readonly wanted?: WantedHost | undefined
}

/** Every host once, and again by locality. */
type Level = {
  readonly priority: number
  readonly hosts: readonly Host[]
  readonly localities: readonly Locality[]
}
type Locality = { readonly name: string; readonly weight: number; readonly hosts: Host[] }

/** What those who keep a cluster's hosts hear of them. */
export type HostEvents = {
  /** A host left the cluster, or was replaced by one of the same address. */
  readonly removed: (host: Host, isReplaced: boolean) => void
  /** Others are there now. */
  readonly changed?: () => void
  /** A host gets nothing any more because of what went wrong with it. */
  readonly ejected?: (host: Host) => void
}

export class Hosts {
  readonly #cluster: Cluster
  readonly #clock: Clock
  readonly #random: Random
  readonly #events: HostEvents
  readonly #isLinkDown: () => boolean
  #load: ClusterLoad | undefined
  #byKey = new Map<string, Host>()
  /** By priority, lowest first. */
  #levels: Level[] = []
  #picker: Picker | undefined
  /* As of the picker, by level. */
  #fit: readonly (readonly Host[])[] = []
  #degraded: readonly (readonly Host[])[] = []
  #counts: readonly LevelCount[] = []
  /** By the list that serves. */
  readonly #pickers = new Map<readonly Host[], Picker>()
  readonly #chances: Chances
  /** When the next ejected host comes back. */
  #nextReturnMs = Infinity

  constructor(
    p: {
      readonly cluster: Cluster
      readonly clock: Clock
      readonly random: Random
      readonly isLinkDown?: (() => boolean) | undefined
    } & HostEvents,
  ) {
    this.#cluster = p.cluster
    this.#clock = p.clock
    this.#random = p.random
    this.#chances = { random: p.random, nowMs: () => p.clock.monotonicMs() }
    this.#events = p
    this.#isLinkDown = p.cluster.discovery.kind === 'eds' && p.isLinkDown ? p.isLinkDown : () => false
  }

  get all(): Iterable<Host> {
    return this.#byKey.values()
  }

  /** Cheap when `load` is the one of the last call. */
  update(load: ClusterLoad | undefined): void {
    if (load !== this.#load) this.#rebuild(load)
  }

  #rebuild(load: ClusterLoad | undefined): void {
    this.#load = load
    const before = this.#byKey
    const localities = new Map<number, Locality[]>()
    this.#byKey = new Map()
    for (const { priority, weight, endpoints, region, zone, subZone } of load?.localities ?? []) {
      const hosts = [...new Set(endpoints.map((endpoint) => this.#hostFor(endpoint, before)))]
      const locality = { name: `${region}/${zone}/${subZone}`, weight, hosts }
      for (const host of hosts) {
        host.priority = priority
        host.locality = locality.name
      }
      addTo(localities, priority, locality)
    }
    this.#keepWell(before, localities)
    this.#levels = [...localities]
      .sort(([a], [b]) => a - b)
      .map(([priority, of]) => ({ priority, localities: of, hosts: [...new Set(of.flatMap((l) => l.hosts))] }))
    this.#picker = undefined
    for (const [key, host] of before) {
      const now = this.#byKey.get(key)
      if (now !== host) this.#events.removed(host, now !== undefined)
    }
    this.#events.changed?.()
  }
  /** Discovery may be wrong about a host that answers as it should (ignore_health_on_host_removal says otherwise). */
  #keepWell(before: ReadonlyMap<string, Host>, localities: Map<number, Locality[]>): void {
    if (this.#cluster.removesHealthyHosts) return
    for (const [key, host] of before) {
      if (this.#byKey.has(key) || host.check?.hasFailed !== false || host.endpoint.health === 'unhealthy') continue
      host.isLeaving = true
      this.#byKey.set(key, host)
      const known = localities.get(host.priority)?.find(({ name }) => name === host.locality)
      if (known) known.hosts.push(host)
      else addTo(localities, host.priority, { name: host.locality, weight: 0, hosts: [host] })
    }
  }

  /** @returns undefined when nobody can serve */
  pick({ hash, avoid, maxHostPicks, triedPriorities, wanted }: PickOptions): Host | undefined {
    const own = wanted && this.#findWanted(wanted)
    if (own || wanted?.isStrict) return own
    if (this.#nextReturnMs < Infinity && this.#clock.monotonicMs() >= this.#nextReturnMs) this.#picker = undefined
    this.#picker ??= this.#makePicker()
    const pick = (triedPriorities && this.#pickElsewhere(triedPriorities)) ?? this.#picker
    let host = pick(hash)
    if (!avoid || avoid.length === 0) return host
    const isTried = (h: Host): boolean => avoid.some((e) => formatHostKey(e) === h.key)
    for (let i = 1; host && isTried(host) && i <= maxHostPicks; i++) host = pick(hash, i)
    return host
  }

  /** Of these hosts alone: clients write what they like. */
  #findWanted({ address }: WantedHost): Host | undefined {
    const host = this.#byKey.get(address.replace(/^\[(.*)\]:/, '$1:'))
    if (!host) return undefined
    const health = this.#healthOf(host)
    return (this.#cluster.wantedMayBe ?? MAY_BE_WANTED).has(health) ? host : undefined
  }

  /** Envoy's previous_priorities. @returns undefined: as if nobody had been tried */
  #pickElsewhere({ hosts, every }: TriedPriorities): Picker | undefined {
    if (hosts.length < every) return undefined
    const counted = hosts.slice(0, hosts.length - (hosts.length % every))
    const tried = new Set(counted.map((e) => this.#byKey.get(formatHostKey(e))?.priority))
    const others = this.#levels.map((level, i) => (tried.has(level.priority) ? NOBODY : this.#counts[i]!))
    // When nobody is left, all of them are as they were.
    return others.every(({ fit, degraded = 0 }) => fit + degraded === 0) ? undefined : this.#share(others)
  }

  /** How a try went, for outlier detection. */
  report(host: Host, result: TryResult): void {
    const outlier = this.#cluster.outlier ?? (this.#isLinkDown() ? LINK_DOWN_OUTLIER : undefined)
    const { health } = host
    // Results of requests that were under way at the ejection say nothing new.
    if (!outlier || (health.ejectedUntilMs > 0 && health.ejectedUntilMs > this.#clock.monotonicMs())) return
    const percent = record(health, result, outlier)
    if (percent === 0) return
    const now = this.#clock.monotonicMs()
    let ejected = 0
    for (const h of this.all) if (h.health.ejectedUntilMs > now) ejected++
    if (!mayEject(outlier, ejected, this.#byKey.size) || (percent < 100 && this.#random.float() * 100 >= percent))
      return
    eject(health, outlier, now, this.#random.float())
    this.#picker = undefined
    this.#events.ejected?.(host)
  }
  isFit(host: Host): boolean {
    return this.#healthOf(host) === 'healthy'
  }
  /** What discovery, outlier detection and its own answers say of it: the worst counts. */
  #healthOf({ endpoint, health, check }: Host): Endpoint['health'] {
    if (health.ejectedUntilMs > this.#clock.monotonicMs() || check?.hasFailed) return 'unhealthy'
    return check?.isDegraded && endpoint.health === 'healthy' ? 'degraded' : endpoint.health
  }

  count(): HostCount {
    const hosts = [...this.all]
    const available = hosts.filter((host) => MAY_BE_WANTED.has(this.#healthOf(host)) && !host.check?.isExcluded)
    return { total: hosts.length, available: available.length }
  }

  /** Answers of hosts say something else now. */
  healthChanged(): void {
    this.#picker = undefined
    for (const host of this.all) this.#warmUp(host)
  }
  /** Counts from when it is well first, and again when it has answered that it was not (Envoy's lastHcPassTime). */
  #warmUp(host: Host): void {
    if (host.check?.hasFailed) host.isCold = true
    if (!host.isCold) return
    host.sinceMs = this.#clock.monotonicMs()
    host.isCold = host.check?.hasFailed === true || host.endpoint.health !== 'healthy'
  }
  /** It does not answer as it should: it goes where only that kept it. */
  failed(host: Host): void {
    if (host.isLeaving && this.#byKey.get(host.key) === host) this.#rebuild(this.#load)
  }
  /** It answers as it should: an ejection is over (successful_active_health_check_uneject_host). */
  returnEarly({ health }: Host): void {
    const nowMs = this.#clock.monotonicMs()
    if (this.#cluster.outlier?.returnsWhenWell === false || health.ejectedUntilMs <= nowMs) return
    health.ejectedUntilMs = nowMs
    this.#picker = undefined
  }

  /**
   * The same address may stand in two localities; one host serves both. One that is spoken to in another way now (its
   * labels say that it takes mutual TLS) is another: connections in clear are not for it.
   */
  #hostFor(endpoint: Endpoint, before: ReadonlyMap<string, Host>): Host {
    const key = formatHostKey(endpoint)
    const known = before.get(key)
    const stays = known && isSameWay(this.#cluster, known.endpoint, endpoint)
    const host = this.#byKey.get(key) ?? (stays ? known : new Host(endpoint, this.#clock.monotonicMs()))
    host.endpoint = endpoint
    host.isLeaving = false
    this.#warmUp(host)
    this.#byKey.set(key, host)
    return host
  }

  #makePicker(): Picker {
    const now = this.#clock.monotonicMs()
    this.#nextReturnMs = Math.min(
      Infinity,
      ...[...this.all].map((h) => h.health.ejectedUntilMs).filter((at) => at > now),
    )
    this.#fit = this.#levels.map(({ hosts }) => hosts.filter((h) => this.isFit(h)))
    this.#degraded = this.#levels.map(({ hosts }) => hosts.filter((h) => this.#healthOf(h) === 'degraded'))
    this.#counts = this.#levels.map(({ hosts }, i) => ({
      all: countCounted(hosts),
      present: hosts.length,
      fit: this.#fit[i]!.length,
      degraded: this.#degraded[i]!.length,
    }))
    this.#pickers.clear()
    return this.#share(this.#counts)
  }

  #share(counts: readonly LevelCount[]): Picker {
    const shares = computeShares(counts, this.#cluster.panicPercent)
    const serving = (['load', 'degradedLoad'] as const).flatMap((which) =>
      shares.flatMap((share, i) => {
        const percent = share[which]
        if (percent === 0) return []
        const some = which === 'load' ? this.#fit[i]! : this.#degraded[i]!
        return [{ percent, of: this.#pickerOf(i, share.inPanic ? undefined : some) }]
      }),
    )
    const [only] = serving
    if (serving.length <= 1) return only?.of ?? (() => undefined)
    // By the hash where there is one, so that what belongs together stays together.
    return (hash, attempt) => {
      const at = hash === undefined ? Math.floor(this.#random.float() * 100) : Number(hash % 100n)
      return chooseByPercent(serving, at)(hash, attempt)
    }
  }

  /** @param some those of the level that may serve; undefined = all, in panic */
  #pickerOf(level: number, some: readonly Host[] | undefined): Picker {
    const { hosts, localities } = this.#levels[level]!
    const known = this.#pickers.get(some ?? hosts)
    if (known) return known
    const { balancer, localityWeighted } = this.#cluster
    const isHashing = balancer.kind === 'ring-hash' || balancer.kind === 'maglev'
    const serving = new Set(some ?? hosts)
    // As in Envoy: in panic only hash balancers ask for localities.
    const made =
      !localityWeighted || (!some && !isHashing)
        ? createPicker(balancer, [...serving], this.#chances)
        : createLocalityPicker(
            balancer,
            localities.map((l) => ({
              weight: l.weight,
              all: countCounted(l.hosts),
              fit: l.hosts.filter((h) => serving.has(h)),
            })),
            this.#chances,
          )
    this.#pickers.set(some ?? hosts, made)
    return made
  }
}

function addTo(localities: Map<number, Locality[]>, priority: number, locality: Locality): void {
  const level = localities.get(priority)
  if (level) level.push(locality)
  else localities.set(priority, [locality])
}

/** Without those of whom nobody expects anything (Envoy's excluded hosts). */
function countCounted(hosts: readonly Host[]): number {
  return hosts.reduce((sum, { check }) => sum + (check?.isPending || check?.isExcluded ? 0 : 1), 0)
}
