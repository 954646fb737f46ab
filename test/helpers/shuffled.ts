/** Resources with the same content and other bytes: the entries of every map in another order, at any depth. */
import { fromBinary, toBinary, type DescMessage, type Message } from '@bufbuild/protobuf'
import type { Any } from '@bufbuild/protobuf/wkt'
import type { Random } from '../../core/os/clock.ts'
import { loadRegistry } from '../../proto/registry.ts'

type Order = (keys: readonly string[]) => readonly string[]

/** In random order, as istiod's release builds write them (vtprotobuf). @param url of the type */
export function shuffled(url: string, bytes: Uint8Array, random: Random): Uint8Array {
  return reordered(url, bytes, (keys) =>
    keys
      .map((key) => [random.float(), key] as const)
      .toSorted((a, b) => a[0] - b[0])
      .map(([, key]) => key),
  )
}

/** By their keys: equal content has equal bytes, in hex. @param url of the type */
export function canonicalHex(url: string, bytes: Uint8Array): string {
  return Buffer.from(reordered(url, bytes, (keys) => keys.toSorted())).toString('hex')
}

function reordered(url: string, bytes: Uint8Array, order: Order): Uint8Array {
  const schema = loadRegistry().getMessage(url.replace(/.*\//, ''))
  if (!schema) return bytes
  const message = fromBinary(schema, bytes)
  reorder(schema, message, order)
  return toBinary(schema, message)
}

function reorder(schema: DescMessage, message: Message, order: Order): void {
  if (schema.typeName === 'google.protobuf.Any') {
    const any = message as Any
    any.value = reordered(any.typeUrl, any.value, order)
    return
  }
  const fields = message as unknown as Record<string, unknown>
  for (const f of schema.fields) {
    const oneof = f.oneof && (fields[f.oneof.localName] as { case?: string; value?: unknown } | undefined)
    const value = oneof ? (oneof.case === f.localName ? oneof.value : undefined) : fields[f.localName]
    if (typeof value !== 'object' || value === null || value instanceof Uint8Array) continue
    if (f.fieldKind === 'map') {
      const entries = value as Record<string, unknown>
      const turned = Object.fromEntries(order(Object.keys(entries)).map((key) => [key, entries[key]]))
      for (const one of Object.values(turned)) if (f.message) reorderEither(f.message, one as object, order)
      fields[f.localName] = turned
    } else if (f.message)
      for (const one of f.fieldKind === 'list' ? (value as Message[]) : [value as Message])
        if (typeof one === 'object') reorderEither(f.message, one, order)
  }
}
function reorderEither(schema: DescMessage, value: object, order: Order): void {
  // Structs are plain objects in protobuf-es, so their order is that of their keys.
  if (schema.typeName === 'google.protobuf.Struct') reorderJson(value, order)
  else reorder(schema, value as Message, order)
}
function reorderJson(json: object, order: Order): void {
  const fields = json as Record<string, unknown>
  for (const key of order(Object.keys(fields))) {
    const value = fields[key]
    delete fields[key]
    if (typeof value === 'object' && value !== null) reorderJson(value, order)
    fields[key] = value
  }
}
