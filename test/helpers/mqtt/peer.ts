import type { Duplex } from 'node:stream'
import { encode, publishPacket } from '../../../protocols/mqtt/codec/encode.ts'
import type {
  Ack,
  AckType,
  Connack,
  Connect,
  Packet,
  Properties,
  Publish,
  Suback,
  SubscriptionRequest,
  Unsuback,
  Version,
} from '../../../protocols/mqtt/codec/packet.ts'
import { PacketParser } from '../../../protocols/mqtt/codec/parser.ts'
import { NO_PROPERTIES } from '../../../protocols/mqtt/codec/properties.ts'
import { settle } from '../sim-clock.ts'

const PATIENCE_MS = 5_000
/** With patience for what other threads do in real time, as hashing a password, on a busy machine. */
export async function settleUntil(isDone: () => boolean): Promise<void> {
  for (const by = performance.now() + PATIENCE_MS; !isDone() && performance.now() < by;) await settle()
}

/** CONNECT as the tests' clients send it: MQTT 5.0, a clean start, no credentials, no will. */
export function connectPacket(over: Partial<Omit<Connect, 'type'>> = {}): Connect {
  return {
    type: 'connect',
    version: 5,
    cleanStart: true,
    keepAliveSec: 0,
    clientId: 'c',
    username: undefined,
    password: undefined,
    will: undefined,
    properties: NO_PROPERTIES,
    ...over,
  }
}

/**
 * A client that does nothing by itself: tests send packets and take what has come, in order. It acknowledges only when
 * told to.
 */
export class MqttPeer {
  readonly stream: Duplex
  readonly version: Version
  readonly received: Packet[] = []
  closed = false
  readonly #parser: PacketParser
  #nextId = 1

  constructor(stream: Duplex, version: Version = 5) {
    this.stream = stream
    this.version = version
    this.#parser = new PacketParser({ maxPacketBytes: 268_435_460, side: 'client', version })
    stream.on('data', (chunk: Buffer) => {
      this.#parser.push(chunk)
      for (let packet = this.#parser.next(); packet; packet = this.#parser.next()) this.received.push(packet)
    })
    stream.on('end', () => {
      this.closed = true
    })
    stream.on('close', () => {
      this.closed = true
    })
    stream.on('error', () => {
      this.closed = true
    })
  }

  send(...packets: Packet[]): void {
    this.stream.write(Buffer.concat(packets.map((packet) => encode(packet, this.version))))
  }
  raw(hex: string): void {
    this.stream.write(Buffer.from(hex.replaceAll(' ', ''), 'hex'))
  }

  async connect(p: Partial<Omit<Connect, 'type' | 'version'>> = {}): Promise<Connack> {
    this.send(connectPacket({ version: this.version, ...p }))
    return this.take('connack')
  }
  async subscribe(
    filter: string,
    p: Partial<SubscriptionRequest> & { readonly properties?: Properties } = {},
  ): Promise<Suback> {
    const { properties = NO_PROPERTIES, ...rest } = p
    this.send({
      type: 'subscribe',
      packetId: this.#nextId++,
      properties,
      subscriptions: [{ filter, qos: 0, noLocal: false, retainAsPublished: false, retainHandling: 0, ...rest }],
    })
    return this.take('suback')
  }
  async unsubscribe(filter: string): Promise<Unsuback> {
    this.send({ type: 'unsubscribe', packetId: this.#nextId++, filters: [filter], properties: NO_PROPERTIES })
    return this.take('unsuback')
  }
  publish(topic: string, text: string, p: Partial<Publish> = {}): void {
    this.send(publishPacket({ topic, payload: Buffer.from(text), ...p }))
  }
  ack(type: AckType, packetId: number, reason = 0): void {
    this.send({ type, packetId, reason, properties: NO_PROPERTIES })
  }
  disconnect(reason = 0, properties: Properties = NO_PROPERTIES): void {
    this.send({ type: 'disconnect', reason, properties })
  }

  /** The next packet that has come, which must be of this type. */
  async take<T extends Packet['type']>(
    type: T,
  ): Promise<Extract<Packet, { type: T }> & (T extends AckType ? Ack : unknown)> {
    await settleUntil(() => this.received.length > 0 || this.closed)
    const packet = this.received.shift()
    if (packet?.type !== type)
      throw new Error(`wanted ${type}, got ${packet ? JSON.stringify(packet) : this.closed ? 'the end' : 'nothing'}`)
    return packet as never
  }
  /**
   * Everything that has come and nobody has taken, as short words: 'publish a/b hello q1 #1', 'puback #1', 'disconnect
   * 0x8e'.
   */
  async seen(): Promise<string[]> {
    for (let i = 0; i < 4; i++) await settle()
    return this.received.splice(0).map(word)
  }
}

export function word(packet: Packet): string {
  switch (packet.type) {
    case 'publish':
      return `publish ${packet.topic} ${Buffer.from(packet.payload).toString()} q${packet.qos}${packet.packetId ? ` #${packet.packetId}` : ''}${packet.dup ? ' dup' : ''}${packet.retain ? ' retain' : ''}`
    case 'puback':
    case 'pubrec':
    case 'pubrel':
    case 'pubcomp':
      return `${packet.type} #${packet.packetId}${packet.reason ? ` 0x${packet.reason.toString(16)}` : ''}`
    case 'disconnect':
      return `disconnect 0x${packet.reason.toString(16)}`
    case 'suback':
      return `suback ${packet.reasons.join(',')}`
    case 'auth':
    case 'connack':
    case 'connect':
    case 'pingreq':
    case 'pingresp':
    case 'subscribe':
    case 'unsuback':
    case 'unsubscribe':
    case 'unsupported-connect':
      return packet.type
    default:
      return packet satisfies never
  }
}
