/** google.protobuf.Any and the two TypedStructs that stand in for a typed configuration. */
import { fromBinary, type DescMessage, type JsonObject, type MessageShape } from '@bufbuild/protobuf'
import type { Any } from '@bufbuild/protobuf/wkt'
import { TypedStructSchema as UdpaTypedStruct } from '../../../proto/gen/udpa/type/v1/typed_struct_pb.ts'
import { TypedStructSchema as XdsTypedStruct } from '../../../proto/gen/xds/type/v3/typed_struct_pb.ts'
import { noteIgnored, type DecodePath } from './decode-path.ts'

/** The type's full name: what follows the last slash of the type URL. */
export function readTypeName(any: Any | undefined): string {
  return any ? any.typeUrl.slice(any.typeUrl.lastIndexOf('/') + 1) : ''
}

/** @returns undefined when `any` is of another type; issues when its bytes are broken. */
export function unpack<T extends DescMessage>(
  at: DecodePath,
  any: Any | undefined,
  schema: T,
): MessageShape<T> | undefined {
  if (!any || readTypeName(any) !== schema.typeName) return undefined
  try {
    return fromBinary(schema, any.value)
  } catch (err) {
    at.issue(`the bytes are no ${schema.typeName}: ${err instanceof Error ? err.message : String(err)}`)
    return undefined
  }
}

/** Of a type that has no settings for us: whatever stands in it is told. */
export function noteOnly(at: DecodePath, any: Any | undefined, schema: DescMessage): void {
  const message = any && any.value.length > 0 ? unpack(at, any, schema) : undefined
  if (message) noteIgnored(at, schema, message)
}

/**
 * @returns the type and value that a TypedStruct (xds.type.v3 or udpa.type.v1) stands for; undefined for any other
 * type.
 */
export function unpackStruct(
  at: DecodePath,
  any: Any | undefined,
): { readonly type: string; readonly value: JsonObject } | undefined {
  const struct = unpack(at, any, XdsTypedStruct) ?? unpack(at, any, UdpaTypedStruct)
  return struct && { type: struct.typeUrl.slice(struct.typeUrl.lastIndexOf('/') + 1), value: struct.value ?? {} }
}

/** What the configuration really is: a TypedStruct's inner type, else the Any's own. */
export function readEffectiveType(at: DecodePath, any: Any | undefined): string {
  return unpackStruct(at, any)?.type ?? readTypeName(any)
}
