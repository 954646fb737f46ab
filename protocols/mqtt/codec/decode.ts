/**
 * One packet's body to data (MQTT 5.0 §3, MQTT 3.1.1 §3). The parser has checked the fixed header except PUBLISH's
 * flags.
 */
import { IN_DISCONNECT, REASON, createViolation } from './reason.ts'
import type { Reader } from './bytes.ts'
import {
  NO_BYTES,
  NO_IDS,
  TYPE,
  type Ack,
  type AckType,
  type Auth,
  type Connack,
  type Disconnect,
  type Packet,
  type Properties,
  type Publish,
  type Qos,
  type Suback,
  type Subscribe,
  type SubscriptionRequest,
  type Unsuback,
  type Unsubscribe,
  type Version,
} from './packet.ts'
import { NO_PROPERTIES, readProperties, type Place } from './properties.ts'
import { decodeConnect } from './decode-connect.ts'
import { finishPacket, checkPacketId, readTopicName } from './fields.ts'

const PINGREQ: Packet = { type: 'pingreq' }

/** @throws MESH_MQTT_PROTOCOL */
export function decode(r: Reader, first: number, version: Version, side: 'server' | 'client'): Packet {
  switch (first & 0xf0) {
    case TYPE.publish:
      return decodePublish(r, first & 0x0f, version, side)
    case TYPE.puback:
      return decodeAck(r, 'puback', version)
    case TYPE.pubrec:
      return decodeAck(r, 'pubrec', version)
    case TYPE.pubrel:
      return decodeAck(r, 'pubrel', version)
    case TYPE.pubcomp:
      return decodeAck(r, 'pubcomp', version)
    case TYPE.connect:
      return decodeConnect(r)
    case TYPE.connack:
      return decodeConnack(r, version)
    case TYPE.subscribe:
      return decodeSubscribe(r, version)
    case TYPE.suback:
      return decodeReasons(r, 'suback', version)
    case TYPE.unsubscribe:
      return decodeUnsubscribe(r, version)
    case TYPE.unsuback:
      return decodeReasons(r, 'unsuback', version)
    case TYPE.pingreq:
      return finishPacket(r, PINGREQ)
    case TYPE.pingresp:
      return finishPacket(r, { type: 'pingresp' })
    case TYPE.disconnect:
      return decodeDisconnect(r, version)
    default:
      return decodeAuth(r, version)
  }
}

/** Of a PUBLISH that is too large; its properties and its payload are passed over. */
export function decodeHead(r: Reader, first: number, oversizedBytes: number): Publish {
  const qos = ((first >> 1) & 3) as Qos
  const topic = readTopicName(r)
  return {
    type: 'publish',
    topic,
    payload: NO_BYTES,
    qos,
    retain: (first & 1) === 1,
    dup: (first & 8) !== 0,
    packetId: qos === 0 ? 0 : checkPacketId(r.u16(), '[MQTT-2.2.1-3]'),
    properties: NO_BYTES,
    messageExpirySec: undefined,
    topicAlias: 0,
    subscriptionIds: NO_IDS,
    oversizedBytes,
  }
}

function decodePublish(r: Reader, flags: number, version: Version, side: 'server' | 'client'): Publish {
  const qos = (flags >> 1) & 3
  if (qos === 3) throw createViolation(REASON.malformedPacket, '[MQTT-3.3.1-4] both QoS bits of PUBLISH are set')
  const dup = flags > 7
  if (dup && qos === 0) throw createViolation(REASON.malformedPacket, '[MQTT-3.3.1-2] DUP is set with QoS 0')
  const topic = readTopicName(r)
  const packetId = qos === 0 ? 0 : checkPacketId(r.u16(), '[MQTT-2.2.1-3]')
  if (version === 4) {
    if (topic === '') throw createViolation(REASON.topicNameInvalid, '[MQTT-4.7.3-1] the topic name is empty')
    return {
      type: 'publish',
      topic,
      payload: r.rest(),
      qos: qos as Qos,
      retain: (flags & 1) === 1,
      dup,
      packetId,
      properties: NO_BYTES,
      messageExpirySec: undefined,
      topicAlias: 0,
      subscriptionIds: NO_IDS,
    }
  }
  const { properties, forwarded } = readProperties(r, 'publish')
  const { topicAlias = 0, messageExpirySec, subscriptionIds = NO_IDS } = properties
  if (properties.topicAlias === 0)
    throw createViolation(REASON.topicAliasInvalid, '[MQTT-3.3.2-8] the Topic Alias is 0')
  if (topic === '' && topicAlias === 0)
    throw createViolation(
      REASON.protocolError,
      'the topic name is empty and there is no Topic Alias (MQTT 5.0 §3.3.2.1)',
    )
  if (side === 'server' && subscriptionIds.length > 0)
    throw createViolation(REASON.protocolError, '[MQTT-3.3.4-6] a client sent a Subscription Identifier in PUBLISH')
  return {
    type: 'publish',
    topic,
    payload: r.rest(),
    qos: qos as Qos,
    retain: (flags & 1) === 1,
    dup,
    packetId,
    properties: forwarded,
    messageExpirySec,
    topicAlias,
    subscriptionIds,
  }
}

function decodeAck(r: Reader, type: AckType, version: Version): Ack {
  const packetId = checkPacketId(r.u16(), '[MQTT-2.2.1-3]')
  if (version === 4 || r.left === 0) return finishPacket(r, { type, packetId, reason: 0, properties: NO_PROPERTIES })
  const reason = defined(r.u8(), type)
  const properties = propertiesIfAny(r, type)
  return finishPacket(r, { type, packetId, reason, properties })
}

