/** Resources as istiod's release builds write them: equal, with other bytes. */
import { fromBinary, toBinary, type DescMessage, type Message } from '@bufbuild/protobuf'
import type { Any } from '@bufbuild/protobuf/wkt'
import type { Random } from '../../core/os/clock.ts'
import { registry } from '../../proto/registry.ts'

/**
 * The same content with the entries of every map in another order, at any depth, as istiod's vtprotobuf does it.
 * @param url of its type
 */
export function shuffled(url: string, bytes: Uint8Array, random: Random): Uint8Array {
  const schema = registry().getMessage(url.replace(/.*\//, ''))
  if (!schema) return bytes
  const message = fromBinary(schema, bytes)
  shuffle(schema, message, random)
  return toBinary(schema, message)
}
function shuffle(schema: DescMessage, message: Message, random: Random): void {
  if (schema.typeName === 'google.protobuf.Any') {
    const any = message as Any
    any.value = shuffled(any.typeUrl, any.value, random)
    return
  }
  const fields = message as unknown as Record<string, unknown>
  for (const f of schema.fields) {
    const oneof = f.oneof && (fields[f.oneof.localName] as { case?: string; value?: unknown } | undefined)
    const value = oneof ? (oneof.case === f.localName ? oneof.value : undefined) : fields[f.localName]
    if (typeof value !== 'object' || value === null || value instanceof Uint8Array) continue
    if (f.fieldKind === 'map') {
      const turned = Object.fromEntries(
        Object.entries(value)
          .map((e) => [random.float(), e] as const)
          .toSorted((a, b) => a[0] - b[0])
          .map(([, e]) => e),
      )
      for (const one of Object.values(turned)) if (f.message) shuffleAny(f.message, one as object, random)
      fields[f.localName] = turned
    } else if (f.message && isStruct(f.message)) shuffleJson(value, random)
    else if (f.message)
      for (const one of f.fieldKind === 'list' ? (value as Message[]) : [value as Message])
        if (typeof one === 'object') shuffle(f.message, one, random)
  }
}
function shuffleAny(schema: DescMessage, value: object, random: Random): void {
  if (isStruct(schema)) shuffleJson(value, random)
  else shuffle(schema, value as Message, random)
}
const isStruct = (m: DescMessage): boolean => m.typeName === 'google.protobuf.Struct'
/** Structs are plain objects in protobuf-es, so their order is that of their keys. */
function shuffleJson(json: object, random: Random): void {
  const fields = json as Record<string, unknown>
  const keys = Object.keys(fields)
    .map((k) => [random.float(), k] as const)
    .toSorted((a, b) => a[0] - b[0])
  for (const [, k] of keys) {
    const v = fields[k]
    delete fields[k]
    if (typeof v === 'object' && v !== null) shuffleJson(v, random)
    fields[k] = v
  }
}
