/** One step of bench -- sync: what came over the control link, and what it cost the one that it came to. */
import { once } from 'node:events'
import net from 'node:net'
import { until } from '../../conformance/programs.ts'
import type { ConfigCost, Lag, Row } from '../bench.ts'
import { cpuNs, rssMiB, writtenBytes } from '../measure.ts'

export const STEPS = ['first', 'copy', 'reconnect', 'endpoint', 'service', 'push'] as const
export type Step = (typeof STEPS)[number]
/** Nothing has come for so long: the step is over. */
const QUIET_MS = 2_000
const RECONNECTS = 9
/** More than HTTP/2's own frames of an idle connection. */
const SOMETHING_BYTES = 500

/** Stands between the subject and istiod: counts, and cuts. */
export class Meter implements Disposable {
  inBytes = 0
  outBytes = 0
  /** Of performance.now(), when the last bytes came from istiod. */
  lastMs = 0
  readonly #sockets = new Set<net.Socket>()
  readonly #server: net.Server
  private constructor(target: string) {
    const [host, port] = target.split(':') as [string, string]
    this.#server = net.createServer((near) => {
      const far = net.connect({ host, port: Number(port) })
      for (const [from, to] of [
        [near, far],
        [far, near],
      ] as const) {
        this.#sockets.add(from)
        from.on('error', () => {
          /* close follows */
        })
        from.on('close', () => {
          this.#sockets.delete(from)
          to.destroy()
        })
        from.pipe(to)
      }
      far.on('data', (d) => {
        this.inBytes += d.length
        this.lastMs = performance.now()
      })
      near.on('data', (d) => {
        this.outBytes += d.length
      })
    })
  }
  static async before(target: string): Promise<Meter> {
    const meter = new Meter(target)
    await once(meter.#server.listen(0, '127.0.0.1'), 'listening')
    return meter
  }
  get address(): string {
    return `127.0.0.1:${(this.#server.address() as net.AddressInfo).port}`
  }
  cut(): void {
    for (const socket of this.#sockets) socket.destroy()
  }
  /**
   * For subjects that do not tell: something comes, and then nothing more. Resolves with the moment of the last byte.
   */
  async received(act: () => void): Promise<number> {
    const before = this.inBytes
    act()
    await until('something comes', () => this.inBytes > before + SOMETHING_BYTES, 60_000)
    await this.quiet()
    return this.lastMs
  }
  async quiet(): Promise<void> {
    for (let last = -1; this.inBytes !== last;) {
      last = this.inBytes
      await new Promise((resolve) => {
        setTimeout(resolve, QUIET_MS)
      })
    }
  }
  [Symbol.dispose](): void {
    this.cut()
    this.#server.close()
  }
}

export type Subject = {
  readonly name: string
  readonly size: number
  readonly meter: Meter
  readonly pid: () => number
  readonly saves?: () => Promise<number>
  /** The longest since that moment of Date.now(). */
  readonly lag?: (step: Step, fromMs: number) => Lag
}

/**
 * @param act resolves when the step's effect is there, with that moment of performance.now() if it was an earlier one
 */
export async function measured(s: Subject, step: Step, act: () => Promise<number | void>): Promise<Row> {
  const saves = s.saves ?? (() => Promise.resolve(0))
  const isFirst = step === 'first'
  // To ask for them costs CPU, so before and after what is measured.
  const savesBefore = isFirst ? 0 : await saves()
  const before = isFirst ? { cpuNs: 0, disk: 0 } : { cpuNs: cpuNs(s.pid()), disk: writtenBytes(s.pid()) }
  const { inBytes, outBytes } = s.meter
  const [from, fromWallMs] = [performance.now(), Date.now()]
  const ms = ((await act()) ?? performance.now()) - from
  await s.meter.quiet()
  const [cpuUs, diskKib, rss] = [
    (cpuNs(s.pid()) - before.cpuNs) / 1_000,
    (writtenBytes(s.pid()) - before.disk) / 1024,
    rssMiB(s.pid()),
  ]
  const config: ConfigCost = {
    inKib: (s.meter.inBytes - inBytes) / 1024,
    outKib: (s.meter.outBytes - outBytes) / 1024,
    diskKib,
    saves: (await saves()) - savesBefore,
    lag: s.lag?.(step, fromWallMs) ?? null,
  }
  return {
    bench: 'sync',
    case: `${step}-${s.size}`,
    subject: s.name,
    cpuUs,
    perSecond: 1_000 / ms,
    p50Ms: ms,
    p99Ms: null,
    rssMiB: rss,
    config,
  }
}

/**
 * Streams that are cut and come back, watched from the link: to ask the subject again and again would cost as much as
 * the reconnect. The middle one by CPU: the first after a start compiles what it runs, and some pay for a major
 * collection.
 */
export async function reconnects(s: Subject): Promise<Row> {
  const rows: Row[] = []
  for (let i = 0; i < RECONNECTS; i++)
    rows.push(
      await measured(s, 'reconnect', () =>
        s.meter.received(() => {
          s.meter.cut()
        }),
      ),
    )
  return rows.toSorted((a, b) => a.cpuUs - b.cpuUs)[RECONNECTS >> 1]!
}
