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
/** It came by a shared subscription, whose filter stands behind it: two bytes for its length, and its bytes. */
const SHARED = 0x06
const NONE = -1

/** By what a copy came, where the session has several subscriptions that match; a filter of a shared one. */
export type By = 'own' | 'alone' | `$share/${string}`

export function copyRetained(message: StoredMessage, subscriptionId?: number): StoredMessage {
  if (subscriptionId === undefined) return mark({ ...message, retain: true }, Uint8Array.of(RETAINED))
  const marks = Buffer.of(RETAINED_WITH_ID, 0, 0, 0, 0)
  marks.writeUInt32BE(subscriptionId, 1)
  return mark({ ...message, retain: true }, marks)
}
export function markCopy(message: StoredMessage, by: By): StoredMessage {
  if (by === 'alone') return message
  if (by === 'own') return mark(message, Uint8Array.of(OWN))
  const filter = Buffer.from(by)
  return mark(message, Buffer.concat([Buffer.of(SHARED, filter.length >> 8, filter.length & 0xff), filter]))
}
function mark(message: StoredMessage, marks: Uint8Array): StoredMessage {
  return { ...message, properties: Buffer.concat([marks, message.properties]) }
}

export type Copy = {
  readonly isRetained: boolean
  readonly by: By
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
      return { isRetained: true, by: 'alone', message: unmark(message, 1), ids: NO_IDS }
    case RETAINED_WITH_ID: {
      const id = Buffer.from(properties.buffer, properties.byteOffset + 1, 4).readUInt32BE(0)
      return { isRetained: true, by: 'alone', message: unmark(message, 5), ids: [id] }
    }
    case OWN:
      return { isRetained: false, by: 'own', message: unmark(message, 1), ids: undefined }
    case SHARED: {
      const end = 3 + properties[1]! * 256 + properties[2]!
      const by = Buffer.from(properties.subarray(3, end)).toString() as By
      return { isRetained: false, by, message: unmark(message, end), ids: undefined }
    }
    default:
      return undefined
  }
}
function unmark(message: StoredMessage, bytes: number): StoredMessage {
  return { ...message, properties: message.properties.subarray(bytes) }
}
