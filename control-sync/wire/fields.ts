/** The wire format of protobuf, walked without decoding: what is not wanted is skipped by its length. */

export type Cursor = { at: number; from: number; to: number }

/**
 * Reads one field and moves behind it. `from`..`to` is its content when it is length-delimited, else `to` is -1.
 * @returns the field number; 0 when the bytes are no protobuf (or hold a group, which proto3 does not write).
 */
export function readNextField(bytes: Uint8Array, cursor: Cursor, end: number): number {
  const { at } = cursor
  // Most tags and lengths are a byte each.
  const tag = at < end ? bytes[at]! : END
  const length = at + 1 < end ? bytes[at + 1]! : END
  if (tag < 0x80 && (tag & 7) === 2 && length < 0x80) {
    cursor.from = at + 2
    cursor.at = cursor.to = at + 2 + length
    return cursor.at <= end ? tag >>> 3 : 0
  }
  return anyField(bytes, cursor, end)
}
const END = 0xff

/** The content of the field that was read, which is length-delimited, as UTF-8. */
export function readText(bytes: Uint8Array, { from, to }: Cursor): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + from, to - from).toString('utf8')
}

function anyField(bytes: Uint8Array, cursor: Cursor, end: number): number {
  const tag = varint(bytes, cursor, end)
  if (tag > MAX_TAG) return 0
  const no = tag >>> 3
  cursor.to = -1
  switch (tag & 7) {
    case 0:
      return varint(bytes, cursor, end) < 0 ? 0 : no
    case 1:
      cursor.at += 8
      break
    case 5:
      cursor.at += 4
      break
    case 2: {
      const length = varint(bytes, cursor, end)
      if (length < 0) return 0
      cursor.from = cursor.at
      cursor.at = cursor.to = cursor.at + length
      break
    }
    default:
      return 0
  }
  return cursor.at <= end ? no : 0
}

/** Field numbers go to 2^29 - 1. */
const MAX_TAG = 0xffff_ffff

/** @returns -1 when it does not end in time. Values above 2^53 lose precision; nothing here depends on those. */
function varint(bytes: Uint8Array, cursor: { at: number }, end: number): number {
  const first = cursor.at < end ? bytes[cursor.at++]! : 0xff
  return first < 0x80 ? first : longVarint(bytes, cursor, end, first)
}

/** The first byte, which says that more follow, has been read. */
function longVarint(bytes: Uint8Array, cursor: { at: number }, end: number, first: number): number {
  let value = first & 0x7f
  for (let shift = 128, i = 1; i < 10; i++, shift *= 128) {
    if (cursor.at >= end) return -1
    const byte = bytes[cursor.at++]!
    value += (byte & 0x7f) * shift
    if (byte < 0x80) return value
  }
  return -1
}
