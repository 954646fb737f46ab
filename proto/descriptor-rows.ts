/**
 * Rows of plain data → a FileDescriptorSet, as far as a registry reads it (google/protobuf/descriptor.proto); `npm run
 * proto` writes them.
 */
import type {
  DescriptorProto,
  EnumDescriptorProto,
  FieldDescriptorProto,
  FileDescriptorProto,
  FileDescriptorSet,
  MethodDescriptorProto,
} from '@bufbuild/protobuf/wkt'

export type EnumRow = readonly [name: string, values: readonly (readonly [name: string, number: number])[]]
/** `oneof`: its index, -1 none. */
export type FieldRow = readonly [
  name: string,
  number: number,
  label: number,
  type: number,
  typeName: string,
  oneof: number,
]
export type MessageRow = readonly [
  name: string,
  fields: readonly FieldRow[],
  messages: readonly MessageRow[],
  enums: readonly EnumRow[],
  oneofs: readonly string[],
  isMapEntry: 0 | 1,
]
export type MethodRow = readonly [
  name: string,
  input: string,
  output: string,
  clientStreams: 0 | 1,
  serverStreams: 0 | 1,
]
export type ServiceRow = readonly [name: string, methods: readonly MethodRow[]]
export type FileRow = readonly [
  name: string,
  package_: string,
  dependencies: readonly string[],
  messages: readonly MessageRow[],
  enums: readonly EnumRow[],
  services: readonly ServiceRow[],
]

/** Whatever the rows do not hold is unset in every file: `npm run proto` refuses options and defaults. */
export function toFileDescriptorSet(rows: readonly FileRow[]): FileDescriptorSet {
  return { $typeName: 'google.protobuf.FileDescriptorSet', file: rows.map(file) }
}

// A registry asks whether proto2's default and a field's presence were written: unset is what is not an own property.
const UNSET_FIELD = { defaultValue: '', proto3Optional: false, oneofIndex: 0 }

function file([name, package_, dependency, messages, enums, services]: FileRow): FileDescriptorProto {
  const rest = { publicDependency: [], weakDependency: [], optionDependency: [], extension: [], edition: 0 }
  return {
    $typeName: 'google.protobuf.FileDescriptorProto',
    ...rest,
    name,
    package: package_,
    dependency: [...dependency],
    syntax: 'proto3',
    messageType: messages.map(message),
    enumType: enums.map(enumeration),
    service: services.map(([service, methods]) => ({
      $typeName: 'google.protobuf.ServiceDescriptorProto',
      name: service,
      method: methods.map(method),
    })),
  }
}

function message([name, fields, messages, enums, oneofs, isMapEntry]: MessageRow): DescriptorProto {
  const rest = { extension: [], extensionRange: [], reservedRange: [], reservedName: [], visibility: 0 }
  const proto: DescriptorProto = {
    $typeName: 'google.protobuf.DescriptorProto',
    ...rest,
    name,
    field: fields.map(field),
    nestedType: messages.map(message),
    enumType: enums.map(enumeration),
    oneofDecl: oneofs.map((oneof) => ({ $typeName: 'google.protobuf.OneofDescriptorProto', name: oneof })),
  }
  if (isMapEntry === 1)
    proto.options = { $typeName: 'google.protobuf.MessageOptions', mapEntry: true } as NonNullable<
      DescriptorProto['options']
    >
  return proto
}

function field([name, number, label, type, typeName, oneof]: FieldRow): FieldDescriptorProto {
  const set = {
    $typeName: 'google.protobuf.FieldDescriptorProto',
    name,
    number,
    label,
    type,
    typeName,
    jsonName: toJsonName(name),
    ...(oneof < 0 ? {} : { oneofIndex: oneof }),
  }
  return Object.assign(Object.create(UNSET_FIELD) as FieldDescriptorProto, set)
}

/** As protoc: `connect_timeout` → `connectTimeout`. */
export const toJsonName = (name: string): string =>
  name.includes('_')
    ? name
        .split('_')
        .map((word, i) => (i === 0 ? word : word.slice(0, 1).toUpperCase() + word.slice(1)))
        .join('')
    : name

function enumeration([name, values]: EnumRow): EnumDescriptorProto {
  return {
    $typeName: 'google.protobuf.EnumDescriptorProto',
    name,
    reservedRange: [],
    reservedName: [],
    visibility: 0,
    value: values.map(([value, number]) => ({
      $typeName: 'google.protobuf.EnumValueDescriptorProto',
      name: value,
      number,
    })),
  }
}

function method([name, inputType, outputType, clientStreams, serverStreams]: MethodRow): MethodDescriptorProto {
  return {
    $typeName: 'google.protobuf.MethodDescriptorProto',
    name,
    inputType,
    outputType,
    clientStreaming: clientStreams === 1,
    serverStreaming: serverStreams === 1,
  }
}
