/** The clients that are connected: so many and no more, each with its share. */
import type { Duplex } from 'node:stream'
import type { Clock } from '../../core/os/clock.ts'
import { MeshError } from '../../core/errors.ts'
import { detach, doNothing } from '../../core/defects/guard.ts'
import type { Log } from '../../core/log.ts'
import type { Address, NetStream } from '../../core/os/network.ts'
import type { DnsMetrics } from './metrics.ts'
import type { DnsSettings } from './settings.ts'
import { toClient, Shares } from './shares.ts'
import { serveTcp } from './tcp.ts'

type TcpClientsOptions = {
  readonly settings: DnsSettings
  readonly clock: Clock
  readonly log: Log
  readonly metrics: DnsMetrics
  /** Never rejects. */
  readonly answer: (message: Buffer, from: Address) => Promise<Buffer | undefined>
}

export class TcpClients implements Disposable {
  readonly #o: TcpClientsOptions
  readonly #open = new Set<Duplex>()
  readonly #shares: Shares

  constructor(options: TcpClientsOptions) {
    this.#o = options
    // One client's own connections are for it to close: only another's need counts.
    this.#shares = new Shares({ max: options.settings.maxTcpConnections, patienceMs: Infinity })
  }
  get size(): number {
    return this.#open.size
  }

  accept({ stream, remote }: NetStream): void {
    const { settings, clock, answer } = this.#o
    const full = new MeshError(
      'MESH_LISTENER_FULL',
      `${settings.maxTcpConnections} DNS connections are open (dns.maxTcpConnections)`,
    )
    const share = this.#shares.take({ client: toClient(remote), purpose: '' }, clock.monotonicMs(), () => {
      stream.destroy()
      this.#ended(remote, full)
    })
    if (!share) {
      stream.on('error', doNothing)
      stream.destroy()
      this.#ended(remote, full)
      return
    }
    this.#open.add(stream)
    detach(
      'dns',
      serveTcp(stream, { clock, idleMs: settings.tcpIdleMs, answer: (message) => answer(message, remote) }).then(
        (error) => {
          share[Symbol.dispose]()
          this.#open.delete(stream)
          this.#ended(remote, error)
        },
      ),
      () => {
        stream.destroy()
      },
    )
  }

  [Symbol.dispose](): void {
    for (const stream of this.#open) stream.destroy()
  }

  #ended({ host }: Address, error: MeshError | undefined): void {
    if (!error) return
    this.#o.metrics.refused(error.code)
    this.#o.log.debug({ evt: 'dns.connection-ended', peer: host, err: error }, 'a DNS connection is ended')
  }
}
