/**
 * The DNS proxy of this node: names of the mesh from the name table, all others from upstream resolvers through a
 * cache. Loaded only when agent.yaml has a `dns` section.
 */
import type { Clock, Random } from '../../core/os/clock.ts'
import type { Current } from '../../core/current.ts'
import { UntilItWorks } from '../../core/os/until-it-works.ts'
import type { Disk } from '../../core/os/disk.ts'
import { toMeshError, type MeshError } from '../../core/errors.ts'
import { detach } from '../../core/defects/guard.ts'
import type { Log } from '../../core/log.ts'
import type { Metrics } from '../../core/metrics.ts'
import type { MemoryBudget } from '../../core/runtime/memory-budget.ts'
import type { Address, Datagrams, Network } from '../../core/os/network.ts'
import type { Tables } from '../../model/tables.ts'
import {
  encodeAnswer,
  encodeRefusal,
  isTables,
  NODATA,
  NOT_READY,
  createPlainAnswer,
  createPointerAnswer,
  createTableAnswer,
  type Answer,
} from './codec/answer.ts'
import { AnswerStore, type StorePlace } from './resolver/answer-store.ts'
import { Cache } from './resolver/cache.ts'
import { Exchange } from './resolver/exchange.ts'
import { FirstTable, type Awaited } from './names/first-table.ts'
import { Forwarder, type Resolved } from './resolver/forwarder.ts'
import { DnsMetrics } from './metrics.ts'
import { isMeshOnly, NameIndex, type NameRules } from './names/name-index.ts'
import { openPorts } from './ports.ts'
import { readQuery, type Query } from './codec/query.ts'
import { Servers } from './resolver/servers.ts'
import type { DnsSettings } from './settings.ts'
import { TcpClients } from './tcp-clients.ts'
import { CLASS_IN, Rcode, TABLE_TTL_SEC, Type } from './codec/wire.ts'

export type DnsOptions = {
  readonly settings: DnsSettings
  readonly network: Network
  readonly clock: Clock
  readonly random: Random
  readonly disk: Disk
  readonly log: Log
  readonly metrics: Metrics
  readonly tables: Current<Tables>
  readonly namespace: string
  readonly domain: string
  /** Where answers are kept; left out: nowhere. */
  readonly store?: StorePlace
  /** Decides while there is no name table. */
  readonly awaited: () => Awaited
  readonly budget?: MemoryBudget | undefined
  /** Lower-case names that are never the mesh's: the control plane's own, without which no table would ever come. */
  readonly outside: ReadonlySet<string>
}
export type DnsStatus = {
  readonly address: string
  /** Hosts in the name table; undefined = none has come. */
  readonly names: number | undefined
  readonly cached: number
  readonly upstreams: readonly string[]
  readonly problems: readonly MeshError[]
}
export type DnsProxy = AsyncDisposable & {
  readonly port: number
  /** `try`: this machine's addresses have changed. */
  readonly ports: Pick<UntilItWorks, 'try'>
  status(): DnsStatus
}

/**
 * Resolves when UDP and TCP were tried; where they cannot be had, they are tried again and stand among the problems.
 * Never rejects.
 */
export async function startDns(options: DnsOptions): Promise<DnsProxy> {
  const proxy = new Proxy(options)
  await proxy.ports.try()
  return proxy
}

/** What one leaves behind as garbage, of which the collector sees little; a socket of its own leaves more. */
const DATAGRAM_BYTES = 2 * 1024

function createExchange({ network, clock, settings, budget }: DnsOptions, metrics: DnsMetrics): Exchange {
  const leaves = (bytes: number): void => budget?.garbage?.received(bytes)
  return new Exchange({ network, clock, metrics, attemptMs: settings.attemptMs, leaves })
}

class Proxy implements DnsProxy {
  readonly #o: DnsOptions
  readonly #servers: Servers
  readonly #cache: Cache
  readonly #store: AnswerStore | undefined
  readonly #exchange: Exchange
  readonly #forwarder: Forwarder
  readonly #metrics: DnsMetrics
  readonly #firstTable: FirstTable
  readonly #tcp: TcpClients
  readonly #owned = new AsyncDisposableStack()
  readonly ports: UntilItWorks
  #index: NameIndex | undefined
  #port = 0

