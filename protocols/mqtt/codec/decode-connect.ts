/** CONNECT (MQTT 5.0 §3.1, MQTT 3.1.1 §3.1). */
import { REASON, createViolation } from './reason.ts'
import type { Reader } from './bytes.ts'
import { finishPacket, readTopicName } from './fields.ts'
import { type Connect, NO_BYTES, type Qos, type UnsupportedConnect, type Version, type Will } from './packet.ts'
import { NO_PROPERTIES, readProperties } from './properties.ts'

const WILL = 0x04
const WILL_QOS = 0x18
const RETAIN = 0x20
const PASSWORD = 0x40
const USERNAME = 0x80

/**
 * The highest bit of the protocol level says that the client is a bridge, as mosquitto's are (`try_private`).
 * @throws MESH_MQTT_PROTOCOL; another protocol level is a packet of its own, because the answer must be in that level's
 * form
 */
export function decodeConnect(r: Reader): Connect | UnsupportedConnect {
  const name = r.string()
  const byte = r.u8()
  const [asked, isBridge] = [byte & 0x7f, byte > 0x7f]
  if (name !== 'MQTT' && name !== 'MQIsdp')
    throw createViolation(REASON.unsupportedVersion, '[MQTT-3.1.2-1] the protocol name is not MQTT')
  const is31 = name === 'MQIsdp' && asked === 3
  const level = is31 ? 4 : asked
  if ((name === 'MQIsdp' && !is31) || (level !== 4 && level !== 5)) return { type: 'unsupported-connect', level: asked }
  const flags = is31 ? clearDisregarded(r.u8()) : r.u8()
  checkFlags(flags, level)
  const keepAliveSec = r.u16()
  const properties = level === 5 ? readProperties(r, 'connect').properties : NO_PROPERTIES
  if (properties.authenticationData !== undefined && properties.authenticationMethod === undefined)
    throw createViolation(REASON.protocolError, 'Authentication Data without a method (MQTT 5.0 §3.1.2.11.10)')
  const clientId = r.string()
  const will = (flags & WILL) === 0 ? undefined : decodeWill(r, flags, level)
  // In MQTT 3.1 either may be missing although its flag is set (§3.1): the Remaining Length counts.
  const mayRead = (flag: number): boolean => (flags & flag) !== 0 && !(is31 && r.left === 0)
  const username = mayRead(USERNAME) ? r.string() : undefined
  const password = mayRead(PASSWORD) ? r.binary() : undefined
  return finishPacket(r, {
    type: 'connect',
    version: level,
    cleanStart: (flags & 2) !== 0,
    keepAliveSec,
    clientId,
    username,
    password,
    will,
    properties,
    ...(isBridge && { isBridge }),
    ...(is31 && { is31 }),
  })
}

/** MQTT 3.1 §3.1: bit 0 is unused, and flags of what is not there are disregarded. */
function clearDisregarded(flags: number): number {
  let kept = flags & ~1
  if ((flags & WILL) === 0) kept &= ~(WILL_QOS | RETAIN)
  if ((flags & USERNAME) === 0) kept &= ~PASSWORD
  return kept
}

function checkFlags(flags: number, level: Version): void {
  if ((flags & 1) !== 0)
    throw createViolation(REASON.malformedPacket, '[MQTT-3.1.2-3] the reserved bit of the Connect Flags is set')
  const qos = (flags >> 3) & 3
  if (qos === 3) throw createViolation(REASON.malformedPacket, '[MQTT-3.1.2-12] Will QoS is 3')
  if ((flags & WILL) === 0 && qos !== 0)
    throw createViolation(REASON.malformedPacket, '[MQTT-3.1.2-11] Will QoS without a will')
  if ((flags & WILL) === 0 && (flags & RETAIN) !== 0)
    throw createViolation(REASON.malformedPacket, '[MQTT-3.1.2-13] Will Retain without a will')
  if (level === 4 && (flags & PASSWORD) !== 0 && (flags & USERNAME) === 0)
    throw createViolation(REASON.malformedPacket, '[MQTT-3.1.2-22] (3.1.1) a password without a user name')
}

function decodeWill(r: Reader, flags: number, level: Version): Will {
  const { properties, forwarded } =
    level === 5 ? readProperties(r, 'will') : { properties: NO_PROPERTIES, forwarded: NO_BYTES }
  const topic = readTopicName(r)
  if (topic === '') throw createViolation(REASON.topicNameInvalid, '[MQTT-4.7.3-1] the will topic is empty')
  const payload = r.binary()
  return {
    topic,
    payload,
    qos: ((flags >> 3) & 3) as Qos,
    retain: (flags & RETAIN) !== 0,
    properties: forwarded,
    delaySec: properties.willDelaySec ?? 0,
    messageExpirySec: properties.messageExpirySec,
  }
}
