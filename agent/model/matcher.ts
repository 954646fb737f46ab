import type { SafeRegex } from '../core/regex.ts'

/** envoy.type.matcher.v3.StringMatcher. */
export type StringMatch =
  | { readonly kind: 'exact' | 'prefix' | 'suffix' | 'contains'; readonly value: string; readonly ignoreCase: boolean }
  | { readonly kind: 'regex'; readonly regex: SafeRegex }

export function matchesString(match: StringMatch, text: string): boolean {
  if (match.kind === 'regex') return match.regex.matchesAll(text)
  const subject = match.ignoreCase ? text.toLowerCase() : text
  const value = match.ignoreCase ? match.value.toLowerCase() : match.value
  switch (match.kind) {
    case 'exact': return subject === value
    case 'prefix': return subject.startsWith(value)
    case 'suffix': return subject.endsWith(value)
    case 'contains': return subject.includes(value)
    default: return match satisfies never
  }
}

/** envoy.config.route.v3.HeaderMatcher. `name` is lower case; pseudo headers (:method, :path, :authority, :scheme) are allowed. */
export type HeaderMatch = {
  readonly name: string
  readonly test:
    | { readonly kind: 'present' }
    | { readonly kind: 'absent' }
    | { readonly kind: 'string'; readonly match: StringMatch }
    | { readonly kind: 'range'; readonly start: bigint; readonly end: bigint }
  readonly invert: boolean
  /** A missing header counts as the empty string instead of never matching. */
  readonly missingAsEmpty: boolean
}

/** @param value the header's values joined with ','; undefined when the header is missing. */
export function matchesHeader(match: HeaderMatch, value: string | undefined): boolean {
  const { test } = match
  if (test.kind === 'present') return (value !== undefined) !== match.invert
  if (test.kind === 'absent') return (value === undefined) !== match.invert
  // Envoy: a missing header never matches a value test, inverted or not, unless it is to count as empty.
  const subject = value ?? (match.missingAsEmpty ? '' : undefined)
  if (subject === undefined) return false
  return (test.kind === 'string' ? matchesString(test.match, subject) : inRange(test, subject)) !== match.invert
}

/** envoy.config.route.v3.QueryParameterMatcher. */
export type QueryMatch = { readonly name: string; readonly test: { readonly kind: 'present' } | { readonly kind: 'string'; readonly match: StringMatch } }

function inRange(range: { start: bigint; end: bigint }, text: string): boolean {
  if (!/^[+-]?\d{1,18}$/.test(text)) return false
  const value = BigInt(text)
  return value >= range.start && value < range.end
}
