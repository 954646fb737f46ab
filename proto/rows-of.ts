/** A FileDescriptorSet as the rows of descriptor-rows.ts. Throws where a .proto uses what they have no place for. */
import type {
  DescriptorProto,
  EnumDescriptorProto,
  FieldDescriptorProto,
  FileDescriptorProto,
  FileDescriptorSet,
} from '@bufbuild/protobuf/wkt'
import { toJsonName, type EnumRow, type FieldRow, type FileRow, type MessageRow } from './descriptor-rows.ts'

export const toRows = (set: FileDescriptorSet): FileRow[] => set.file.map(file)

function file(f: FileDescriptorProto): FileRow {
  if (f.syntax !== 'proto3' || f.extension.length > 0) throw new Error(`${f.name}: only proto3 without extensions`)
  return [
    f.name,
    f.package,
    f.dependency,
    f.messageType.map(message),
    f.enumType.map(enumeration),
    f.service.map((s) => [
      s.name,
      s.method.map((m) => [m.name, m.inputType, m.outputType, bit(m.clientStreaming), bit(m.serverStreaming)]),
    ]),
  ]
}

function message(m: DescriptorProto): MessageRow {
  refuse(m.name, m.options, 'mapEntry')
  if (m.extension.length > 0 || m.extensionRange.length > 0) throw new Error(`${m.name}: no extensions`)
  return [
    m.name,
    m.field.map(field),
    m.nestedType.map(message),
    m.enumType.map(enumeration),
    m.oneofDecl.map((o) => o.name),
    bit(m.options?.mapEntry === true),
  ]
}

function field(f: FieldDescriptorProto): FieldRow {
  refuse(f.name, f.options)
  if (f.defaultValue !== '' || f.proto3Optional || f.extendee !== '' || f.jsonName !== toJsonName(f.name))
    throw new Error(`${f.name}: no default, no \`optional\`, no name of its own in JSON`)
  return [f.name, f.number, f.label, f.type, f.typeName, Object.hasOwn(f, 'oneofIndex') ? f.oneofIndex : -1]
}

function enumeration(e: EnumDescriptorProto): EnumRow {
  // A registry takes two names of one number as they are.
  refuse(e.name, e.options, 'allowAlias')
  for (const { name, options } of e.value) refuse(name, options)
  return [e.name, e.value.map((v) => [v.name, v.number])]
}

const bit = (value: boolean): 0 | 1 => (value ? 1 : 0)

function refuse(name: string, options: object | undefined, known?: string): void {
  const set = Object.entries(options ?? {}).filter(
    ([key, value]) => key !== known && !key.startsWith('$') && !(Array.isArray(value) && value.length === 0),
  )
  if (set.length > 0) throw new Error(`${name}: the option ${set[0]![0]} has no place in the rows`)
}
