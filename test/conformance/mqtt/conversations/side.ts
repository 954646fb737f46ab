/** One broker with the clients of a conversation, act by act. */
import { setImmediate } from 'node:timers/promises'
import { publishPacket } from '../../../../protocols/mqtt/codec/encode.ts'
import { Writer } from '../../../../protocols/mqtt/codec/bytes.ts'
import type { Connack, Packet, Properties, Publish } from '../../../../protocols/mqtt/codec/packet.ts'
import { NO_PROPERTIES, writeProperties } from '../../../../protocols/mqtt/codec/properties.ts'
import { connectPacket, type MqttPeer } from '../../../helpers/mqtt/peer.ts'
import { settle } from '../../../helpers/sim-clock.ts'
import { type Act, CLIENTS, TOPICS, WAIT_MS } from './acts.ts'

type Client = {
  readonly peer: MqttPeer
  isMuted: boolean
  readonly held: Packet[]
  /** Topic Alias Maximum of the broker, and aliases of both directions. */
  takesAliases: number
  readonly said: Set<number>
  readonly heard: Map<number, string>
}
type Broker = {
  open(version: 4 | 5): MqttPeer
  restart(how: 'kill' | 'stop'): Promise<void>
  wait(ms: number): Promise<void>
}
const PATIENCE_MS = 5_000

export class Side {
  readonly #broker: Broker
  readonly #clients: (Client | undefined)[] = CLIENTS.map(() => undefined)
  #heard: string[][] = []
  #ids = 0
  /** A session that holds nothing does not outlive a kill here, so nobody is asked whether it was there. */
  #wasKilled = false
  constructor(broker: Broker) {
    this.#broker = broker
  }

  /** @returns what each client has heard, without order: several of one step have none */
  async take(act: Act): Promise<readonly string[]> {
    this.#heard = CLIENTS.map(() => [])
    if (act.kind === 'restart') {
      for (const client of CLIENTS.keys()) this.#drop(client)
      // A will that was not published yet goes with the process.
      for (let i = 0; i < 10; i++) await breathe()
      await this.#broker.restart(act.how)
      this.#wasKilled ||= act.how === 'kill'
    } else if (act.kind === 'wait') await this.#broker.wait(WAIT_MS)
    else if (act.kind === 'connect') await this.#connect(act)
    else if (act.kind === 'drop') {
      this.#drop(act.client)
      for (let i = 0; i < 10; i++) await breathe()
    } else {
      const client = this.#clients[act.client]
      if (client) await this.#say(client, act)
    }
    await this.#quiet()
    return this.#heard.map((lines) => collapse(lines).toSorted().join(' | '))
  }
  end(): void {
    for (const client of CLIENTS.keys()) this.#drop(client)
  }

  async #connect(act: Extract<Act, { kind: 'connect' }>): Promise<void> {
    this.#drop(act.client)
    // What it was is gone at the broker.
    for (let i = 0; i < 10; i++) await breathe()
    const { version, expirySec, receiveMaximum, topicAliasMaximum, maximumPacketBytes, will } = act
    const peer = this.#broker.open(version)
    this.#clients[act.client] = {
      peer,
      isMuted: false,
      held: [],
      takesAliases: 0,
      said: new Set(),
      heard: new Map(),
    }
    const sessionExpirySec = expirySec === 0 ? undefined : expirySec
    peer.send(
      connectPacket({
        version,
        clientId: CLIENTS[act.client]!,
        cleanStart: act.cleanStart,
        properties:
          version === 5 ? { sessionExpirySec, receiveMaximum, topicAliasMaximum, maximumPacketBytes } : NO_PROPERTIES,
        will: will && {
          topic: will.topic,
          payload: Buffer.from(will.text),
          qos: will.qos,
          retain: will.retain,
          properties: new Uint8Array(0),
          delaySec: version === 5 ? will.delaySec : 0,
          messageExpirySec: undefined,
        },
      }),
    )
    await until(peer, () => peer.received.length > 0)
  }
  #drop(client: number): void {
    this.#clients[client]?.peer.stream.destroy()
    this.#clients[client] = undefined
  }
  async #say(client: Client, act: Exclude<Act, { kind: 'connect' | 'drop' | 'restart' | 'wait' }>): Promise<void> {
    const { peer } = client
    const packetId = (this.#ids = (this.#ids % 65_535) + 1)
    switch (act.kind) {
      case 'subscribe': {
        const properties = act.id === undefined ? NO_PROPERTIES : { subscriptionIds: [act.id] }
        peer.send({ type: 'subscribe', packetId, properties, subscriptions: act.to })
        return
      }
      case 'unsubscribe':
        peer.send({ type: 'unsubscribe', packetId, filters: act.filters, properties: NO_PROPERTIES })
        return
      case 'disconnect': {
        const [reason, sessionExpirySec] = peer.version === 5 ? [act.reason, act.expirySec] : [0, undefined]
        peer.send({ type: 'disconnect', reason, properties: { sessionExpirySec } })
        await until(peer, () => peer.closed)
        return
      }
      case 'acknowledge':
        client.isMuted = !act.isOn
        if (act.isOn) for (const packet of client.held.splice(0)) acknowledge(peer, packet)
        return
      case 'publish': {
        const { messageExpirySec, ...rest } = act.properties
        const { topic, qos, retain } = act
        const alias = TOPICS.indexOf(topic as (typeof TOPICS)[number]) + 1
        const topicAlias = act.isAliased && alias <= client.takesAliases ? alias : 0
        const isKnown = topicAlias > 0 && client.said.has(topicAlias)
        if (topicAlias > 0) client.said.add(topicAlias)
        peer.send(
          publishPacket({
            topic: isKnown ? '' : topic,
            topicAlias,
            payload: Buffer.from(act.text),
            qos,
            retain,
            packetId: qos > 0 ? packetId : 0,
            properties: encodeProperties(rest),
            messageExpirySec,
          }),
        )
        return
      }
      default:
        act satisfies never
    }
  }

  /** Until two rounds of PINGREQ bring nothing more. */
  async #quiet(): Promise<void> {
    for (let calm = 0; calm < 2;) {
      let hasCome = false
      for (const [i, client] of this.#clients.entries()) {
        if (!client) continue
        const { peer } = client
        if (!peer.closed) {
          peer.send({ type: 'pingreq' })
          await until(peer, () => peer.received.some(({ type }) => type === 'pingresp'))
        }
        for (const packet of peer.received.splice(0)) hasCome = this.#hear(i, client, packet) || hasCome
        if (!peer.closed) continue
        this.#heard[i]!.push('closed')
        this.#clients[i] = undefined
      }
      calm = hasCome ? 0 : calm + 1
    }
  }
  #hear(i: number, client: Client, packet: Packet): boolean {
    if (packet.type === 'pingresp') return false
    if (packet.type === 'connack') client.takesAliases = packet.properties.topicAliasMaximum ?? 0
    const line = packet.type === 'connack' ? this.#connackLine(packet) : lineOf(packet, client.heard)
    if (line) this.#heard[i]!.push(line)
    if (client.isMuted && packet.type !== 'pubrec') client.held.push(packet)
    else acknowledge(client.peer, packet)
    return true
  }
  #connackLine({ sessionPresent, reason }: Connack): string {
    return `CONNACK ${reason}${this.#wasKilled ? '' : ` ${sessionPresent}`}`
  }
}

