/** The upstream resolvers: which there are, in which order they are asked, and what is wrong with them. */
import type { Clock } from '../../../core/os/clock.ts'
import type { Disk } from '../../../core/os/disk.ts'
import { MeshError } from '../../../core/errors.ts'
import type { Log } from '../../../core/log.ts'
import type { Address } from '../../../core/os/network.ts'
import { parseResolvConf, type ResolvConf } from './resolv-conf.ts'
import type { DnsSettings } from '../settings.ts'

export type Server = {
  readonly address: Address
  readonly text: string
  /** Tries without an answer since the last answer. */
  silent: number
  /** Until then it is asked after the others. */
  lastUntilMs: number
  /** False once it has shown that it does not know EDNS (RFC 6891 §7). */
  edns: boolean
  /** What it was asked came back to this agent: until then it is not asked. */
  loopUntilMs: number
}

/** resolv.conf is replaced when the uplink changes; nobody tells. */
const REREAD_MS = 5_000
/** One lost datagram is not worth a change of the resolver. */
const SILENT_TRIES = 2
const LAST_FOR_MS = 30_000
/** Somebody may have mended the rule that led it back. */
const LOOP_FOR_MS = 60_000
const DNS_PORT = 53

export class Servers {
  readonly #o: { readonly settings: DnsSettings; readonly disk: Disk; readonly clock: Clock; readonly log: Log }
  readonly #known = new Map<string, Server>()
  #own: Address | undefined
  #list: readonly Server[] = []
  #search: readonly string[]
  #readAtMs = -Infinity
  #text: string | undefined
  /** Why there is none. */
  #missing: string | undefined
  #silentSinceMs: number | undefined

  constructor(options: {
    readonly settings: DnsSettings
    readonly disk: Disk
    readonly clock: Clock
    readonly log: Log
  }) {
    this.#o = options
    this.#search = options.settings.search ?? []
  }

  /** A server at this address is this agent itself. */
  set own(address: Address) {
    this.#own = address
    this.#readAtMs = -Infinity
    this.#text = undefined
  }

  /** Domains that clients' resolvers put behind names. */
  get search(): readonly string[] {
    this.#refresh()
    return this.#search
  }
  get all(): readonly Server[] {
    this.#refresh()
    return this.#list
  }
  /** The first is asked first: as configured, but those that are silent after the others. */
  inOrder(): Server[] {
    const now = this.#o.clock.monotonicMs()
    return this.all
      .filter((s) => s.loopUntilMs <= now)
      .toSorted((a, b) => Number(a.lastUntilMs > now) - Number(b.lastUntilMs > now))
  }
  /** There are no resolvers beside the mesh: a name that it does not have does not exist. */
  get none(): boolean {
    return this.#o.settings.upstreams?.length === 0
  }

  answered(server: Server): void {
    server.silent = 0
    server.lastUntilMs = 0
    if (this.#silentSinceMs === undefined) return
    this.#silentSinceMs = undefined
    this.#o.log.info({ evt: 'dns.upstream-back', server: server.text }, 'an upstream resolver answers again')
  }
  unanswered(server: Server): void {
    if (++server.silent >= SILENT_TRIES) server.lastUntilMs = this.#o.clock.monotonicMs() + LAST_FOR_MS
  }
  looped(server: Server): void {
    server.loopUntilMs = this.#o.clock.monotonicMs() + LOOP_FOR_MS
    this.#o.log.error(
      { evt: 'dns.loop', code: 'MESH_DNS_UPSTREAM', server: server.text },
      'an upstream resolver leads back to this agent and is left out',
    )
  }
  /** A query found nobody who answers. */
  allSilent(): void {
    if (this.#silentSinceMs !== undefined) return
    this.#silentSinceMs = this.#o.clock.monotonicMs()
    this.#o.log.warn(
      { evt: 'dns.upstream-silent', code: 'MESH_DNS_UPSTREAM', servers: this.all.map((s) => s.text) },
      'no upstream resolver answers',
    )
  }

  problem(): MeshError | undefined {
    this.#refresh()
    const loop = this.#list.find((s) => s.loopUntilMs > this.#o.clock.monotonicMs())
    if (loop) return new MeshError('MESH_DNS_UPSTREAM', `the upstream resolver ${loop.text} leads back to this agent`)
    if (this.#missing !== undefined) return new MeshError('MESH_DNS_UPSTREAM', this.#missing)
    if (this.#silentSinceMs === undefined) return undefined
    const sec = Math.round((this.#o.clock.monotonicMs() - this.#silentSinceMs) / 1000)
    return new MeshError(
      'MESH_DNS_UPSTREAM',
      `no upstream resolver answers (${this.#list.map((s) => s.text).join(', ')}; asked in vain for ${sec} s)`,
    )
  }

  #refresh(): void {
    const { clock, settings } = this.#o
    const now = clock.monotonicMs()
    if (now - this.#readAtMs < REREAD_MS) return
    this.#readAtMs = now
    const { upstreams, search, resolvConf } = settings
    const conf: ResolvConf | undefined = upstreams && search ? { servers: [], search: [] } : this.#read(resolvConf)
    if (!conf) return
    this.#search = search ?? conf.search
    const wanted = upstreams ?? conf.servers.map((host) => ({ host, port: DNS_PORT }))
    const others = wanted.filter((a) => a.port !== this.#own?.port || a.host !== this.#own.host)
    this.#missing =
      others.length > 0 || this.none
        ? undefined
        : wanted.length > 0
          ? 'the only upstream resolver is this agent itself'
          : `${resolvConf} names no resolver`
    this.#list = others.map((address) => this.#server(address))
    const alive = new Set(this.#list.map((s) => s.text))
    for (const text of this.#known.keys()) if (!alive.has(text)) this.#known.delete(text)
  }

  /** Undefined when nothing has changed. */
  #read(file: string): ResolvConf | undefined {
    let text: string
    try {
      text = this.#o.disk.read(file)?.toString('utf8') ?? ''
    } catch (err) {
      this.#o.log.debug({ evt: 'dns.resolv-conf', file, err }, 'cannot be read')
      text = ''
    }
    if (text === this.#text) return undefined
    this.#text = text
    return parseResolvConf(text)
  }

  #server(address: Address): Server {
    const text = address.host.includes(':') ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`
    const server = this.#known.get(text) ?? { address, text, silent: 0, lastUntilMs: 0, loopUntilMs: 0, edns: true }
    this.#known.set(text, server)
    return server
  }
}
