/**
 * Configurations of a type that is not in our protos, as xds.type.v3.TypedStruct: Envoy takes one for any extension,
 * and meshlet finds the same name in it as in the Any of a control plane. So a file means what a push with the same
 * resource means.
 */
import type { DescMessage, JsonObject, JsonValue } from '@bufbuild/protobuf'
import { stripTypePrefix, isObject, listTypeNames, type Known } from './text/locate.ts'
import { suggestName } from './text/spelling.ts'

const TYPED_STRUCT = 'type.googleapis.com/xds.type.v3.TypedStruct'

/**
 * The same, with TypedStructs for what `known` has no message for. A name that is one of Envoy's but for a letter or
 * two stays: it is a mistake.
 */
export function withStructs(schema: DescMessage, json: JsonValue, known: Known): JsonValue {
  if (!isObject(json)) return json
  if (schema.typeName === 'google.protobuf.Any') return any(json, known)
  if (schema.typeName.startsWith('google.protobuf.')) return json
  return Object.fromEntries(
    Object.entries(json).map(([key, value]): [string, JsonValue] => {
      const field = schema.fields.find((f) => f.name === key || f.jsonName === key)
      const message = field?.message
      if (!message) return [key, value]
      if (Array.isArray(value)) return [key, value.map((v) => withStructs(message, v, known))]
      if (field.fieldKind === 'map' && isObject(value))
        return [key, Object.fromEntries(Object.entries(value).map(([k, v]) => [k, withStructs(message, v, known)]))]
      return [key, withStructs(message, value, known)]
    }),
  )
}

function any(json: JsonObject, known: Known): JsonValue {
  const { '@type': url, ...rest } = json
  if (typeof url !== 'string') return json
  const type = stripTypePrefix(url)
  const schema = known.registry.getMessage(type)
  if (schema) return { '@type': url, ...(withStructs(schema, rest, known) as JsonObject) }
  if (suggestName(type, listTypeNames(known)) !== '') return json
  return { '@type': TYPED_STRUCT, type_url: url, value: rest }
}
