/** Descriptors of Envoy's API cut down to some messages and all that they hold. */
import type { DescriptorProto, EnumDescriptorProto, FileDescriptorProto } from '@bufbuild/protobuf/wkt'
import fs from 'node:fs'
import { toJsonName } from '../descriptor-rows.ts'

/** Full names of the messages in a .proto file that is written as ours are: one declaration a line. */
export function listTypes(file: string): string[] {
  const text = fs.readFileSync(file, 'utf8').replace(/\/\/.*$/gm, '')
  const names = [/^package ([\w.]+);/m.exec(text)?.[1] ?? '']
  const found: string[] = []
  for (const [, kind, name, rest] of text.matchAll(/\b(message|enum|oneof|service|rpc)\s+(\w+)[^{}]*\{|([{}])/g)) {
    if (rest === '}') names.pop()
    else names.push(name ?? '{')
    if (kind === 'message') found.push(names.join('.'))
  }
  return found
}

/**
 * Names of `roots` that exist, and of all messages and enums that these hold at any depth, with those that they are
 * nested in.
 */
export function findReachable(files: readonly FileDescriptorProto[], roots: ReadonlySet<string>): ReadonlySet<string> {
  const byName = new Map<string, DescriptorProto | EnumDescriptorProto>()
  const index = (within: string, message: DescriptorProto): void => {
    byName.set(`${within}.${message.name}`, message)
    for (const nested of message.nestedType) index(`${within}.${message.name}`, nested)
    for (const e of message.enumType) byName.set(`${within}.${message.name}.${e.name}`, e)
  }
  for (const f of files) {
    for (const m of f.messageType) index(f.package, m)
    for (const e of f.enumType) byName.set(`${f.package}.${e.name}`, e)
  }
  const kept = new Set<string>()
  const keep = (name: string): void => {
    const type = byName.get(name)
    if (!type || kept.has(name)) return
    kept.add(name)
    if ('field' in type) for (const field of type.field) if (field.typeName) keep(field.typeName.slice(1))
  }
  for (const name of roots) keep(name)
  // A nested one needs its place.
  for (const name of kept) for (let outer = parent(name); byName.has(outer); outer = parent(outer)) kept.add(outer)
  return kept
}
const parent = (name: string): string => name.slice(0, name.lastIndexOf('.'))

/** Undefined when nothing of it is kept. What it imports is what its kept fields name. */
export function prune(file: FileDescriptorProto, kept: ReadonlySet<string>): FileDescriptorProto | undefined {
  file.messageType = file.messageType.filter((m) => kept.has(`${file.package}.${m.name}`))
  file.enumType = file.enumType.filter((e) => kept.has(`${file.package}.${e.name}`))
  for (const m of file.messageType) bare(m, `${file.package}.${m.name}`, kept)
  file.enumType.forEach(bareEnum)
  file.service = []
  return file.messageType.length + file.enumType.length > 0 ? file : undefined
}

/** Without options: the rows have no place for them. */
function bare(message: DescriptorProto, name: string, kept: ReadonlySet<string>): void {
  const isMapEntry = message.options?.mapEntry === true
  delete message.options
  if (isMapEntry)
    message.options = { $typeName: 'google.protobuf.MessageOptions', mapEntry: true } as NonNullable<
      DescriptorProto['options']
    >
  message.extensionRange = []
  for (const field of message.field) {
    delete field.options
    field.jsonName ||= toJsonName(field.name)
  }
  message.nestedType = message.nestedType.filter((m) => kept.has(`${name}.${m.name}`))
  message.enumType = message.enumType.filter((e) => kept.has(`${name}.${e.name}`))
  for (const m of message.nestedType) bare(m, `${name}.${m.name}`, kept)
  message.enumType.forEach(bareEnum)
}

function bareEnum(enumeration: EnumDescriptorProto): void {
  delete enumeration.options
  for (const value of enumeration.value) delete value.options
}

/** What a file imports comes before it; imports that are not there are left out. */
export function sortByDependency(files: readonly FileDescriptorProto[]): FileDescriptorProto[] {
  const byName = new Map(files.map((f) => [f.name, f]))
  const done = new Set<FileDescriptorProto>()
  const add = (file: FileDescriptorProto): void => {
    file.dependency = file.dependency.filter((name) => byName.has(name))
    file.publicDependency = []
    for (const name of file.dependency) add(byName.get(name)!)
    done.add(file)
  }
  for (const file of files) if (!done.has(file)) add(file)
  return [...done]
}
