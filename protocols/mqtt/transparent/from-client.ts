/** What a connected client says: asked about, and passed to the broker as it came. */
import { MeshError } from '../../../core/errors.ts'
import type { MqttPolicy } from '../../../model/mqtt-policy.ts'
import type { Authorizer } from '../authorization/authorizer.ts'
import { encode } from '../codec/encode.ts'
import type { AckType, Auth, Disconnect, Packet, Publish, Qos, Subscribe, Version } from '../codec/packet.ts'
import { NO_PROPERTIES } from '../codec/properties.ts'
import { REASON, createViolation } from '../codec/reason.ts'
import type { RateLimit } from '../connection/rate-limit.ts'
import { refuseMalformed, tellRefused } from '../session/subscribe.ts'
import type { BrokerState } from '../state.ts'
import { isReserved, isTooDeep } from '../topics/topics.ts'
import type { PassingAliases } from './aliases.ts'
import type { Subscribing } from './subscribing.ts'
import type { Way } from './way.ts'

export type FromClientParts = {
  readonly state: Pick<BrokerState, 'counters' | 'ctx'>
  readonly clientId: string
  readonly version: Version
  /** Also what was denied, where its version knows no other answer. */
  readonly acknowledgesDenied: boolean
  readonly limits: MqttPolicy['limits']
  readonly authorizer: () => Authorizer
  readonly aliases: PassingAliases
  readonly rate: Pick<RateLimit, 'charge'>
  readonly subscribing: Subscribing
  readonly toBroker: Pick<Way, 'add'>
  readonly toClient: Pick<Way, 'add'>
  /** Undefined: authentication is between client and broker. */
  readonly reauthenticate: ((packet: Auth) => void) | undefined
  readonly onDisconnect: (packet: Disconnect) => void
}

export class FromClient {
  readonly #p: FromClientParts
  /** Of QoS 2 that was denied and acknowledged: their PUBREL is answered here. At most all packet ids. */
  readonly #denied = new Set<number>()

  constructor(p: FromClientParts) {
    this.#p = p
  }

  /** @throws MESH_MQTT_PROTOCOL, MESH_MQTT_NOT_AUTHORIZED, MESH_MQTT_RATE: the connection is to be closed */
  take(packet: Packet, bytes: Buffer): void {
    const { toBroker, reauthenticate, onDisconnect, state } = this.#p
    if (packet.type === 'publish') return this.#publish(packet, bytes)
    if (packet.type === 'connect' || packet.type === 'unsupported-connect')
      throw createViolation(REASON.protocolError, '[MQTT-3.1.0-2] a second CONNECT')
    state.counters.controlsReceived[packet.type].value++
    if (packet.type === 'subscribe') return this.#subscribe(packet, bytes)
    if (packet.type === 'auth' && reauthenticate) return reauthenticate(packet)
    if (packet.type === 'pubrel' && this.#denied.delete(packet.packetId))
      return this.#answer('pubcomp', packet.packetId, REASON.success)
    toBroker.add(bytes)
    if (packet.type === 'disconnect') onDisconnect(packet)
  }

  #publish(packet: Publish, bytes: Buffer): void {
    const { state, aliases, limits, authorizer, toBroker, version, rate } = this.#p
    const { counters } = state
    counters.received[packet.qos].value++
    counters.bytesReceived.payload.value += packet.payload.length
    const topic = aliases.resolveTopic(packet)
    if (isTooDeep(topic, limits.maxTopicLevels))
      throw createViolation(
        REASON.topicNameInvalid,
        `the topic has more than ${limits.maxTopicLevels} levels (mqtt.limits.maxTopicLevels)`,
      )
    const tooMuch = rate.charge(topic.length + packet.payload.length + packet.properties.length)
    if (tooMuch && (packet.qos === 0 || version === 4)) throw tooMuch
    if (isReserved(topic) || !authorizer().mayPublish(topic)) this.#deny(packet, topic)
    else if (tooMuch) this.#refuse(packet, REASON.quotaExceeded)
    else {
      if (packet.qos === 2) this.#denied.delete(packet.packetId)
      toBroker.add(aliases.pass(packet, topic, bytes))
    }
  }

  #deny(packet: Publish, topic: string): void {
    const { state, clientId, version, acknowledgesDenied } = this.#p
    const { qos } = packet
    state.counters.refused('not-authorized').value++
    state.ctx.log.warn(
      { evt: 'mqtt.publish.denied', clientId, topic, qos },
      'publish is not allowed by the mqtt policy',
    )
    if (version === 4 && qos > 0 && !acknowledgesDenied)
      throw new MeshError('MESH_MQTT_NOT_AUTHORIZED', `client may not publish to ${topic}`)
    this.#refuse(packet, version === 4 ? REASON.success : REASON.notAuthorized)
  }
  #refuse(packet: Publish, reason: number): void {
    const { qos, packetId } = packet
    this.#p.aliases.keepBack(packet)
    if (qos === 0) return
    // With a reason code from 0x80 on the packet id is free again (MQTT 5.0 §4.3.3).
    if (qos === 2 && reason === REASON.success) this.#denied.add(packetId)
    this.#answer(ANSWERS[qos], packetId, reason)
  }
  #answer(type: AckType, packetId: number, reason: number): void {
    const { toClient, version, state } = this.#p
    state.counters.controlsSent[type].value++
    toClient.add(encode({ type, packetId, reason, properties: NO_PROPERTIES }, version))
  }

  #subscribe(packet: Subscribe, bytes: Buffer): void {
    const { state, clientId, limits, authorizer, subscribing, toBroker, toClient, version } = this.#p
    const may = authorizer()
    const reasons = packet.subscriptions.map(({ filter }) => {
      refuseMalformed(filter)
      if (isTooDeep(filter, limits.maxTopicLevels + (filter.startsWith('$share/') ? 2 : 0)))
        return REASON.topicFilterInvalid
      return may.maySubscribe(filter) ? REASON.success : REASON.notAuthorized
    })
    const to = subscribing.ask(packet, reasons)
    tellRefused(state, clientId, packet, to.reasons)
    if (to.pass === 'as it came') toBroker.add(bytes)
    else if (to.pass) toBroker.add(encode(to.pass, version))
    else {
      state.counters.controlsSent.suback.value++
      toClient.add(encode(to.answer, version))
    }
  }
}

const ANSWERS: Readonly<Record<Exclude<Qos, 0>, AckType>> = { 1: 'puback', 2: 'pubrec' }
