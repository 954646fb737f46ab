import type { Duplex } from 'node:stream'
import type { Cluster } from '../../../model/cluster.ts'
import { upgrade } from '../../../protocols/mqtt/connection/websocket.ts'
import type { Clock } from '../../../core/os/clock.ts'
import type { HttpProxy, Upstreams } from '../../../protocols/upstream-api.ts'
import { encode, publishPacket } from '../../../protocols/mqtt/codec/encode.ts'
import type {
  AckType,
  Connack,
  Connect,
  Packet,
  Properties,
  Publish,
  Subscribe,
  Version,
} from '../../../protocols/mqtt/codec/packet.ts'
import { PacketParser } from '../../../protocols/mqtt/codec/parser.ts'
import { NO_PROPERTIES } from '../../../protocols/mqtt/codec/properties.ts'
import { settleUntil, word } from './peer.ts'
import { settle } from '../sim-clock.ts'
import type { SimNetwork } from '../sim-network.ts'

const AT = { host: '10.0.0.1', port: 1883 }

/** An upstream broker that does nothing by itself: tests take what the bridge has sent, in order, and answer. */
export class FakeUpstream {
  readonly connections: UpstreamConn[] = []
  readonly releases: ('ok' | 'failed')[] = []
  /** What each connection was to lead through. */
  readonly through: (HttpProxy | undefined)[] = []
  /** What each connection began with, before MQTT. */
  readonly headers: (string | undefined)[] = []
  readonly network: SimNetwork
  readonly #at: typeof AT
  #taken = 0

  constructor(network: SimNetwork, at = AT) {
    this.network = network
    this.#at = at
  }
  async listen(): Promise<void> {
    await this.network.listen(this.#at, ({ stream }) => {
      this.connections.push(new UpstreamConn(stream))
    })
  }
  /** Over WebSocket. */
  async listenForFrames(clock: Clock): Promise<void> {
    await this.network.listen(this.#at, ({ stream }) => {
      stream.on('error', () => {})
      void upgrade(stream, {
        clock,
        timeoutMs: 10_000,
        maxPacketBytes: 1024 * 1024,
        aborted: new AbortController().signal,
        localHost: this.#at.host,
        allowedOrigins: [],
      }).then(
        (frames) => this.connections.push(new UpstreamConn(frames)),
        () => stream.destroy(),
      )
    })
  }
  get upstreams(): Upstreams {
    return {
      connect: async (_cluster: Cluster, { signal, through, makeHeader }) => {
        this.through.push(through)
        const { stream, local, remote } = await this.network.dial(this.#at, signal)
        this.headers.push(makeHeader && Buffer.from(makeHeader({ local, remote })).toString('latin1'))
        return {
          stream,
          endpoint: { address: this.#at.host, port: this.#at.port } as never,
          alpn: '',
          release: (how) => {
            this.releases.push(how)
          },
        }
      },
    }
  }
  refuse(): void {
    this.network.refuse(this.#at)
  }
  restore(): void {
    this.network.restore(this.#at)
  }
  cut(): void {
    this.network.cut(this.#at)
  }

  /** No connection waits to be asked for. */
  get isTaken(): boolean {
    return this.connections.length <= this.#taken
  }
  /** The next connection that the bridge has opened. */
  async next(): Promise<UpstreamConn> {
    await settleUntil(() => !this.isTaken)
    const conn = this.connections[this.#taken++]
    if (!conn) throw new Error('the bridge has not connected')
    return conn
  }
  /** The next connection, accepted. */
  async accepted(p: { sessionPresent?: boolean; properties?: Properties } = {}): Promise<UpstreamConn> {
    const conn = await this.next()
    await conn.take('connect')
    conn.connack(0, p)
    return conn
  }
}

export class UpstreamConn {
  readonly received: Packet[] = []
  closed = false
  /** Answers PINGREQ by itself. */
  isAlive = false
  version: Version = 5
  /** What it began with. */
  connect: Connect | undefined
  /** Told each chunk. */
  onBytes: ((chunk: Buffer) => void) | undefined
  readonly stream: Duplex

  constructor(stream: Duplex) {
    this.stream = stream
    const parser = new PacketParser({ maxPacketBytes: 268_435_460, side: 'server' })
    stream.on('data', (chunk: Buffer) => {
      this.onBytes?.(chunk)
      parser.push(chunk)
      for (let packet = parser.next(); packet; packet = parser.next()) {
        if (packet.type === 'connect') {
          this.connect = packet
          this.version = packet.version
        }
        if (packet.type === 'pingreq' && this.isAlive) this.send({ type: 'pingresp' })
        else this.received.push(packet)
      }
    })
    for (const event of ['end', 'close', 'error'])
      stream.on(event, () => {
        this.closed = true
      })
  }

  send(...packets: Packet[]): void {
    this.stream.write(Buffer.concat(packets.map((packet) => encode(packet, this.version))))
  }
  raw(hex: string): void {
    this.stream.write(Buffer.from(hex.replaceAll(' ', ''), 'hex'))
  }
  connack(reason: number, p: { sessionPresent?: boolean; properties?: Properties } = {}): void {
    this.send({
      type: 'connack',
      sessionPresent: p.sessionPresent ?? false,
      reason,
      properties: p.properties ?? NO_PROPERTIES,
    } satisfies Connack)
  }
  publish(topic: string, text: string, p: Partial<Publish> = {}): void {
    this.send(publishPacket({ topic, payload: Buffer.from(text), ...p }))
  }
  ack(type: AckType, packetId: number, reason = 0): void {
    this.send({ type, packetId, reason, properties: NO_PROPERTIES })
  }
  end(): void {
    this.stream.end()
  }
  /** Grants every filter as asked. */
  async granted(): Promise<Subscribe> {
    const subscribe = await this.take('subscribe')
    this.send({
      type: 'suback',
      packetId: subscribe.packetId,
      reasons: subscribe.subscriptions.map((s) => s.qos),
      properties: NO_PROPERTIES,
    })
    return subscribe
  }
  async take<T extends Packet['type']>(type: T): Promise<Extract<Packet, { type: T }>> {
    await settleUntil(() => this.received.length > 0)
    const packet = this.received.shift()
    if (packet?.type !== type)
      throw new Error(`wanted ${type}, got ${packet ? word(packet) : this.closed ? 'the end' : 'nothing'}`)
    return packet as Extract<Packet, { type: T }>
  }
  async seen(): Promise<string[]> {
    for (let i = 0; i < 4; i++) await settle()
    return this.received.splice(0).map(word)
  }
}