const breathe = async (): Promise<void> => {
  await settle()
  await setImmediate()
}
async function until(peer: MqttPeer, isDone: () => boolean): Promise<void> {
  for (const by = performance.now() + PATIENCE_MS; !isDone() && !peer.closed;) {
    if (performance.now() > by) throw new Error('the broker says nothing')
    await breathe()
  }
}
function acknowledge(peer: MqttPeer, packet: Packet): void {
  if (peer.closed) return
  if (packet.type === 'publish' && packet.qos > 0) peer.ack(packet.qos === 1 ? 'puback' : 'pubrec', packet.packetId)
  else if (packet.type === 'pubrel') peer.ack('pubcomp', packet.packetId)
  else if (packet.type === 'pubrec' && packet.reason < 0x80) peer.ack('pubrel', packet.packetId)
}
/** Properties that are forwarded, without their length. */
function encodeProperties(properties: Properties): Uint8Array {
  const writer = new Writer(128)
  writeProperties(writer, properties)
  return Buffer.from(writer.getBytes()).subarray(1)
}

const PUBLISH = /^PUBLISH (.*) QoS (\d) ?(retained)? ids (.*)$/
/** Undefined: what brokers may do differently. */
function lineOf(packet: Packet, aliases: Map<number, string>): string | undefined {
  switch (packet.type) {
    case 'publish':
      return publishLine({ ...packet, topic: resolve(packet, aliases) })
    case 'suback':
    case 'unsuback':
      return `${packet.type} ${packet.reasons.join()}`
    case 'disconnect':
      return `DISCONNECT ${packet.reason}`
    case 'puback':
    case 'pubrec':
    case 'pubcomp':
      // No matching subscribers is told by mosquitto alone.
      return packet.reason === 0 || packet.reason === 0x10 ? undefined : `${packet.type} ${packet.reason}`
    case 'auth':
    case 'connack':
    case 'connect':
    case 'pingreq':
    case 'pingresp':
    case 'pubrel':
    case 'subscribe':
    case 'unsubscribe':
    case 'unsupported-connect':
      return undefined
    default:
      return packet satisfies never
  }
}
function resolve({ topic, topicAlias }: Publish, aliases: Map<number, string>): string {
  if (topicAlias === 0) return topic
  if (topic !== '') aliases.set(topicAlias, topic)
  return aliases.get(topicAlias) ?? `the unknown alias ${topicAlias}`
}
function publishLine({ topic, payload, qos, retain, messageExpirySec, properties, subscriptionIds }: Publish): string {
  const expiry = messageExpirySec === undefined ? '' : ' expires'
  const more = Buffer.from(properties).toString('hex')
  return `PUBLISH ${topic} ${Buffer.from(payload).toString()}${expiry} ${more} QoS ${qos} ${retain ? 'retained' : ''} ids ${subscriptionIds.join()}`
}
/** mosquitto sends one copy for each subscription that matches (MQTT 5.0 §3.3.4 permits both): they count as one. */
function collapse(lines: readonly string[]): string[] {
  const copies = new Map<string, { qos: number; isRetained: boolean; ids: Set<string> }>()
  const rest: string[] = []
  for (const line of lines) {
    const [, what, qos, retained, ids] = PUBLISH.exec(line) ?? []
    if (what === undefined) {
      rest.push(line)
      continue
    }
    const known = copies.get(what) ?? { qos: 0, isRetained: false, ids: new Set() }
    known.qos = Math.max(known.qos, Number(qos))
    known.isRetained ||= retained !== undefined
    for (const id of ids!.split(',')) if (id !== '') known.ids.add(id)
    copies.set(what, known)
  }
  for (const [what, { qos, isRetained, ids }] of copies)
    rest.push(`${what} QoS ${qos} ${isRetained ? 'retained ' : ''}ids ${[...ids].toSorted().join()}`)
  return rest
}
