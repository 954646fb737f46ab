/** Compiled JSON → the bytes that go to a node. */
import { fromJson, toBinary, type DescMessage } from '@bufbuild/protobuf'
import { TYPE_URLS } from '../../../model/snapshot.ts'
import type { Json } from '../json.ts'
import { loadMessages } from './messages.ts'

export type CompiledKind = 'cluster' | 'endpoint' | 'listener' | 'route'
export type CompiledResource = { readonly kind: CompiledKind; readonly name: string; readonly value: Uint8Array }

export function findSchema(kind: CompiledKind): DescMessage {
  return loadMessages().getMessage(TYPE_URLS[kind].replace(/^.*\//, ''))!
}

/** Throws for what is no message of that kind: the compiler's own mistake, as values of users are checked before. */
export function encode(kind: CompiledKind, json: Json): CompiledResource {
  const schema = findSchema(kind)
  const value = toBinary(schema, fromJson(schema, json, { registry: loadMessages() }))
  return { kind, name: (json['name'] ?? json['cluster_name']) as string, value }
}
