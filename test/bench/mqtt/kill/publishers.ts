/**
 * Devices that publish without a pause and keep their sessions: what is unacknowledged when the connection breaks is
 * sent again after it. RawPublisher does what the standard says to the letter (DUP, all of the window at once);
 * MqttJsPublisher is a client that is widely used.
 */
import net from 'node:net'
import { once } from 'node:events'
import { connect, type MqttClient } from 'mqtt'
import type { Random } from '../../../../core/os/clock.ts'
import { ackPacket, connectPacket, packets, publishPacket, TYPE, type Version } from '../wire.ts'
import { payloadOf, Stream, type Qos } from './ledger.ts'

const MAX_PAUSE_MS = 25
const RECONNECT_MS = 30
/** One message of so many is retained; it has a topic of its own. */
const KEPT_ONE_IN = 6
const EXPIRY_SEC = 3600
/**
 * Few, so that an id is used again as soon as it is free: one that the broker has not forgotten in time would swallow
 * the next message.
 */
const RAW_IDS = 64

/** What may not happen, apart from what the ledger counts. */
export type Faults = {
  sessionsLost: number
  refused: number
  /** What was not as the standard has it, in words; the first MAX_VIOLATIONS. */ readonly violations: string[]
}
const MAX_VIOLATIONS = 100

/**
 * `window`: messages that may be unacknowledged at a time. `mayPublish`: whether the subscribers keep up, or the
 * session's limits would refuse messages.
 */
type Setting = {
  readonly name: string
  readonly version: Version
  readonly qos: Qos
  readonly port: number
  readonly window: number
  readonly mayPublish: () => boolean
  readonly random: Random
  readonly faults: Faults
}

abstract class Publisher {
  readonly name: string
  readonly live: Stream
  readonly kept: Stream
  protected readonly port: number
  protected readonly faults: Faults
  readonly #random: Random
  readonly #window: number
  readonly #mayPublish: () => boolean
  #isPublishing = true
  #timer: NodeJS.Timeout | undefined

  constructor(p: Setting) {
    this.name = p.name
    this.#window = p.window
    this.#mayPublish = p.mayPublish
    this.port = p.port
    this.faults = p.faults
    this.#random = p.random
    this.live = new Stream(`kill/${p.name}/live`, p.qos)
    this.kept = new Stream(`kill/${p.name}/kept`, p.qos)
  }
  abstract start(): Promise<void>
  abstract readonly unacknowledged: number
  abstract end(): Promise<void>
  protected abstract readonly isReady: boolean
  protected abstract send(batch: readonly { readonly stream: Stream; readonly n: number }[]): void