  constructor(options: DnsOptions) {
    const { settings, clock, disk, log } = options
    this.#o = options
    this.ports = new UntilItWorks({
      clock,
      part: 'dns',
      attempt: () => this.#open(),
      failed: (err, retryInMs) => {
        log.warn({ evt: 'dns.failed', retryInMs, err }, 'DNS cannot be served yet')
      },
    })
    this.#servers = new Servers({ settings, disk, clock, log })
    this.#cache = new Cache({ maxEntries: settings.maxCacheEntries, maxBytes: settings.maxCacheBytes })
    const metrics = new DnsMetrics(options.metrics, this.#cache, () => this.#tcp.size)
    this.#metrics = metrics
    this.#exchange = createExchange(options, metrics)
    // What may not be given once it is stale is of no use to a later run.
    const stores = settings.storeEveryMs > 0 && settings.maxStaleSec > 0
    this.#store =
      stores && options.store
        ? new AnswerStore({
            ...options.store,
            disk,
            clock,
            log,
            metrics,
            cache: this.#cache,
            everyMs: settings.storeEveryMs,
            maxBytes: settings.maxStoredBytes,
            maxStaleSec: settings.maxStaleSec,
          })
        : undefined
    this.#forwarder = new Forwarder({
      settings,
      clock,
      log,
      metrics,
      servers: this.#servers,
      exchange: this.#exchange,
      cache: this.#cache,
      store: this.#store,
    })
    this.#firstTable = new FirstTable({
      clock,
      log,
      waitMs: settings.firstTableMs,
      domain: options.domain,
      awaited: options.awaited,
    })
    this.#tcp = new TcpClients({
      settings,
      clock,
      log,
      metrics,
      answer: (message, from) => this.#answer(message, from, 'tcp'),
    })
  }

  get port(): number {
    return this.#port
  }

  async #open(): Promise<void> {
    const { settings, network, log } = this.#o
    const { address } = settings
    const { udp, tcp } = await openPorts(
      network,
      { host: address, port: settings.port },
      {
        onDatagram: (bytes, from, socket) => {
          this.#o.budget?.garbage?.received(DATAGRAM_BYTES)
          detach('dns', this.#datagram(bytes, from, socket))
        },
        onError: (err) => {
          log.debug({ evt: 'dns.not-sent', err }, 'an answer could not be sent')
        },
        onStream: (accepted) => {
          this.#tcp.accept(accepted)
        },
      },
    )
    this.#owned.use(this.#store)
    this.#owned.defer(() => this.#forwarder.idle())
    this.#owned.use(this.#exchange)
    this.#owned.defer(() => {
      this.#forwarder.stop()
    })
    this.#owned.use(this.#tcp)
    this.#owned.use(udp)
    this.#owned.use(tcp)
    this.#port = tcp.port
    this.#servers.own = { host: address, port: tcp.port }
    log.info(
      { evt: 'dns.open', address, port: tcp.port, upstreams: this.#servers.all.map((s) => s.text) },
      'DNS is served',
    )
  }

  status(): DnsStatus {
    const upstream = this.#servers.problem()
    return {
      address: `${this.#o.settings.address}:${this.#port}`,
      names: this.#o.tables.get().names?.size,
      cached: this.#cache.size,
      upstreams: this.#servers.all.map((s) => s.text),
      problems: [
        ...(this.ports.error ? [this.ports.error] : []),
        ...(upstream ? [upstream] : []),
        ...(this.#store?.problems() ?? []),
      ],
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.ports[Symbol.asyncDispose]()
    await this.#owned.disposeAsync()
  }

  async #datagram(bytes: Buffer, from: Address, socket: Datagrams): Promise<void> {
    const answer = await this.#answer(bytes, from, 'udp')
    if (answer) socket.send(answer, from)
  }

  /** Undefined when there is nobody to answer. Never rejects. */
  async #answer(bytes: Buffer, from: Address, over: 'udp' | 'tcp'): Promise<Buffer | undefined> {
    try {
      const query = readQuery(bytes)
      if (!query || 'rcode' in query) {
        this.#refused(from, query ? 'is no query that can be read' : 'is no query')
        if (!query) return undefined
        this.#metrics.answered('refused', query.rcode)
        return encodeRefusal(query)
      }
      const resolved = await this.#resolve(query, from, over)
      this.#metrics.answered(resolved.source, resolved.answer.rcode)
      return encodeAnswer(query, resolved.answer, { ...resolved, over })
    } catch (thrown) {
      const err = toMeshError(thrown)
      this.#metrics.refused(err.code)
      this.#o.log.error({ evt: 'dns.failed', err }, 'a query could not be answered')
      return undefined
    }
  }

  async #resolve(query: Query, from: Address, over: 'udp' | 'tcp'): Promise<Resolved> {
    if (this.#exchange.cameBack(over, from.port, query.id))
      return { source: 'refused', answer: createPlainAnswer(Rcode.REFUSED) }
    const refusal = refusalOf(query)
    if (refusal !== undefined) {
      this.#refused(from, 'asks for what is not served')
      return { source: 'refused', answer: createPlainAnswer(refusal) }
    }
    const isOutside = query.name !== undefined && this.#o.outside.has(query.name)
    const without = isOutside || this.#o.tables.get().names ? 'forward' : this.#firstTable.of(query.name)
    if (without === 'wait' || (without === 'brief' && this.#servers.none))
      return { source: 'failed', answer: createPlainAnswer(Rcode.SERVFAIL), why: NOT_READY }
    const mesh = isOutside ? undefined : this.#inTable(query)
    if (mesh?.answer) return { source: 'table', answer: mesh.answer }
    if (this.#servers.none) return { source: 'table', answer: mesh ? NODATA : createPlainAnswer(Rcode.NXDOMAIN) }
    const resolved = await this.#forwarder.resolve(query, from)
    // The name has addresses: that others do not know it is no word on them.
    if (mesh && resolved.answer.rcode === Rcode.NXDOMAIN)
      return { ...resolved, answer: { ...resolved.answer, rcode: Rcode.NOERROR } }
    return without === 'brief'
      ? { ...resolved, ttlSec: (received) => Math.min(TABLE_TTL_SEC, resolved.ttlSec?.(received) ?? received) }
      : resolved
  }

  /**
   * What the mesh says of a name: undefined when it is none of its; without an answer when others may know records of
   * this type.
   */
  #inTable(query: Query): { readonly answer?: Answer } | undefined {
    const index = this.#indexNow()
    if (!index || query.name === undefined) return undefined
    const pointers = index.pointers(query.name)
    if (pointers)
      return query.type === Type.PTR || query.type === Type.ANY ? { answer: createPointerAnswer(pointers) } : {}
    const found = index.find(query.name)
    return (
      found &&
      (isTables(query.type, found) || isMeshOnly(query.name, this.#o.domain)
        ? { answer: createTableAnswer(query, found, this.#o.random) }
        : {})
    )
  }
  #indexNow(): NameIndex | undefined {
    const { names } = this.#o.tables.get()
    if (!names) return undefined
    const { search } = this.#servers
    if (this.#index?.names !== names || this.#index.rules.search !== search) {
      const rules: NameRules = { namespace: this.#o.namespace, domain: this.#o.domain, search }
      this.#index = new NameIndex(names, rules)
    }
    return this.#index
  }

  #refused({ host }: Address, what: string): void {
    this.#metrics.refused('MESH_MALFORMED_INPUT')
    this.#o.log.debug(
      { evt: 'dns.refused', code: 'MESH_MALFORMED_INPUT', peer: host, what },
      'a DNS message is refused',
    )
  }
}

/**
 * RFC 6891 §6.1.3: only EDNS version 0 is known. Zone transfers and other meta types (RFC 6895 §3.1) are not a proxy's
 * matter.
 */
function refusalOf({ edns, klass, type }: Query): number | undefined {
  if (edns && edns.version !== 0) return Rcode.BADVERS
  if (klass !== CLASS_IN) return Rcode.REFUSED
  if (type === Type.OPT || (type >= Type.TKEY && type < Type.ANY)) return Rcode.NOTIMP
  return undefined
}
