/** The entry of a protobuf map on the wire: a message with key = 1 and value = 2. */
import { readNextField, type Cursor } from './fields.ts'

/** Where the key stands. Nothing is there for an absent one, which is the type's zero. */
export type KeySpan = { keyFrom: number; keyTo: number }

/** Used again and again: a push has tens of thousands of entries. */
const cursor: Cursor = { at: 0, from: 0, to: 0 }

/** Of the entry `from`..`to`; whichever type the key has. @returns false for bytes that are no protobuf */
export function findKey(bytes: Uint8Array, from: number, to: number, key: KeySpan): boolean {
  key.keyFrom = key.keyTo = from
  cursor.at = from
  while (cursor.at < to) {
    const start = cursor.at
    const no = readNextField(bytes, cursor, to)
    if (no === 0) return false
    if (no !== 1) continue
    key.keyFrom = cursor.to < 0 ? start : cursor.from
    key.keyTo = cursor.at
  }
  return true
}
