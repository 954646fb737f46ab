/**
 * Carries connections of operators beside the hub (`meshlet-hub connect`) to ports of devices on the relay. Each is
 * written to the audit log before the device hears of it, and when it is over. What a device permits is its own word.
 */
import type { Duplex } from 'node:stream'
import { detach } from '../../core/defects/guard.ts'
import { MeshError, toMeshError, type ErrorCode } from '../../core/errors.ts'
import type { Log } from '../../core/log.ts'
import type { Metrics } from '../../core/metrics.ts'
import { isOwnFolder } from '../../core/os/as-owner.ts'
import type { Clock } from '../../core/os/clock.ts'
import { listenOnUnixSocket } from '../../core/os/sockets/unix-socket.ts'
import { toPrintable } from '../../core/printable.ts'
import type { RelayStream } from '../../core/relay/stream.ts'
import type { TunnelRequest } from '../../model/fleet/command.ts'
import type { AuditEvent } from '../registry/audit.ts'
import type { OpenRegistry } from '../registry/registry.ts'
import type { OpenStream } from './command-desk.ts'
import { nameConnectSocket, parseConnectRequest, type ConnectRequest } from './connect-request.ts'
import { openLocalMux } from './local-mux.ts'
import { spliceStreams, type SpliceEnd } from './splice.ts'
import { TunnelLeases, type TunnelLimits } from './tunnel-leases.ts'

export type { TunnelLimits } from './tunnel-leases.ts'
export type ConnectDeskOptions = {
  readonly registry: OpenRegistry
  readonly open: OpenStream
  readonly clock: Clock
  readonly log: Log
  readonly metrics: Metrics
  readonly limits: TunnelLimits
}

/** `meshlet-hub connect` that run at once. */
const MAX_COMMANDS = 64
/** The device has 5 s to reach the port, and the link may be slow. */
const ANSWER_MS = 20_000

/** Listens in the state folder. Where that cannot be, the hub does without, and says so. */
export async function startConnectDesk(p: ConnectDeskOptions & { readonly state: string }): Promise<AsyncDisposable> {
  const desk = new ConnectDesk(p)
  try {
    const file = nameConnectSocket(p.state)
    if (!isOwnFolder(p.state))
      throw new MeshError('MESH_CONNECT_NO_HUB', `${p.state} belongs to another user than the hub runs as`)
    const listening = await listenOnUnixSocket({ path: file, mode: 0o600 }, ({ stream }) => desk.serve(stream))
    return {
      async [Symbol.asyncDispose]() {
        desk[Symbol.dispose]()
        await listening[Symbol.asyncDispose]()
      },
    }
  } catch (err) {
    p.log.warn({ evt: 'hub.connect', err }, 'meshlet-hub connect finds no socket of this hub')
    return desk
  }
}

export class ConnectDesk implements Disposable, AsyncDisposable {
  readonly #o: ConnectDeskOptions
  readonly #commands = new Set<Duplex>()
  readonly #leases: TunnelLeases
  readonly #bytes: Readonly<Record<'sent' | 'received', { value: number }>>

  constructor(options: ConnectDeskOptions) {
    this.#o = options
    this.#leases = new TunnelLeases(options)
    const bytes = options.metrics.counter(
      'mesh_hub_tunnel_bytes_total',
      'Bytes of connections to ports of devices, to the devices (sent) and from them.',
      ['direction'],
    )
    this.#bytes = { sent: bytes.cell({ direction: 'sent' }), received: bytes.cell({ direction: 'received' }) }
  }

