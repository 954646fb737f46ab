/** Envoy's messages as what they have beyond ours, which are in every program already. */
import type { EnumRow, FieldRow, FileRow, MessageRow } from '../descriptor-rows.ts'

/** What `full` has beyond `ours`, file by file. */
export function computeDelta(full: readonly FileRow[], ours: readonly FileRow[]): FileRow[] {
  const known = new Map(ours.map((f) => [f[0], f]))
  return full.map((file) => {
    const [name, package_, dependencies, messages, enums] = file
    const own = known.get(name)
    return own ? [name, package_, dependencies, messagesBeyond(messages, own[3]), enumsBeyond(enums, own[4]), []] : file
  })
}

function messagesBeyond(full: readonly MessageRow[], ours: readonly MessageRow[]): MessageRow[] {
  return full.map((message) => {
    const own = ours.find((m) => m[0] === message[0])
    if (!own) return message
    const numbers = new Set(own[1].map((f) => f[1]))
    const [name, fields, messages, enums, oneofs, isMapEntry] = message
    return [
      name,
      fields.filter((f) => !numbers.has(f[1])),
      messagesBeyond(messages, own[2]),
      enumsBeyond(enums, own[3]),
      oneofs,
      isMapEntry,
    ]
  })
}

function enumsBeyond(full: readonly EnumRow[], ours: readonly EnumRow[]): EnumRow[] {
  return full.filter((e) => ours.find((o) => o[0] === e[0])?.[1].length !== e[1].length)
}

/** The reverse of `deltaOf`. */
export function mergeWith(delta: readonly FileRow[], ours: readonly FileRow[]): FileRow[] {
  const known = new Map(ours.map((f) => [f[0], f]))
  return delta.map((file) => {
    const [name, package_, dependencies, messages, enums] = file
    const own = known.get(name)
    return own ? [name, package_, dependencies, mergedMessages(messages, own[3]), mergedEnums(enums, own[4]), []] : file
  })
}

function mergedMessages(delta: readonly MessageRow[], ours: readonly MessageRow[]): MessageRow[] {
  return delta.map((message) => {
    const own = ours.find((m) => m[0] === message[0])
    if (!own) return message
    const [name, fields, messages, enums, oneofs, isMapEntry] = message
    const [, ownFields, ownMessages, ownEnums, ownOneofs] = own
    const placed = ownFields.map(([field, number, label, type, typeName, oneof]): FieldRow => [
      field,
      number,
      label,
      type,
      typeName,
      oneof < 0 ? -1 : oneofs.indexOf(ownOneofs[oneof]!),
    ])
    const numbers = new Set(placed.map((f) => f[1]))
    return [
      name,
      [...placed, ...fields.filter((f) => !numbers.has(f[1]))],
      mergedMessages(messages, ownMessages),
      mergedEnums(enums, ownEnums),
      oneofs,
      isMapEntry,
    ]
  })
}

function mergedEnums(delta: readonly EnumRow[], ours: readonly EnumRow[]): EnumRow[] {
  return [...delta, ...ours.filter((o) => !delta.some((e) => e[0] === o[0]))]
}
