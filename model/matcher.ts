import type { SafeRegex } from '../core/regex.ts'

/** envoy.type.matcher.v3.StringMatcher. */
export type StringMatch =
  | { readonly kind: 'exact' | 'prefix' | 'suffix' | 'contains'; readonly value: string; readonly ignoreCase: boolean }
  | { readonly kind: 'regex'; readonly regex: SafeRegex }

/** @param text as a person writes it: what came off the wire goes through `asText` first */
export function matchesString(match: StringMatch, text: string): boolean {
  if (match.kind === 'regex') return match.regex.matchesAll(text)
  const subject = match.ignoreCase ? toAsciiLowerCase(text) : text
  const value = match.ignoreCase ? toAsciiLowerCase(match.value) : match.value
  switch (match.kind) {
    case 'exact':
      return subject === value
    case 'prefix':
      return subject.startsWith(value)
    case 'suffix':
      return subject.endsWith(value)
    case 'contains':
      return subject.includes(value)
    default:
      return match satisfies never
  }
}

/**
 * envoy.config.route.v3.HeaderMatcher. `name` is lower case; pseudo headers (:method, :path, :authority, :scheme) are
 * allowed.
 */
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

/** One value, or several of as many lines; undefined when the header is missing. */
export type HeaderValues = string | readonly string[] | undefined

/**
 * A header of several lines matches when one of its values does, as in Envoy 1.40 (measured, RBAC and routes alike).
 * Joined with ',' they would be a text that nobody configured, and a second line would be a way around a rule.
 */
export function matchesHeader(match: HeaderMatch, values: HeaderValues): boolean {
  const { test } = match
  const isThere = values !== undefined || match.missingAsEmpty
  if (test.kind === 'present') return isThere !== match.invert
  if (test.kind === 'absent') return !isThere !== match.invert
  // Envoy: a missing header never matches a value test, inverted or not, unless it is to count as empty.
  const subject = values ?? (match.missingAsEmpty ? '' : undefined)
  if (subject === undefined) return false
  return (
    (typeof subject === 'string' ? passes(test, subject) : subject.some((value) => passes(test, value))) !==
    match.invert
  )
}

function passes(test: Extract<HeaderMatch['test'], { kind: 'string' | 'range' }>, value: string): boolean {
  return test.kind === 'string' ? matchesString(test.match, value) : inRange(test, value)
}

/**
 * What came off the wire (a character per byte) as configured text has it: UTF-8 decoded. Bytes that are no UTF-8
 * become U+FFFD, which nobody configures. Headers and paths are turned here before a matcher of a route, a fault or a
 * policy sees them; what is sent on stays as it came.
 */
export function asText(received: string): string {
  // oxlint-disable-next-line no-control-regex -- everything but ASCII is what is looked for
  return /[^\0-\x7f]/.test(received) ? Buffer.from(received, 'latin1').toString('utf8') : received
}

/** Envoy's ignore_case is about A to Z; JavaScript's toLowerCase would make a k of U+212A. */
export function toAsciiLowerCase(text: string): string {
  // oxlint-disable-next-line no-control-regex -- everything but ASCII is what is looked for
  return /[^\0-\x7f]/.test(text) ? text.replace(/[A-Z]+/g, (part) => part.toLowerCase()) : text.toLowerCase()
}

/** envoy.config.route.v3.QueryParameterMatcher. */
export type QueryMatch = {
  readonly name: string
  readonly test: { readonly kind: 'present' | 'absent' } | { readonly kind: 'string'; readonly match: StringMatch }
}

/** Of any length: zeros in front would be a way around a rule. What is no int64 is in no range, as in Envoy. */
function inRange(range: { start: bigint; end: bigint }, text: string): boolean {
  const [, sign, digits] = /^([+-]?)0*(\d{1,19})$/.exec(text) ?? []
  if (digits === undefined) return false
  const value = sign === '-' ? -BigInt(digits) : BigInt(digits)
  return value >= range.start && value < range.end
}
