/** envoy.type.matcher.v3.MetadataMatcher: what a filter has found out about a request, asked by routes and policies. */
import { matchesString, type StringMatch } from '../matcher.ts'

/** A value as JSON has it; undefined = there is none. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json } | undefined
/** By the name that a filter writes under, a struct each. */
export type Metadata = { readonly [filter: string]: Json }

export type ValueMatch =
  | { readonly kind: 'null' }
  | { readonly kind: 'string'; readonly match: StringMatch }
  | { readonly kind: 'bool'; readonly value: boolean }
  /** `end` is exclusive. */
  | { readonly kind: 'number'; readonly start: number; readonly end: number }
  | { readonly kind: 'exact-number'; readonly value: number }
  /** False never matches, as in Envoy: `invert` asks for what is absent. */
  | { readonly kind: 'present'; readonly value: boolean }
  /** Any element of a list. */
  | { readonly kind: 'list'; readonly of: ValueMatch }
  | { readonly kind: 'or'; readonly of: readonly ValueMatch[] }

/** `path`: keys of structs within structs. */
export type MetadataPath = { readonly filter: string; readonly path: readonly string[] }
/** With at least one key. */
export type MetadataMatch = MetadataPath & { readonly value: ValueMatch; readonly invert: boolean }

export function matchesMetadata(match: MetadataMatch, metadata: Metadata | undefined): boolean {
  return matchesValue(match.value, findMetadata(match, metadata)) !== match.invert
}

export function findMetadata({ filter, path }: MetadataPath, metadata: Metadata | undefined): Json {
  let found: Json = metadata?.[filter]
  for (const key of path) found = isStruct(found) && Object.hasOwn(found, key) ? found[key] : undefined
  return found
}

function matchesValue(match: ValueMatch, value: Json): boolean {
  switch (match.kind) {
    case 'null':
      return value === null
    case 'string':
      return typeof value === 'string' && matchesString(match.match, value)
    case 'bool':
      return value === match.value
    case 'number':
      return typeof value === 'number' && value >= match.start && value < match.end
    case 'exact-number':
      return value === match.value
    case 'present':
      return match.value && value !== undefined
    case 'list':
      return Array.isArray(value) && value.some((one: Json) => matchesValue(match.of, one))
    case 'or':
      return match.of.some((one) => matchesValue(one, value))
    default:
      return match satisfies never
  }
}

export function isStruct(value: Json): value is { readonly [key: string]: Json } {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
