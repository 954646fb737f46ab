/** What the broker says to a connected client: passed as it came, without messages that the client may not receive. */
import { MeshError } from '../../../core/errors.ts'
import type { Authorizer } from '../authorization/authorizer.ts'
import { encode } from '../codec/encode.ts'
import type { AckType, Disconnect, Packet, Publish, Version } from '../codec/packet.ts'
import { NO_PROPERTIES } from '../codec/properties.ts'
import { REASON } from '../codec/reason.ts'
import type { BrokerState } from '../state.ts'
import type { PassingAliases } from './aliases.ts'
import type { Subscribing } from './subscribing.ts'
import type { Way } from './way.ts'

export type FromBrokerParts = {
  readonly state: Pick<BrokerState, 'counters'>
  readonly version: Version
  readonly authorizer: () => Authorizer
  readonly aliases: PassingAliases
  readonly subscribing: Subscribing
  readonly toBroker: Pick<Way, 'add'>
  readonly toClient: Pick<Way, 'add'>
  readonly onDisconnect: (packet: Disconnect) => void
}

export class FromBroker {
  readonly #p: FromBrokerParts
  /** Of QoS 2 that was acknowledged for the client: their PUBREL is answered here. At most all packet ids. */
  readonly #kept = new Set<number>()

  constructor(p: FromBrokerParts) {
    this.#p = p
  }

  /** @throws MESH_UPSTREAM_PROTOCOL, MESH_MQTT_PROTOCOL: the connection is to be closed */
  take(packet: Packet, bytes: Buffer): void {
    const { state, toClient, version, subscribing, onDisconnect } = this.#p
    if (packet.type === 'publish') return this.#publish(packet, bytes)
    if (packet.type === 'connack' || packet.type === 'connect' || packet.type === 'unsupported-connect')
      throw new MeshError(
        'MESH_UPSTREAM_PROTOCOL',
        `the broker sent ${packet.type.toUpperCase()} to a connected client`,
      )
    if (packet.type === 'pubrel' && this.#kept.delete(packet.packetId))
      return this.#answer('pubcomp', packet.packetId, REASON.success)
    state.counters.controlsSent[packet.type].value++
    if (packet.type === 'suback') {
      const answer = subscribing.restoreAnswer(packet)
      toClient.add(answer === packet ? bytes : encode(answer, version))
      return
    }
    toClient.add(bytes)
    if (packet.type === 'disconnect') onDisconnect(packet)
  }

  #publish(packet: Publish, bytes: Buffer): void {
    const { state, aliases, authorizer, toClient, version } = this.#p
    const topic = aliases.resolveTopic(packet)
    const may = authorizer()
    if (!may.restrictsReceiving || may.mayReceive(topic)) {
      state.counters.sent[packet.qos].value++
      state.counters.bytesSent.payload.value += packet.payload.length
      toClient.add(aliases.pass(packet, topic, bytes))
      return
    }
    const { qos, packetId } = packet
    aliases.keepBack(packet)
    state.counters.dropped['not-authorized'].value++
    const reason = version === 5 ? REASON.notAuthorized : REASON.success
    if (qos === 1) this.#answer('puback', packetId, reason)
    if (qos !== 2) return
    // With a reason code from 0x80 on the packet id is free again (MQTT 5.0 §4.3.3).
    if (reason === REASON.success) this.#kept.add(packetId)
    this.#answer('pubrec', packetId, reason)
  }
  #answer(type: AckType, packetId: number, reason: number): void {
    const { toBroker, version } = this.#p
    toBroker.add(encode({ type, packetId, reason, properties: NO_PROPERTIES }, version))
  }
}
