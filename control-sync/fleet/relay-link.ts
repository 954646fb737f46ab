/**
 * One WebSocket to the hub with all that agent and hub say to each other: opened when a stream is wanted, kept alive
 * with as few bytes as the way there permits, closed when nobody needs it.
 */
import type { TLSSocket } from 'node:tls'
import type { WebSocket } from 'ws'
import type { Clock, Timer } from '../../core/os/clock.ts'
import { doNothing, guard } from '../../core/defects/guard.ts'
import { CATALOGUE, MeshError, toMeshError, type ErrorCode } from '../../core/errors.ts'
import { KeepAlive } from '../../core/relay/keep-alive.ts'
import { limitHeld } from '../../core/relay/held-bound.ts'
import type { Kind } from '../../core/relay/kinds.ts'
import { Mux } from '../../core/relay/mux.ts'
import { toPort } from '../../core/relay/port.ts'
import type { RelayStream } from '../../core/relay/stream.ts'
import type { ChainPosition } from '../../model/fleet/connection-proof.ts'
import type { Identity } from '../../model/identity.ts'
import { chooseProof, type ControlPlane } from '../connection/control-plane.ts'
import { dialHub } from './dial.ts'
import type { DeviceKey } from './device/device-key.ts'
import { signConnection, signRequest } from './device/proof.ts'
import { parseHubAddress, type HubAddress } from './hub-address.ts'
import { TlsSessions } from './tls-sessions.ts'
import { upgrade } from './upgrade.ts'
import { WireMeter } from './wire-meter.ts'

export type RelayLinkOptions = {
  readonly control: ControlPlane
  readonly identity: () => Identity | undefined
  readonly clock: Clock
  /** The hub has opened a stream. Throws: it is reset with that */
  readonly onStream: OnStream
  /** Of a device with a key of its own, which proves it; left out, or without a key: certificate or token do. */
  readonly device?: RelayDevice | undefined
}
export type OnStream = (stream: RelayStream, head: Uint8Array) => void
export type RelayDevice = {
  readonly findKey: () => Promise<DeviceKey | undefined>
  /** Read as late as can be: a renewal changes it. */
  readonly position: () => ChainPosition
}
export type OpenOptions = {
  /** The hub takes our certificate no longer: the token counts. */
  readonly certificateRefused: boolean
}
export type LinkQuality = { readonly rttMs: number | undefined; readonly connections: number }
/** One connection. `withDictionary`: the hub has the same as this side. */
export type Connection = {
  readonly mux: Mux
  readonly withDictionary: boolean
  readonly shown: string
  /** A request by the device's key (model/fleet/enrollment.ts), good for this connection. Rejects with MESH_NO_IDENTITY. */
  readonly prove: (path: string, claims: object) => Promise<string>
}

/** Of a device that lets the hub open none. Throws MESH_CONTROL_FORBIDDEN. */
export function refuseStream({ kind }: RelayStream): never {
  throw new MeshError('MESH_CONTROL_FORBIDDEN', `this device lets the hub open no ${kind}`)
}

/** Between nothing said and a ping: some NATs forget a silent connection within a minute, others never. */
const SILENCE = { minMs: 50_000, maxMs: 30 * 60_000 }
const PONG_MS = 15_000
/** Streams of the hub. */
const MAX_STREAMS = 16
/** Of messages that wait for their readers, beside the largest that may be on its way. */
const MAX_HELD_BYTES = 16 * 1024 * 1024
/** Of certificates and tunnels; a push may be as large as control.maxMessageBytes. */
const MAX_SMALL_MESSAGE_BYTES = 1024 * 1024

export class RelayLink {
  readonly #o: RelayLinkOptions
  readonly #keepAlive = new KeepAlive()
  readonly #sessions: TlsSessions
  readonly #wire: WireMeter
  #onStream: OnStream
  #turn = 0
  #open: Promise<OpenConnection> | undefined
  #connection: OpenConnection | undefined
  readonly #quality: { rttMs: number | undefined; connections: number } = { rttMs: undefined, connections: 0 }

  constructor(options: RelayLinkOptions) {
    this.#o = options
    this.#onStream = options.onStream
    this.#sessions = new TlsSessions(options.clock)
    this.#wire = new WireMeter(options.control.wire)
  }

