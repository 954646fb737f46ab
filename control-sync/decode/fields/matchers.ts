/** envoy.type.matcher.v3 and the matchers of routes: strings, regular expressions, headers, query parameters. */
import { compileRegex, type SafeRegex } from '../../../core/regex.ts'
import type { HeaderMatch, QueryMatch, StringMatch } from '../../../model/matcher.ts'
import type {
  HeaderMatcher,
  QueryParameterMatcher,
} from '../../../proto/gen/envoy/config/route/v3/route_components_pb.ts'
import type { RegexMatcher } from '../../../proto/gen/envoy/type/matcher/v3/regex_pb.ts'
import type { StringMatcher } from '../../../proto/gen/envoy/type/matcher/v3/string_pb.ts'
import type { DecodePath } from './decode-path.ts'

export function decodeRegex(at: DecodePath, matcher: RegexMatcher | undefined): SafeRegex | undefined {
  const made = compileRegex(matcher?.regex ?? '')
  if ('problem' in made) {
    at.in('regex').issue(made.problem)
    return undefined
  }
  if (matcher?.regex) return made
  at.in('regex').issue('must not be empty')
  return undefined
}

/** @returns undefined when it cannot be used, which is then an issue. */
export function decodeStringMatch(at: DecodePath, matcher: StringMatcher | undefined): StringMatch | undefined {
  const pattern = matcher?.matchPattern
  if (!matcher || pattern?.case === undefined) {
    at.issue('has no pattern that meshlet knows')
    return undefined
  }
  switch (pattern.case) {
    case 'safeRegex':
      return regexMatch(at.in('safe_regex'), pattern.value)
    case 'exact':
      return { kind: 'exact', value: pattern.value, ignoreCase: matcher.ignoreCase }
    case 'prefix':
    case 'suffix':
    case 'contains':
      return partMatch(at, { kind: pattern.case, value: pattern.value, ignoreCase: matcher.ignoreCase })
    default:
      return pattern satisfies never
  }
}

/** Envoy refuses empty parts: they would match everything. */
function partMatch(at: DecodePath, match: PartMatch): PartMatch | undefined {
  if (match.value !== '') return match
  at.in(match.kind).issue('must not be empty')
  return undefined
}
type PartMatch = {
  readonly kind: 'prefix' | 'suffix' | 'contains'
  readonly value: string
  readonly ignoreCase: boolean
}

function regexMatch(at: DecodePath, matcher: RegexMatcher): StringMatch | undefined {
  const made = decodeRegex(at, matcher)
  return made && { kind: 'regex', regex: made }
}

export function decodeHeaderMatch(at: DecodePath, matcher: HeaderMatcher): HeaderMatch | undefined {
  if (matcher.name === '') {
    at.in('name').issue('is missing')
    return undefined
  }
  const test = headerTest(at, matcher)
  return (
    test && {
      name: matcher.name.toLowerCase(),
      test,
      invert: matcher.invertMatch,
      missingAsEmpty: matcher.treatMissingHeaderAsEmpty,
    }
  )
}

export function decodeHeaderMatches(at: DecodePath, matchers: readonly HeaderMatcher[]): HeaderMatch[] {
  return matchers.flatMap((m, i) => decodeHeaderMatch(at.item(i), m) ?? [])
}

function headerTest(
  at: DecodePath,
  { headerMatchSpecifier: by, $unknown: unknown }: HeaderMatcher,
): HeaderMatch['test'] | undefined {
  const string = (match: StringMatch | undefined): HeaderMatch['test'] | undefined => match && { kind: 'string', match }
  switch (by.case) {
    case 'stringMatch':
      return string(decodeStringMatch(at.in('string_match'), by.value))
    case 'presentMatch':
      return { kind: by.value ? 'present' : 'absent' }
    case 'rangeMatch':
      return { kind: 'range', start: by.value.start, end: by.value.end }
    case 'exactMatch':
      return string({ kind: 'exact', value: by.value, ignoreCase: false })
    case 'prefixMatch':
      return string(partMatch(at, { kind: 'prefix', value: by.value, ignoreCase: false }))
    case 'suffixMatch':
      return string(partMatch(at, { kind: 'suffix', value: by.value, ignoreCase: false }))
    case 'containsMatch':
      return string(partMatch(at, { kind: 'contains', value: by.value, ignoreCase: false }))
    case 'safeRegexMatch':
      return string(regexMatch(at.in('safe_regex_match'), by.value))
    case undefined:
      if (unknown?.length) {
        at.issue('has a test that meshlet does not know')
        return undefined
      }
      return { kind: 'present' }
    default:
      return by satisfies never
  }
}

export function queryMatch(at: DecodePath, matcher: QueryParameterMatcher): QueryMatch | undefined {
  const by = matcher.queryParameterMatchSpecifier
  if (matcher.$unknown?.length) {
    at.issue('has a test that meshlet does not know')
    return undefined
  }
  if (by.case === 'stringMatch') {
    const match = decodeStringMatch(at.in('string_match'), by.value)
    return match && { name: matcher.name, test: { kind: 'string', match } }
  }
  return { name: matcher.name, test: { kind: by.case === 'presentMatch' && !by.value ? 'absent' : 'present' } }
}
