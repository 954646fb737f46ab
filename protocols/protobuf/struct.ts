/** google.protobuf.Struct as bytes, from and to JSON. */
import type { Json } from '../../model/http/metadata.ts'
import { findBytes, MessageWriter, readMessage, readText } from './message.ts'

/** Deeper ones are nobody's metadata. */
const MAX_DEPTH = 16

export function encodeStruct(value: { readonly [key: string]: Json }): MessageWriter {
  const made = new MessageWriter()
  for (const [key, one] of Object.entries(value))
    if (one !== undefined) made.message(1, new MessageWriter().text(1, key).message(2, encodeValue(one)))
  return made
}
function encodeValue(value: Exclude<Json, undefined>): MessageWriter {
  const made = new MessageWriter()
  if (value === null) return made.flag(1)
  if (typeof value === 'number') return made.double(2, value)
  if (typeof value === 'string') return made.bytes(3, Buffer.from(value))
  // A member of a oneof stands there also where it is false.
  if (typeof value === 'boolean') return value ? made.integer(4, 1) : made.flag(4)
  if (!Array.isArray(value)) return made.message(5, encodeStruct(value as { readonly [key: string]: Json }))
  const list = new MessageWriter()
  for (const one of value as readonly Json[]) if (one !== undefined) list.message(1, encodeValue(one))
  return made.message(6, list)
}

/** @returns undefined: it is none */
export function decodeStruct(bytes: Buffer, depth = 0): { [key: string]: Json } | undefined {
  const fields = readMessage(bytes)
  if (!fields || depth > MAX_DEPTH) return undefined
  const made: { [key: string]: Json } = Object.create(null) as { [key: string]: Json }
  for (const { no, bytes: entry } of fields) {
    if (no !== 1) continue
    const pair = readMessage(entry)
    const value = pair && findBytes(pair, 2)
    if (!pair || !value) return undefined
    made[readText(pair, 1)] = decodeValue(value, depth + 1)
  }
  return made
}
function decodeValue(bytes: Buffer, depth: number): Json {
  const field = readMessage(bytes)?.at(-1)
  if (!field) return null
  switch (field.no) {
    case 2:
      return field.number
    case 3:
      return field.bytes.toString('utf8')
    case 4:
      return field.number !== 0
    case 5:
      return decodeStruct(field.bytes, depth)
    case 6:
      if (depth > MAX_DEPTH) return undefined
      return readMessage(field.bytes)?.map((one) => decodeValue(one.bytes, depth + 1))
    default:
      return null
  }
}
