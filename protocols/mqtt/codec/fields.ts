/** Fields that several packets share. */
import { REASON, createViolation } from './reason.ts'
import { type Reader, decodeUtf8 } from './bytes.ts'

/** @throws MESH_MQTT_PROTOCOL when bytes are left over */
export function finishPacket<T>(r: Reader, packet: T): T {
  if (r.at !== r.end)
    throw createViolation(
      REASON.malformedPacket,
      `${r.left} bytes follow the last field of the packet (MQTT 5.0 §2.1.4)`,
    )
  return packet
}

/**
 * Publishers use few topics again and again: the same bytes give the same string object, which costs neither decoding
 * nor hashing. Direct-mapped and fixed in size. The bytes stand in one block that is written in place: topics that never
 * come twice would leave an array for each, old enough to stay until a full collection.
 */
const TOPIC_SLOTS = 4096
const MAX_CACHED_TOPIC_BYTES = 128
const slotBytes = new Uint8Array(TOPIC_SLOTS * MAX_CACHED_TOPIC_BYTES)
const slotLengths = new Uint8Array(TOPIC_SLOTS)
const slotTopics: (string | undefined)[] = Array.from({ length: TOPIC_SLOTS }, () => undefined)

export function readTopicName(r: Reader): string {
  const length = r.u16()
  const from = r.at
  const to = from + length
  if (to > r.end)
    throw createViolation(REASON.malformedPacket, 'the topic name goes beyond the packet (MQTT 5.0 §3.3.2.1)')
  r.at = to
  const { buf } = r
  const at = slotOf(buf, from, to)
  const known = topicIn(at, buf, from, to)
  if (known !== undefined) return known
  for (let i = from; i < to; i++) {
    if (buf[i] === 0x23 || buf[i] === 0x2b)
      throw createViolation(REASON.topicNameInvalid, '[MQTT-3.3.2-2] the topic name holds a wildcard')
  }
  const topic = decodeUtf8(buf, from, to)
  keepTopic(at, topic, buf, from, to)
  return topic
}

/** Of bytes that were read and checked before. */
export function readKnownTopic(buf: Buffer, from: number, to: number): string {
  const at = slotOf(buf, from, to)
  const known = topicIn(at, buf, from, to)
  if (known !== undefined) return known
  const topic = buf.toString('utf8', from, to)
  keepTopic(at, topic, buf, from, to)
  return topic
}
function slotOf(buf: Uint8Array, from: number, to: number): number {
  let hash = to - from
  for (let i = from; i < to; i++) hash = (Math.imul(hash, 31) + buf[i]!) | 0
  return (hash ^ (hash >>> 15)) & (TOPIC_SLOTS - 1)
}
function topicIn(at: number, buf: Uint8Array, from: number, to: number): string | undefined {
  if (slotLengths[at] !== to - from) return undefined
  const place = at * MAX_CACHED_TOPIC_BYTES
  for (let i = from; i < to; i++) if (slotBytes[place + i - from] !== buf[i]) return undefined
  return slotTopics[at]
}
function keepTopic(at: number, topic: string, buf: Uint8Array, from: number, to: number): void {
  if (to - from > MAX_CACHED_TOPIC_BYTES) return
  const place = at * MAX_CACHED_TOPIC_BYTES
  for (let i = from; i < to; i++) slotBytes[place + i - from] = buf[i]!
  slotLengths[at] = to - from
  slotTopics[at] = topic
}

export function checkPacketId(packetId: number, statement: string): number {
  if (packetId === 0) throw createViolation(REASON.malformedPacket, `${statement} the Packet Identifier is 0`)
  return packetId
}
