/**
 * Data to bytes, all packet types. PUBLISH and acknowledgements on their way to a socket take outbox.ts instead, which
 * allocates nothing.
 */
import { countVarIntBytes, writeVarInt, Writer } from './bytes.ts'
import {
  NO_BYTES,
  TYPE,
  type Connect,
  type Packet,
  type Properties,
  type Publish,
  type SubscriptionRequest,
  type Version,
} from './packet.ts'
import { NO_PROPERTIES, writeProperties } from './properties.ts'

/**
 * `version` decides whether properties and reason codes are written; a CONNECT has its own. Fields that 3.1.1 does not
 * know are left out.
 */
export function encode(packet: Packet, version: Version): Buffer {
  const w = new Writer(packet.type === 'publish' ? packet.payload.length + packet.topic.length * 3 + 64 : 128)
  const first = body(w, packet, version)
  const out = Buffer.allocUnsafe(1 + countVarIntBytes(w.length) + w.length)
  out[0] = first
  out.set(w.getBytes(), writeVarInt(out, 1, w.length))
  return out
}

/** @returns the first byte of the fixed header */
function body(w: Writer, packet: Packet, version: Version): number {
  switch (packet.type) {
    case 'connect':
      return connect(w, packet)
    case 'unsupported-connect':
      w.string('MQTT')
      w.u8(packet.level)
      return TYPE.connect
    case 'connack':
      w.u8(packet.sessionPresent ? 1 : 0)
      w.u8(packet.reason)
      if (version === 5) writeProperties(w, packet.properties)
      return TYPE.connack
    case 'publish':
      return publish(w, packet, version)
    case 'puback':
    case 'pubrec':
    case 'pubrel':
    case 'pubcomp':
      w.u16(packet.packetId)
      if (version === 5) reasonAndProperties(w, packet.reason, packet.properties)
      return TYPE[packet.type] | (packet.type === 'pubrel' ? 2 : 0)
    case 'subscribe':
      w.u16(packet.packetId)
      if (version === 5) writeProperties(w, packet.properties)
      for (const one of packet.subscriptions) {
        w.string(one.filter)
        w.u8(options(one, version))
      }
      return TYPE.subscribe | 2
    case 'unsubscribe':
      w.u16(packet.packetId)
      if (version === 5) writeProperties(w, packet.properties)
      for (const filter of packet.filters) w.string(filter)
      return TYPE.unsubscribe | 2
    case 'suback':
    case 'unsuback':
      w.u16(packet.packetId)
      if (version === 5) writeProperties(w, packet.properties)
      if (version === 5 || packet.type === 'suback') w.raw(Uint8Array.from(packet.reasons))
      return TYPE[packet.type]
    case 'pingreq':
    case 'pingresp':
      return TYPE[packet.type]
    case 'disconnect':
    case 'auth':
      if (version === 5) reasonAndProperties(w, packet.reason, packet.properties)
      return TYPE[packet.type]
    default:
      return packet satisfies never
  }
}

/** Both may be left out from the end when they say nothing (§3.4.2.1, §3.14.2.1). */
function reasonAndProperties(w: Writer, reason: number, properties: Properties): void {
  if (reason === 0 && properties === NO_PROPERTIES) return
  w.u8(reason)
  if (properties !== NO_PROPERTIES) writeProperties(w, properties)
}

function options({ qos, noLocal, retainAsPublished, retainHandling }: SubscriptionRequest, version: Version): number {
  return version === 4 ? qos : qos | (noLocal ? 4 : 0) | (retainAsPublished ? 8 : 0) | (retainHandling << 4)
}

function connect(
  w: Writer,
  { version, isBridge, cleanStart, keepAliveSec, clientId, username, password, will, properties }: Connect,
): number {
  w.string('MQTT')
  w.u8(isBridge ? version | 0x80 : version)
  w.u8(
    (cleanStart ? 2 : 0) |
      (will ? 4 | (will.qos << 3) | (will.retain ? 0x20 : 0) : 0) |
      (password === undefined ? 0 : 0x40) |
      (username === undefined ? 0 : 0x80),
  )
  w.u16(keepAliveSec)
  if (version === 5) writeProperties(w, properties)
  w.string(clientId)
  if (will) {
    if (version === 5)
      writeProperties(
        w,
        { willDelaySec: will.delaySec === 0 ? undefined : will.delaySec, messageExpirySec: will.messageExpirySec },
        will.properties,
      )
    w.string(will.topic)
    w.binary(will.payload)
  }
  if (username !== undefined) w.string(username)
  if (password !== undefined) w.binary(password)
  return TYPE.connect
}

function publish(w: Writer, p: Publish, version: Version): number {
  w.string(p.topic)
  if (p.qos > 0) w.u16(p.packetId)
  if (version === 5) {
    writeProperties(
      w,
      {
        messageExpirySec: p.messageExpirySec,
        topicAlias: p.topicAlias === 0 ? undefined : p.topicAlias,
        subscriptionIds: p.subscriptionIds.length === 0 ? undefined : p.subscriptionIds,
      },
      p.properties,
    )
  }
  w.raw(p.payload)
  return TYPE.publish | (p.dup ? 8 : 0) | (p.qos << 1) | (p.retain ? 1 : 0)
}

/** A PUBLISH with nothing but what is given. */
export function publishPacket(p: Pick<Publish, 'topic' | 'payload'> & Partial<Publish>): Publish {
  return {
    type: 'publish',
    qos: 0,
    retain: false,
    dup: false,
    packetId: 0,
    properties: NO_BYTES,
    messageExpirySec: undefined,
    topicAlias: 0,
    subscriptionIds: [],
    ...p,
  }
}