  /** One command; its connections end with it. */
  serve(socket: Duplex): void {
    if (this.#commands.size >= MAX_COMMANDS) {
      socket.destroy()
      return
    }
    this.#commands.add(socket)
    const { ended } = openLocalMux(socket, {
      side: 'hub',
      maxStreams: this.#o.limits.maxTunnels + 1,
      onStream: (stream, head) => this.#accept(stream, head),
    })
    detach(
      'hub',
      ended.finally(() => this.#commands.delete(socket)),
    )
  }

  [Symbol.dispose](): void {
    for (const socket of this.#commands) socket.destroy()
  }
  async [Symbol.asyncDispose](): Promise<void> {
    this[Symbol.dispose]()
  }

  /** Throws MESH_CONTROL_PROTOCOL, MESH_CONNECT_LIMIT: the stream is reset with it. */
  #accept(stream: RelayStream, head: Uint8Array): void {
    if (stream.kind !== 'tunnel') throw new MeshError('MESH_CONTROL_PROTOCOL', `no ${stream.kind} is served here`)
    const request = parseConnectRequest(head)
    const lease = this.#leases.take(request.device)
    // What comes before the device has answered waits, as far as the window goes.
    stream.pause()
    detach(
      'hub',
      this.#connect(stream, request).finally(() => lease[Symbol.dispose]()),
    )
  }

  async #connect(stream: RelayStream, request: ConnectRequest): Promise<void> {
    const startedMs = this.#o.clock.monotonicMs()
    const to = `${request.host}:${request.port}`
    let end: SpliceEnd
    try {
      // No connection of which nothing is written.
      await this.#audit(request, 'tunnel.asked', to)
      end = await this.#carry(stream, request)
    } catch (thrown) {
      end = { sent: 0, received: 0, reason: toMeshError(thrown) }
    }
    if (end.reason) stream.reset(end.reason)
    this.#bytes.sent.value += end.sent
    this.#bytes.received.value += end.received
    this.#leases.count(end.reason?.code ?? 'ok')
    await this.#note(request, end, this.#o.clock.monotonicMs() - startedMs)
  }

  async #carry(stream: RelayStream, request: ConnectRequest): Promise<SpliceEnd> {
    const { open, clock } = this.#o
    const { device, host, port, operator } = request
    if (stream.isOver) throw new MeshError('MESH_CONNECT_BROKEN', 'the command has gone')
    const head: TunnelRequest = { host, port, operator }
    const far = open(device, 'tunnel', Buffer.from(JSON.stringify(head)))
    if (!far) throw await this.#whyAway(device)
    const splice = spliceStreams(stream, far, {
      onAnswer: () => late.cancel(),
      explain: (reason) => explainReset(device, reason),
    })
    const late = clock.after(ANSWER_MS, () =>
      splice.end(new MeshError('MESH_CONNECT_BROKEN', `${device} has not answered for ${ANSWER_MS / 1_000} s`)),
    )
    stream.resume()
    const end = await splice.ended
    late.cancel()
    return end
  }

  async #whyAway(device: string): Promise<MeshError> {
    const { registry } = this.#o
    const known = await registry.device(device)
    const name = JSON.stringify(device)
    if (!known) return new MeshError('MESH_CONNECT_AWAY', `${name} is no device that is known`)
    if (known.connectedMs === null) return new MeshError('MESH_CONNECT_AWAY', `${name} is not connected`)
    const hubs = await registry.hubsOf(device)
    return new MeshError(
      'MESH_CONNECT_AWAY',
      `${name} is connected, but not to this hub over the relay; the hubs that have a stream of it: ${hubs.join(', ')}`,
    )
  }

  async #audit({ operator, device, address }: ConnectRequest, event: AuditEvent, detail: string): Promise<void> {
    const { registry, clock } = this.#o
    const entry = { actor: toPrintable(operator), subject: device, address: toPrintable(address) }
    await registry.audit.add({ ...entry, atMs: clock.wallMs(), event, detail: toPrintable(detail) })
  }

  async #note(request: ConnectRequest, { sent, received, reason }: SpliceEnd, ms: number): Promise<void> {
    const { log } = this.#o
    const { device, host, port, operator, address } = request
    const to = `${host}:${port}`
    const line = { evt: 'hub.connect', device, to, operator, address, sent, received, ms: Math.round(ms) }
    log.info({ ...line, ...(reason && { err: reason }) }, 'a connection to a device has ended')
    const outcome = reason ? `; ${reason.code}: ${reason.message}` : ''
    const detail = `${to}: ${sent} bytes to the device, ${received} from it, ${(ms / 1_000).toFixed(1)} s${outcome}`
    try {
      await this.#audit(request, 'tunnel.ended', detail)
    } catch (err) {
      log.warn({ evt: 'hub.registry', err }, 'the end of a connection is not in the audit log')
    }
  }
}

const CODES: Partial<Record<ErrorCode, ErrorCode>> = {
  MESH_CONTROL_FORBIDDEN: 'MESH_CONNECT_FORBIDDEN',
  MESH_CONTROL_SLOW_DOWN: 'MESH_CONNECT_LIMIT',
}
/** What a device says is about its agent.yaml and its ports, and nobody's certificate. */
function explainReset(device: string, { code, message }: MeshError): MeshError {
  return new MeshError(CODES[code] ?? 'MESH_CONNECT_BROKEN', `${device}: ${message}`)
}