  /** Streams of the hub are answered so from now on. */
  answer(onStream: OnStream): void {
    this.#onStream = onStream
  }

  /** Round trip as it was measured last, and connections so far. */
  get quality(): LinkQuality {
    return this.#quality
  }

  /** Bytes so far are in `control.wire`. */
  readWire(): void {
    this.#wire.read()
  }

  /** Of the hub that is asked next. */
  get address(): string {
    const { addresses } = this.#o.control
    return addresses[this.#turn % addresses.length]!
  }

  /**
   * Over the connection at hand, or a new one. Rejects with MESH_NO_IDENTITY, MESH_TOKEN_INVALID, MESH_CONFIG_INVALID
   * or a MESH_CONTROL_* code.
   */
  async connect({ certificateRefused }: OpenOptions): Promise<Connection> {
    if (this.#connection?.isOver === true) this.#open = undefined
    this.#open ??= this.#connect(certificateRefused).then(
      (connection) => (this.#connection = connection),
      (thrown: unknown) => {
        this.#open = undefined
        this.#turn++
        throw thrown
      },
    )
    return this.#open
  }

  /** Ends the connection; whoever keeps a stream opens the next one. */
  reconnect(): void {
    this.#connection?.close()
  }
  /** Closes the connection when no stream is open, after what was said last in this turn. */
  closeIfUnusedSoon(): void {
    setImmediate(
      guard('control', doNothing, () => {
        if (this.#connection?.mux.openStreams === 0) this.#connection.close()
      }),
    )
  }

  async #connect(certificateRefused: boolean): Promise<OpenConnection> {
    const { control, clock } = this.#o
    const hub = parseHubAddress(this.address)
    if (!hub) throw new MeshError('MESH_CONFIG_INVALID', `${this.address} is no address of a hub`)
    const key = await this.#o.device?.findKey()
    const proof = key
      ? { identity: undefined, token: undefined, shown: `the device's key ${key.keyId}` }
      : chooseProof(control, this.#o.identity(), { wallMs: clock.wallMs(), certificateRefused })
    const socket = await dialHub({
      control,
      hub,
      clock,
      identity: proof.identity,
      sessions: this.#sessions,
      wire: this.#wire,
      certificateClock: control.certificateClock ?? {
        nowMs: () => clock.wallMs(),
        clockIsWrong: false,
        seen: doNothing,
      },
    })
    const silenceMs = Math.round(this.#keepAlive.computeSilenceMs(SILENCE))
    const authorization = key ? await this.#sign(socket, hub, key) : proof.token && `Bearer ${proof.token}`
    const askedMs = clock.monotonicMs()
    const { websocket, withDictionary } = await upgrade({ socket, hub, authorization, shown: proof.shown, silenceMs })
    this.#quality.rttMs = clock.monotonicMs() - askedMs
    this.#quality.connections++
    return new OpenConnection({
      ...this.#o,
      onStream: (stream, head) => this.#onStream(stream, head),
      prove: async (path, claims) => {
        if (!key) throw new MeshError('MESH_NO_IDENTITY', 'the state folder has no key of this device')
        return await signRequest(socket, { path, claims, key })
      },
      onRoundTrip: (ms) => {
        this.#quality.rttMs = ms
      },
      websocket,
      withDictionary,
      shown: proof.shown,
      hub,
      keepAlive: this.#keepAlive,
    })
  }

  /** Rejects as the key's `sign`, and with MESH_STATE_UNUSABLE. */
  async #sign(socket: TLSSocket, { path }: HubAddress, key: DeviceKey): Promise<string> {
    try {
      return await signConnection(socket, { path, position: this.#o.device!.position(), key })
    } catch (thrown) {
      // Nobody else knows of the connection yet.
      socket.destroy()
      throw thrown
    }
  }
}

type OpenConnectionOptions = Omit<RelayLinkOptions, 'identity' | 'device'> & {
  readonly prove: Connection['prove']
  readonly websocket: WebSocket
  readonly withDictionary: boolean
  readonly shown: string
  readonly hub: HubAddress
  readonly keepAlive: KeepAlive
  readonly onRoundTrip: (ms: number) => void
}

class OpenConnection implements Connection {
  readonly mux: Mux
  readonly withDictionary: boolean
  readonly shown: string
  readonly prove: Connection['prove']
  readonly #o: OpenConnectionOptions
  #isOver = false
  #lastHeardMs: number
  #silenceMs: number
  #next: Timer
  #pong: Timer | undefined
  #pingedMs = 0

  constructor(options: OpenConnectionOptions) {
    this.#o = options
    const { websocket, clock, control, withDictionary, shown, prove } = options
    this.prove = prove
    this.withDictionary = withDictionary
    this.shown = shown
    const { maxMessageBytes = MAX_SMALL_MESSAGE_BYTES } = control
    this.mux = new Mux({
      side: 'agent',
      part: 'control',
      port: toPort(websocket, 'control'),
      maxMessageBytes: (kind: Kind) => (kind === 'configuration' ? maxMessageBytes : MAX_SMALL_MESSAGE_BYTES),
      maxStreams: MAX_STREAMS,
      onStream: options.onStream,
      held: limitHeld(maxMessageBytes + MAX_HELD_BYTES),
    })
    this.#lastHeardMs = clock.monotonicMs()
    this.#silenceMs = options.keepAlive.computeSilenceMs(SILENCE)
    this.#next = clock.after(this.#silenceMs, () => this.#look())
    this.#listen()
  }

  get isOver(): boolean {
    return this.#isOver
  }
  close(): void {
    this.#end(new MeshError('MESH_DRAINING', 'the agent ends the connection'))
    this.#o.websocket.close(1000)
  }

  #listen(): void {
    const { websocket, hub } = this.#o
    const broken = (error: MeshError): void => this.#fail(error)
    websocket.on(
      'message',
      guard('control', broken, (data: Buffer) => {
        this.#heard()
        try {
          this.mux.receive(data)
        } catch (thrown) {
          this.#fail(toMeshError(thrown))
        }
      }),
    )
    websocket.on(
      'pong',
      guard('control', broken, () => this.#onPong()),
    )
    websocket.on(
      'error',
      guard('control', broken, (err: Error) =>
        this.#fail(new MeshError('MESH_CONTROL_UNREACHABLE', `the connection to ${hub.text} failed: ${err.message}`)),
      ),
    )
    websocket.on(
      'close',
      guard('control', broken, (code: number, words: Buffer) => this.#end(explainClose(hub.text, code, words))),
    )
  }

  #heard(): void {
    this.#lastHeardMs = this.#o.clock.monotonicMs()
  }
  /** What was silent for long enough is asked whether it is there. */
  #look(): void {
    const { clock, websocket, keepAlive, hub } = this.#o
    if (this.#isOver) return
    const leftMs = this.#lastHeardMs + this.#silenceMs - clock.monotonicMs()
    if (leftMs > 0) {
      this.#next = clock.after(leftMs, () => this.#look())
      return
    }
    const nextMs = Math.round(keepAlive.computeSilenceMs(SILENCE))
    this.#pingedMs = clock.monotonicMs()
    websocket.ping(String(nextMs))
    this.#pong = clock.after(PONG_MS, () => {
      keepAlive.noteLost(this.#silenceMs)
      this.#fail(new MeshError('MESH_CONTROL_TIMEOUT', `${hub.text} did not answer a ping`))
    })
  }
  #onPong(): void {
    const { keepAlive, clock } = this.#o
    this.#heard()
    if (!this.#pong) return
    this.#pong.cancel()
    this.#pong = undefined
    this.#o.onRoundTrip(clock.monotonicMs() - this.#pingedMs)
    keepAlive.noteSurvived(this.#silenceMs)
    this.#silenceMs = keepAlive.computeSilenceMs(SILENCE)
    this.#next = clock.after(this.#silenceMs, () => this.#look())
  }

  #fail(reason: MeshError): void {
    this.#end(reason)
    this.#o.websocket.terminate()
  }
  #end(reason: MeshError): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#next.cancel()
    this.#pong?.cancel()
    this.mux.end(reason)
  }
}

/** A reason of the hub is the code of its error. */
function explainClose(address: string, code: number, words: Buffer): MeshError {
  const reason = words.toString('utf8')
  if (Object.hasOwn(CATALOGUE, reason)) return new MeshError(reason as ErrorCode, `${address} ended the connection`)
  return new MeshError('MESH_CONTROL_UNREACHABLE', `${address} closed the connection (${code})`)
}
