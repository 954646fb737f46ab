/** A message of which some fields cannot be read: the others say what it is, and whose place it takes. */
import { fromBinary, type DescMessage, type MessageShape } from '@bufbuild/protobuf'
import { readNextField } from '../../wire/fields.ts'

/**
 * Fields of the message itself are read one by one when it does not decode as a whole; `unreadable` names those that
 * are left out.
 * @throws for bytes that are no sequence of fields: they are no message of anybody's
 */
export function toReadable<S extends DescMessage>(
  schema: S,
  bytes: Uint8Array,
): { readonly message: MessageShape<S>; readonly unreadable: readonly string[] } {
  try {
    return { message: fromBinary(schema, bytes), unreadable: NONE }
  } catch (thrown) {
    const good: Uint8Array[] = []
    const unreadable = new Set<string>()
    const cursor = { at: 0, from: 0, to: 0 }
    while (cursor.at < bytes.length) {
      const start = cursor.at
      const no = readNextField(bytes, cursor, bytes.length)
      if (no === 0) throw thrown
      const field = bytes.subarray(start, cursor.at)
      // Fields one after the other are one message (protobuf encoding guide, "Last One Wins").
      if (decodes(schema, field)) good.push(field)
      else unreadable.add(schema.fields.find((f) => f.number === no)?.name ?? `<field ${no}>`)
    }
    return { message: fromBinary(schema, Buffer.concat(good)), unreadable: [...unreadable] }
  }
}

const NONE: readonly string[] = []

function decodes(schema: DescMessage, bytes: Uint8Array): boolean {
  try {
    fromBinary(schema, bytes)
    return true
  } catch {
    return false
  }
}
