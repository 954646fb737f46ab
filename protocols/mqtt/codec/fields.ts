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
 * nor hashing. Direct-mapped and fixed in size; a slot holds at most MAX_CACHED_TOPIC_BYTES.
 */
const TOPIC_SLOTS = 4096
const MAX_CACHED_TOPIC_BYTES = 256
const slots: ({ readonly bytes: Uint8Array; readonly topic: string } | undefined)[] = Array.from(
  { length: TOPIC_SLOTS },
  () => undefined,
)

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
  if (length <= MAX_CACHED_TOPIC_BYTES) slots[at] = { bytes: new Uint8Array(buf.subarray(from, to)), topic }
  return topic
}

/** Of bytes that were read and checked before. */
export function readKnownTopic(buf: Buffer, from: number, to: number): string {
  const at = slotOf(buf, from, to)
  const known = topicIn(at, buf, from, to)
  if (known !== undefined) return known
  const topic = buf.toString('utf8', from, to)
  if (to - from <= MAX_CACHED_TOPIC_BYTES) slots[at] = { bytes: new Uint8Array(buf.subarray(from, to)), topic }
  return topic
}
function slotOf(buf: Uint8Array, from: number, to: number): number {
  let hash = to - from
  for (let i = from; i < to; i++) hash = (Math.imul(hash, 31) + buf[i]!) | 0
  return (hash ^ (hash >>> 15)) & (TOPIC_SLOTS - 1)
}
function topicIn(at: number, buf: Uint8Array, from: number, to: number): string | undefined {
  const slot = slots[at]
  return slot !== undefined && slot.bytes.length === to - from && same(slot.bytes, buf, from) ? slot.topic : undefined
}

function same(bytes: Uint8Array, buf: Uint8Array, from: number): boolean {
  for (let i = 0; i < bytes.length; i++) if (bytes[i] !== buf[from + i]) return false
  return true
}

export function checkPacketId(packetId: number, statement: string): number {
  if (packetId === 0) throw createViolation(REASON.malformedPacket, `${statement} the Packet Identifier is 0`)
  return packetId
}
