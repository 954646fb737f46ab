/** Where a message stands in a resource that decodes. */
import type { JsonObject, JsonValue } from '@bufbuild/protobuf'
import type { ResourceKind } from '../../model/snapshot.ts'

export type Place = {
  readonly type: string
  /** The message as it is without the field. */
  readonly base: JsonObject
  readonly embed: (message: JsonObject) => { readonly kind: ResourceKind; readonly json: JsonObject }
}

const V3 = 'type.googleapis.com/'
export const any = (type: string, message: JsonObject): JsonObject => ({ '@type': V3 + type, ...message })
export const top = (kind: ResourceKind, type: string, base: JsonObject): Place => ({
  type,
  base,
  embed: (json) => ({ kind, json }),
})
/** A message that is a part of another. */
export function part(of: Place, type: string, base: JsonObject, put: (message: JsonObject) => JsonObject): Place {
  return { type, base, embed: (message) => of.embed({ ...of.base, ...put(message) }) }
}
export const list = (value: JsonValue): JsonValue => [value]
