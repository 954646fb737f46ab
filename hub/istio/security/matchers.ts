/** Values of an AuthorizationPolicy, with wildcards at their ends → Envoy's matchers (security/authz/matcher). */
import { parseRange } from '../../../model/ip.ts'
import type { Json } from '../json.ts'

/** regexp.QuoteMeta. */
export const quote = (text: string): string => text.replace(/[\\.+*?()|[\]{}^$]/g, String.raw`\$&`)

export const ANY_TEXT: Json = { safe_regex: { regex: '.+' } }

/** @param scheme in front of every value */
export function matchText(value: string, scheme = ''): Json {
  if (value === '*') return ANY_TEXT
  if (value.startsWith('*')) {
    const rest = value.slice(1)
    return scheme === '' ? { suffix: rest } : { safe_regex: { regex: `${scheme}.*${quote(rest)}` } }
  }
  return value.endsWith('*') ? { prefix: scheme + value.slice(0, -1) } : { exact: scheme + value }
}

export function matchHeader(name: string, value: string, letters: 'as they are' | 'any case' = 'as they are'): Json {
  if (value === '*') return { name, present_match: true }
  const matcher = value.startsWith('*')
    ? { suffix: value.slice(1) }
    : value.endsWith('*')
      ? { prefix: value.slice(0, -1) }
      : { exact: value }
  return { name, string_match: letters === 'any case' ? { ...matcher, ignore_case: true } : matcher }
}

export function matchRange(value: string): Json {
  const range = parseRange(value)!
  return { address_prefix: value.split('/')[0]!, prefix_len: range.prefixBits }
}

export const matchSome = (matchers: readonly Json[]): Json =>
  matchers.length === 1 ? matchers[0]! : { or_match: { value_matchers: [...matchers] } }

export function matchMetadata(filter: string, path: readonly string[], value: Json): Json {
  return { filter, path: path.map((key) => ({ key })), value }
}

const JWT = 'envoy.filters.http.jwt_authn'
export const matchClaim = (claim: string, text: Json): Json =>
  matchMetadata(JWT, ['payload', claim], { string_match: text })
/** Of a claim that is one value or a list of them. */
export function matchClaims(claims: readonly string[], values: readonly string[]): Json {
  const value = matchSome(values.map((v) => ({ string_match: matchText(v) })))
  return matchMetadata(JWT, ['payload', ...claims], {
    or_match: { value_matchers: [{ list_match: { one_of: value } }, value] },
  })
}