/** §3.4.2.1, §3.5.2.1, §3.6.2.1, §3.7.2.1, §3.14.2.1; those of DISCONNECT for both sides. */
const PUBLISHED: ReadonlySet<number> = new Set([0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99])
const RELEASED: ReadonlySet<number> = new Set([0x00, 0x92])
const REASONS: Readonly<Record<AckType | 'disconnect', ReadonlySet<number>>> = {
  puback: PUBLISHED,
  pubrec: PUBLISHED,
  pubrel: RELEASED,
  pubcomp: RELEASED,
  disconnect: IN_DISCONNECT,
}
function defined(reason: number, type: AckType | 'disconnect'): number {
  if (!REASONS[type].has(reason))
    throw createViolation(
      REASON.protocolError,
      `${type.toUpperCase()} has the reason code 0x${reason.toString(16)}, which is not defined`,
    )
  return reason
}

/** Acknowledgements may end after the reason code (§3.4.2.2.1). */
function propertiesIfAny(r: Reader, place: Place): Properties {
  return r.left === 0 ? NO_PROPERTIES : readProperties(r, place).properties
}

function decodeConnack(r: Reader, version: Version): Connack {
  const flags = r.u8()
  if (flags > 1)
    throw createViolation(
      REASON.malformedPacket,
      '[MQTT-3.2.2-1] reserved bits of the Connect Acknowledge Flags are set',
    )
  const reason = r.u8()
  // A server that does not speak our version answers in the form of 3.1.1, which has no properties.
  const properties = version === 4 ? NO_PROPERTIES : propertiesIfAny(r, 'connack')
  return finishPacket(r, { type: 'connack', sessionPresent: flags === 1, reason, properties })
}

function decodeSubscribe(r: Reader, version: Version): Subscribe {
  const packetId = checkPacketId(r.u16(), '[MQTT-2.2.1-3]')
  const properties = version === 5 ? readProperties(r, 'subscribe').properties : NO_PROPERTIES
  if (r.left === 0) throw createViolation(REASON.protocolError, '[MQTT-3.8.3-2] SUBSCRIBE names no topic filter')
  // Most name one, and a list that has grown has room for 16 more.
  const subscriptions: SubscriptionRequest[] = [subscriptionRequest(r.string(), r.u8(), version)]
  while (r.left > 0) subscriptions.push(subscriptionRequest(r.string(), r.u8(), version))
  return { type: 'subscribe', packetId, subscriptions, properties }
}

/** Subscription options (§3.8.3.1): QoS, No Local, Retain As Published, Retain Handling. */
function subscriptionRequest(filter: string, options: number, version: Version): SubscriptionRequest {
  const qos = options & 3
  const retainHandling = (options >> 4) & 3
  if (qos === 3) throw createViolation(REASON.protocolError, 'Maximum QoS of a subscription is 3 (MQTT 5.0 §3.8.3.1)')
  if (options > (version === 5 ? 0x3f : 0x03))
    throw createViolation(REASON.malformedPacket, '[MQTT-3.8.3-5] reserved bits of the Subscription Options are set')
  if (retainHandling === 3)
    throw createViolation(REASON.protocolError, 'Retain Handling of a subscription is 3 (MQTT 5.0 §3.8.3.1)')
  const noLocal = (options & 4) !== 0
  if (noLocal && filter.startsWith('$share/'))
    throw createViolation(REASON.protocolError, '[MQTT-3.8.3-4] No Local is set on a shared subscription')
  return {
    filter,
    qos: qos as Qos,
    noLocal,
    retainAsPublished: (options & 8) !== 0,
    retainHandling: retainHandling as 0 | 1 | 2,
  }
}

function decodeUnsubscribe(r: Reader, version: Version): Unsubscribe {
  const packetId = checkPacketId(r.u16(), '[MQTT-2.2.1-3]')
  const properties = version === 5 ? readProperties(r, 'unsubscribe').properties : NO_PROPERTIES
  if (r.left === 0) throw createViolation(REASON.protocolError, '[MQTT-3.10.3-2] UNSUBSCRIBE names no topic filter')
  const filters: string[] = [r.string()]
  while (r.left > 0) filters.push(r.string())
  return { type: 'unsubscribe', packetId, filters, properties }
}

function decodeReasons(r: Reader, type: 'suback' | 'unsuback', version: Version): Suback | Unsuback {
  const packetId = checkPacketId(r.u16(), '[MQTT-2.2.1-3]')
  const properties = version === 5 ? readProperties(r, type).properties : NO_PROPERTIES
  if (version === 4 && type === 'unsuback') return finishPacket(r, { type, packetId, reasons: [], properties })
  const reasons = [...r.buf.subarray(r.at, r.end)]
  if (reasons.length === 0)
    throw createViolation(REASON.protocolError, `[MQTT-3.9.3-1] ${type.toUpperCase()} holds no reason code`)
  return { type, packetId, reasons, properties }
}

function decodeDisconnect(r: Reader, version: Version): Disconnect {
  if (version === 4 || r.left === 0)
    return finishPacket(r, { type: 'disconnect', reason: 0, properties: NO_PROPERTIES })
  const reason = defined(r.u8(), 'disconnect')
  return finishPacket(r, { type: 'disconnect', reason, properties: propertiesIfAny(r, 'disconnect') })
}

function decodeAuth(r: Reader, version: Version): Auth {
  if (version === 4) throw createViolation(REASON.protocolError, 'packet type 15 is forbidden in MQTT 3.1.1 (§2.2.1)')
  if (r.left === 0) return { type: 'auth', reason: 0, properties: NO_PROPERTIES }
  const reason = r.u8()
  return finishPacket(r, { type: 'auth', reason, properties: propertiesIfAny(r, 'auth') })
}
