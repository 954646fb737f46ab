/** A proxy, upstream resolvers and a client on a simulated network and clock. */
import assert from 'node:assert/strict'
import type { Disk } from '../../../core/os/disk.ts'
import { Current } from '../../../core/current.ts'
import { createLog } from '../../../core/log.ts'
import { Metrics } from '../../../core/metrics.ts'
import type { Address, Network } from '../../../core/os/network.ts'
import { EMPTY_TABLES, type NamedHost, type Tables } from '../../../model/tables.ts'
import { startDns, type DnsOptions, type DnsProxy } from '../../../protocols/dns/proxy.ts'
import type { Awaited } from '../../../protocols/dns/names/first-table.ts'
import type { DnsSettings } from '../../../protocols/dns/settings.ts'
import { told, Upstream, type Script } from '../../helpers/dns.ts'
import { seededRandom } from '../../helpers/random.ts'
import { settle, SimClock } from '../../helpers/sim-clock.ts'
import { SimNetwork } from '../../helpers/sim-network.ts'

type Finally = { after(fn: () => void | Promise<void>): void }
export const AT: Address = { host: '127.0.0.1', port: 15_053 }
export const SERVER: Address = { host: '10.0.0.53', port: 53 }
export const OTHER: Address = { host: '10.0.0.54', port: 53 }

export const SETTINGS: DnsSettings = {
  address: AT.host,
  port: AT.port,
  upstreams: [SERVER],
  resolvConf: '/etc/resolv.conf',
  search: [],
  firstTableMs: 15_000,
  attemptMs: 2_000,
  maxInFlight: 10,
  maxCacheEntries: 100,
  maxCacheBytes: 100_000,
  maxTtlSec: 86_400,
  maxNegativeTtlSec: 900,
  maxStaleSec: 86_400,
  storeEveryMs: 3_600_000,
  maxStoredBytes: 100_000,
  maxTcpConnections: 4,
  tcpIdleMs: 10_000,
}

export const tables = (hosts: Readonly<Record<string, NamedHost>>): Tables => ({
  ...EMPTY_TABLES,
  generation: 1,
  stale: false,
  names: new Map(Object.entries(hosts)),
})
export const MESH = tables({ 'api.shop.svc.cluster.local': { addresses: ['240.240.0.1'], service: undefined } })

type Before = { readonly clock?: SimClock; readonly files?: Map<string, string | Uint8Array> }

export class DnsSite {
  readonly clock: SimClock
  readonly sim = new SimNetwork()
  readonly metrics = new Metrics()
  readonly lines: Record<string, unknown>[] = []
  readonly tables = new Current<Tables>(MESH)
  readonly files: Map<string, string | Uint8Array>
  /** What is written, with its mode. */
  readonly written: string[] = []
  /** The next writing fails with it. */
  diskError: Error | undefined
  awaited: Awaited = 'nothing'
  proxy!: DnsProxy
  #nextClient = 50_000

  private constructor(before: Before) {
    this.clock = before.clock ?? new SimClock()
    this.files = before.files ?? new Map()
  }

  /** @param over `before`: clock and files of a run that has ended */
  static async start(
    t: Finally,
    settings: Partial<DnsSettings> = {},
    over: { readonly through?: (sim: SimNetwork) => Network; readonly before?: Before } & Partial<DnsOptions> = {},
  ): Promise<DnsSite> {
    const { through, before = {}, ...rest } = over
    const site = new DnsSite(before)
    site.proxy = await startDns({
      settings: { ...SETTINGS, ...settings },
      network: through?.(site.sim) ?? site.sim,
      clock: site.clock,
      random: seededRandom(1),
      disk: site.#disk(),
      log: createLog('debug', {
        write: (line) => {
          site.lines.push(JSON.parse(line) as Record<string, unknown>)
        },
      }),
      metrics: site.metrics,
      tables: site.tables,
      namespace: 'edge',
      domain: 'svc.cluster.local',
      awaited: () => site.awaited,
      outside: new Set(),
      ...rest,
    })
    t.after(async () => {
      await site.proxy[Symbol.asyncDispose]()
    })
    return site
  }
  #disk(): Disk {
    return {
      read: (file) => {
        const content = this.files.get(file)
        return content === undefined ? undefined : Buffer.from(content as string)
      },
      replace: (file, content, mode) => {
        if (this.diskError) throw this.diskError
        this.written.push(`${file} ${mode.toString(8)}`)
        this.files.set(file, content)
      },
      setAside: (file, stamp) => {
        this.files.set(`${file}.damaged-${stamp}`, this.files.get(file)!)
        this.files.delete(file)
        return `${file}.damaged-${stamp}`
      },
    } as Disk
  }
  /** A resolver that the test scripts, at SERVER unless said otherwise. */
  upstream(script: Script, at: Address = SERVER): Promise<Upstream> {
    return Upstream.start(this.sim, at, script)
  }

  /** Sends one datagram; the answers come into the list that is returned, as time goes on. */
  async send(bytes: Buffer, from = '127.0.0.1'): Promise<Buffer[]> {
    const answers: Buffer[] = []
    const socket = await this.sim.bindUdp(
      { host: from, port: this.#nextClient++ },
      {
        onDatagram: (got) => {
          answers.push(got)
        },
        onError: () => {},
      },
    )
    socket.send(bytes, AT)
    return answers
  }
  /** The answer to one datagram, in one line; fails when there is none without time passing. */
  async ask(bytes: Buffer, afterMs = 0): Promise<string> {
    const answers = await this.send(bytes)
    await settle()
    await this.clock.advance(afterMs)
    await settle()
    assert.equal(answers.length, 1, `${answers.length} answers`)
    return told(answers[0]!)
  }
  count(labels: Record<string, string>): number {
    return this.metrics.total('mesh_dns_queries_total', labels)
  }
  tries(labels: Record<string, string>): number {
    return this.metrics.total('mesh_dns_upstream_tries_total', labels)
  }
  events(evt: string): number {
    return this.lines.filter((l) => l['evt'] === evt).length
  }
}
