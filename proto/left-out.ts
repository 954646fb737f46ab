/**
 * Fields that Envoy's messages have and our trimmed ones have not: they arrive as numbers, and people know them by
 * name.
 */
import type { DescriptorProto, FileDescriptorSet } from '@bufbuild/protobuf/wkt'

/** Message → number → name, one line a message: `envoy.config.core.v3.Address 3 envoy_internal_address …`. */
export function listLeftOut(ours: FileDescriptorSet, full: FileDescriptorSet): string {
  const known = messagesOf(full)
  const lines = [...messagesOf(ours)].flatMap(([type, message]) => {
    const numbers = new Set(message.field.map((f) => f.number))
    const others = known.get(type)?.field.filter((f) => !numbers.has(f.number)) ?? []
    return others.length === 0 ? [] : [`${type} ${others.map((f) => `${f.number} ${f.name}`).join(' ')}`]
  })
  return lines.sort().join('\n')
}

function messagesOf(set: FileDescriptorSet): Map<string, DescriptorProto> {
  const found = new Map<string, DescriptorProto>()
  const add = (within: string, message: DescriptorProto): void => {
    const type = `${within}.${message.name}`
    found.set(type, message)
    for (const nested of message.nestedType) add(type, nested)
  }
  for (const file of set.file) for (const message of file.messageType) add(file.package, message)
  return found
}