  /** Now and then some messages, as many as fit the window. */
  protected publish(): void {
    if (!this.#isPublishing) return
    const room = this.#window - this.unacknowledged
    if (this.isReady && room > 0 && this.#mayPublish()) {
      this.send(
        Array.from({ length: Math.ceil(this.#random.float() * room) }, () => {
          const stream = this.#random.float() * KEPT_ONE_IN < 1 ? this.kept : this.live
          return { stream, n: ++stream.sent }
        }),
      )
    }
    this.#timer = setTimeout(() => {
      this.publish()
    }, this.#random.float() * MAX_PAUSE_MS)
  }
  /**
   * From its first acknowledgement on the session may not be forgotten: one that holds nothing is in the agent's memory
   * alone.
   */
  protected get hasSession(): boolean {
    return this.live.acknowledged.size + this.kept.acknowledged.size > 0
  }
  protected refused(why: string): void {
    this.faults.refused++
    this.violated(`refused: ${why}`)
  }
  protected violated(what: string): void {
    if (this.faults.violations.length < MAX_VIOLATIONS) this.faults.violations.push(`${this.name}: ${what}`)
  }
  /** Nothing new from now on; what is unacknowledged is still sent again. */
  stop(): void {
    this.#isPublishing = false
    clearTimeout(this.#timer)
  }
}
export type { Publisher }

type InFlight = {
  readonly stream: Stream
  readonly n: number
  awaits: 'puback' | 'pubrec' | 'pubcomp'
  isRepeated: boolean
}

export class RawPublisher extends Publisher {
  readonly #version: Version
  readonly #qos: Qos
  /** In the order of their first sending, which is the order of every other one [MQTT-4.6.0-1]. */
  readonly #inflight = new Map<number, InFlight>()
  #socket: net.Socket | undefined
  #isConnected = false
  #isOver = false
  #lastId = 0

  constructor(p: Setting) {
    super(p)
    this.#version = p.version
    this.#qos = p.qos
  }
  get unacknowledged(): number {
    return this.#inflight.size
  }
  protected get isReady(): boolean {
    return this.#isConnected
  }

  async start(): Promise<void> {
    this.#connect()
    while (!this.#isConnected)
      await new Promise((resolve) => {
        setTimeout(resolve, 5)
      })
    this.publish()
  }
  async end(): Promise<void> {
    this.#isOver = true
    this.stop()
    if (!this.#socket || this.#socket.destroyed) return
    this.#socket.destroy()
    await once(this.#socket, 'close')
  }

  #connect(): void {
    const socket = (this.#socket = net.connect({ port: this.port, host: '127.0.0.1', noDelay: true }))
    socket.on('connect', () => {
      socket.write(connectPacket({ id: this.name, version: this.#version, clean: false, expirySec: EXPIRY_SEC }))
    })
    socket.on('error', () => {
      /* close follows */
    })
    socket.on('close', () => {
      this.#isConnected = false
      if (!this.#isOver)
        setTimeout(() => {
          if (!this.#isOver) this.#connect()
        }, RECONNECT_MS)
    })
    packets(socket, (first, body) => {
      this.#take(first >> 4, body, socket)
    })
  }

  #take(type: number, body: Buffer, socket: net.Socket): void {
    if (type === TYPE.connack) {
      this.#resume(body, socket)
      return
    }
    const packetId = body.length >= 2 ? body.readUInt16BE(0) : 0
    const reason = body[2] ?? 0
    const one = this.#inflight.get(packetId)
    const expected = one && TYPE[one.awaits]
    if (type !== expected) {
      this.violated(`packet type ${type} for id ${packetId}, which awaits ${one?.awaits ?? 'nothing'}`)
      return
    }
    if (reason >= 0x80) {
      this.#inflight.delete(packetId)
      this.refused(`packet type ${type} with reason 0x${reason.toString(16)}`)
    } else if (type === TYPE.pubrec) {
      one!.awaits = 'pubcomp'
      socket.write(ackPacket(TYPE.pubrel, packetId))
    } else {
      this.#inflight.delete(packetId)
      one!.stream.acknowledge(one!.n)
    }
  }

  /** [MQTT-4.4.0-1]: what was not acknowledged, with its old packet ids. */
  #resume(body: Buffer, socket: net.Socket): void {
    if (body[1] !== 0) {
      this.violated(`CONNACK ${body[1]}`)
      return
    }
    if (this.hasSession && body[0] !== 1) this.faults.sessionsLost++
    this.#isConnected = true
    const out: Buffer[] = []
    for (const [packetId, one] of this.#inflight) {
      one.isRepeated = true
      out.push(one.awaits === 'pubcomp' ? ackPacket(TYPE.pubrel, packetId) : this.#publication(one, packetId))
    }
    if (out.length > 0) socket.write(Buffer.concat(out))
  }

  protected send(batch: readonly { readonly stream: Stream; readonly n: number }[]): void {
    this.#socket!.write(
      Buffer.concat(
        batch.map(({ stream, n }) => {
          do this.#lastId = (this.#lastId % RAW_IDS) + 1
          while (this.#inflight.has(this.#lastId))
          const one: InFlight = { stream, n, awaits: this.#qos === 1 ? 'puback' : 'pubrec', isRepeated: false }
          this.#inflight.set(this.#lastId, one)
          return this.#publication(one, this.#lastId)
        }),
      ),
    )
  }
  #publication({ stream, n, isRepeated }: InFlight, packetId: number): Buffer {
    return publishPacket({
      version: this.#version,
      topic: stream.topic,
      qos: this.#qos,
      packetId,
      payload: payloadOf(stream.topic, n),
      retain: stream === this.kept,
      dup: isRepeated,
    })
  }
}

/**
 * It repeats one message after the other and without DUP; the broker has to know a QoS 2 message by its packet id alone
 * [MQTT-4.3.3-10].
 */
export class MqttJsPublisher extends Publisher {
  readonly #version: Version
  readonly #qos: Qos
  #client: MqttClient | undefined
  #unacknowledged = 0
  /**
   * It takes what is published before it has repeated everything, and gives it up when the connection breaks meanwhile.
   */
  #isReady = false

  constructor(p: Setting) {
    super(p)
    this.#version = p.version
    this.#qos = p.qos
  }
  get unacknowledged(): number {
    return this.#unacknowledged
  }
  protected get isReady(): boolean {
    return this.#isReady
  }

  async start(): Promise<void> {
    const client = (this.#client = connect({
      host: '127.0.0.1',
      port: this.port,
      clientId: this.name,
      protocolVersion: this.#version,
      clean: false,
      reconnectPeriod: RECONNECT_MS,
      ...(this.#version === 5 ? { properties: { sessionExpiryInterval: EXPIRY_SEC } } : {}),
    }))
    client.on('error', () => {
      /* the connection is lost on purpose */
    })
    client.on('close', () => {
      this.#isReady = false
    })
    client.on('connect', () => {
      this.#isReady = true
    })
    await new Promise<void>((resolve) => {
      client.once('connect', () => {
        resolve()
      })
    })
    client.on('packetreceive', (packet) => {
      if (packet.cmd === 'connack' && this.hasSession && !packet.sessionPresent) this.faults.sessionsLost++
    })
    this.publish()
  }
  async end(): Promise<void> {
    this.stop()
    await this.#client?.endAsync(true)
  }
  protected send(batch: readonly { readonly stream: Stream; readonly n: number }[]): void {
    for (const { stream, n } of batch) {
      this.#unacknowledged++
      this.#client!.publish(
        stream.topic,
        payloadOf(stream.topic, n),
        { qos: this.#qos, retain: stream === this.kept },
        (err) => {
          this.#unacknowledged--
          if (err) this.refused(err.message)
          else stream.acknowledge(n)
        },
      )
    }
  }
}
