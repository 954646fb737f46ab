/**
 * What is to be known of one copy of a queued message, and of no other: the queue keeps messages, not why they came. It
 * stands in front of the copy's properties as an identifier that MQTT does not have.
 */
import { NO_IDS } from '../codec/packet.ts'
import type { StoredMessage } from '../durability.ts'

/** A retained message for a new subscriber carries RETAIN, a live one only with Retain As Published. */
const RETAINED = 0x00
/** The same, with the identifier of the subscription that it came for in four bytes behind it. */
const RETAINED_WITH_ID = 0x04
/** It is for its own publisher, whose No Local subscriptions do not count [MQTT-3.8.3-3]. */
const OWN = 0x05
const NONE = -1

export function copyRetained(message: StoredMessage, subscriptionId?: number): StoredMessage {
  if (subscriptionId === undefined) return mark({ ...message, retain: true }, Uint8Array.of(RETAINED))
  const marks = Buffer.of(RETAINED_WITH_ID, 0, 0, 0, 0)
  marks.writeUInt32BE(subscriptionId, 1)
  return mark({ ...message, retain: true }, marks)
}
export function copyOwn(message: StoredMessage): StoredMessage {
  return mark(message, Uint8Array.of(OWN))
}
function mark(message: StoredMessage, marks: Uint8Array): StoredMessage {
  return { ...message, properties: Buffer.concat([marks, message.properties]) }
}

export type Copy = {
  readonly kind: 'retained' | 'own'
  /** Without the mark. */
  readonly message: StoredMessage
  /** Undefined: those of the subscriptions that match. */
  readonly ids: readonly number[] | undefined
}
/** Undefined: it is as it came. */
export function readMark(message: StoredMessage): Copy | undefined {
  const { properties } = message
  switch (properties[0] ?? NONE) {
    case RETAINED:
      return { kind: 'retained', message: unmark(message, 1), ids: NO_IDS }
    case RETAINED_WITH_ID: {
      const id = Buffer.from(properties.buffer, properties.byteOffset + 1, 4).readUInt32BE(0)
      return { kind: 'retained', message: unmark(message, 5), ids: [id] }
    }
    case OWN:
      return { kind: 'own', message: unmark(message, 1), ids: undefined }
    default:
      return undefined
  }
}
function unmark(message: StoredMessage, bytes: number): StoredMessage {
  return { ...message, properties: message.properties.subarray(bytes) }
}
