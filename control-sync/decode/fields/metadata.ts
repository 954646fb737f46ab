/** envoy.type.matcher.v3.MetadataMatcher → MetadataMatch. */
import type { MetadataMatch, ValueMatch } from '../../../model/http/metadata.ts'
import type { MetadataMatcher } from '../../../proto/gen/envoy/type/matcher/v3/metadata_pb.ts'
import type { ValueMatcher } from '../../../proto/gen/envoy/type/matcher/v3/value_pb.ts'
import { hasUnknown, type DecodePath } from './decode-path.ts'
import { decodeStringMatch } from './matchers.ts'

/** Lists of lists are as deep as anybody's claims. */
const MAX_DEPTH = 8

/** @returns undefined for what meshlet cannot evaluate; a malformed part is an issue besides */
export function decodeMetadataMatch(at: DecodePath, from: MetadataMatcher): MetadataMatch | undefined {
  if (hasUnknown(from) || from.path.length === 0) return undefined
  const path = from.path.map((one) => (one.segment.case === 'key' && !hasUnknown(one) ? one.segment.value : undefined))
  const value = decodeValueMatch(at.in('value'), from.value, 0)
  if (!value || !path.every((key) => key !== undefined)) return undefined
  return { filter: from.filter, path, value, invert: from.invert }
}

function decodeValueMatch(at: DecodePath, from: ValueMatcher | undefined, depth: number): ValueMatch | undefined {
  if (!from || hasUnknown(from) || depth > MAX_DEPTH) return undefined
  const { matchPattern: by } = from
  switch (by.case) {
    case 'nullMatch':
      return { kind: 'null' }
    case 'boolMatch':
      return { kind: 'bool', value: by.value }
    case 'presentMatch':
      return { kind: 'present', value: by.value }
    case 'stringMatch': {
      const match = decodeStringMatch(at.in('string_match'), by.value)
      return match && { kind: 'string', match }
    }
    case 'doubleMatch': {
      const { matchPattern: number } = by.value
      if (number.case === 'exact') return { kind: 'exact-number', value: number.value }
      return number.case === 'range' ? { kind: 'number', start: number.value.start, end: number.value.end } : undefined
    }
    case 'listMatch': {
      if (hasUnknown(by.value) || by.value.matchPattern.case !== 'oneOf') return undefined
      const of = decodeValueMatch(at.in('list_match').in('one_of'), by.value.matchPattern.value, depth + 1)
      return of && { kind: 'list', of }
    }
    case 'orMatch': {
      const of = by.value.valueMatchers.map((one, i) => decodeValueMatch(at.in('or_match').item(i), one, depth + 1))
      return of.every((one) => one !== undefined) && !hasUnknown(by.value) ? { kind: 'or', of } : undefined
    }
    case undefined:
      return undefined
    default:
      return by satisfies never
  }
}
