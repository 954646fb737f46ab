/**
 * JSON Web Tokens in the compact form of JWS (RFC 7519, RFC 7515 §7.1), verified as RFC 8725 wants it: the algorithm
 * must be of those that the key is for, what is critical and not understood is refused, and what is not wholly valid
 * tells nothing. Who sent it learns that it is refused; the reason is for the operator.
 */
import { fitsKey, isAlgorithm, isSignedBy } from './algorithms.ts'
import type { Jwks, VerificationKey } from './jwks.ts'

/** Issuer and audience. */
export type JwtIssuer = {
  /** `iss`, compared letter by letter; undefined: any, and none. */
  readonly issuer: string | undefined
  /** One of them has to be in `aud`; empty: whatever it is for. */
  readonly audiences: readonly string[]
  readonly jwks: Jwks
}
export type JwtTime = {
  readonly nowMs: number
  /** The clock may be behind, as that of a device without a battery: then no token counts as too young. */
  readonly isLowerBound?: boolean
  readonly leewayMs?: number
  /** `iat` is not asked: who has issued it may have a clock that is ahead (Envoy). */
  readonly issuedAtAnyTime?: boolean
}
export const JWT_REFUSALS = [
  'malformed',
  'too-large',
  'algorithm',
  'critical',
  'issuer',
  'key',
  'signature',
  'audience',
  'expired',
  'not-yet',
] as const
export type JwtRefusal = (typeof JWT_REFUSALS)[number]
export type Claims = Readonly<Record<string, unknown>>
export type JwtAnswer =
  | {
      readonly valid: true
      readonly header: Claims
      readonly claims: Claims
      /** With leeway; undefined: never. */
      readonly expiresAtMs: number | undefined
    }
  | { readonly valid: false; readonly reason: JwtRefusal }

export const MAX_TOKEN_BYTES = 16 * 1024
/** As Envoy's `clock_skew_seconds`. */
const LEEWAY_MS = 60_000
/** Keys that are tried for a token that does not name one. */
const MAX_TRIES = 8

/** Looks like a token, whoever has signed it: three parts, the first of which is a JSON object. */
export function looksLikeJwt(text: string): boolean {
  return text.startsWith('ey') && text.split('.', 4).length === 3
}

/** The issuer that a token claims to have; it proves nothing. Undefined: it names none, or is no token. */
export function readClaimedIssuer(token: string): string | undefined {
  const iss = token.length <= MAX_TOKEN_BYTES ? objectOf(token.split('.', 3)[1] ?? '')?.['iss'] : undefined
  return typeof iss === 'string' ? iss : undefined
}

export function verifyJwt(token: string, by: JwtIssuer, time: JwtTime): JwtAnswer {
  if (token.length > MAX_TOKEN_BYTES) return refused('too-large')
  const parts = token.split('.', 4)
  const [header, claims] = [objectOf(parts[0] ?? ''), objectOf(parts[1] ?? '')]
  const signature = bytesOf(parts[2] ?? '')
  if (parts.length !== 3 || !header || !claims || !signature) return refused('malformed')
  const { alg, kid, crit } = header
  if (typeof alg !== 'string' || !isAlgorithm(alg)) return refused('algorithm')
  // None is understood [RFC 7515 §4.1.11]; `b64` of RFC 7797 is one of them.
  if (crit !== undefined) return refused('critical')
  if (kid !== undefined && typeof kid !== 'string') return refused('malformed')
  if (by.issuer !== undefined && claims['iss'] !== by.issuer) return refused('issuer')
  const keys = by.jwks.keys.filter((one) => mayVerify(one, alg, kid))
  if (keys.length === 0) return refused('key')
  const signed = Buffer.from(`${parts[0]}.${parts[1]}`, 'latin1')
  if (!keys.slice(0, MAX_TRIES).some(({ key }) => isSignedBy(alg, key, signed, signature))) return refused('signature')
  return checkClaims({ header, claims }, by.audiences, time)
}

/** False: it is a token, and another set of the same issuer may have a key for it. */
export function hasKeyFor(token: string, jwks: Jwks): boolean {
  const header = token.length <= MAX_TOKEN_BYTES ? objectOf(token.split('.', 1)[0]!) : undefined
  const { alg, kid } = header ?? {}
  if (typeof alg !== 'string' || !isAlgorithm(alg) || (kid !== undefined && typeof kid !== 'string')) return true
  return jwks.keys.some((one) => mayVerify(one, alg, kid))
}

/** A key without an id may be the one that the token names (as in Envoy). */
function mayVerify({ id, algorithm, key }: VerificationKey, alg: string, kid: string | undefined): boolean {
  return (
    (kid === undefined || id === undefined || id === kid) &&
    (algorithm === undefined || algorithm === alg) &&
    fitsKey(alg, key)
  )
}

function checkClaims(
  { header, claims }: { readonly header: Claims; readonly claims: Claims },
  audiences: readonly string[],
  time: JwtTime,
): JwtAnswer {
  const { exp, nbf, iat, aud, iss, sub, jti } = claims
  if (![exp, nbf, iat].every(isNumericDate) || ![iss, sub, jti].every(isText)) return refused('malformed')
  const meant = typeof aud === 'string' ? [aud] : (aud ?? [])
  if (aud === null || !Array.isArray(meant) || !meant.every((one) => typeof one === 'string'))
    return refused('malformed')
  const { nowMs, isLowerBound = false, leewayMs = LEEWAY_MS, issuedAtAnyTime = false } = time
  const expiresAtMs = typeof exp === 'number' ? exp * 1_000 + leewayMs : undefined
  if (expiresAtMs !== undefined && nowMs >= expiresAtMs) return refused('expired')
  const youngMs = Math.max(
    ...[nbf, issuedAtAnyTime ? undefined : iat].map((sec) => (typeof sec === 'number' ? sec * 1_000 : -Infinity)),
  )
  if (!isLowerBound && youngMs > nowMs + leewayMs) return refused('not-yet')
  if (audiences.length > 0 && !audiences.some((one) => meant.includes(one))) return refused('audience')
  return { valid: true, header, claims, expiresAtMs }
}

/** NumericDate (RFC 7519 §2), or absent. */
function isNumericDate(value: unknown): boolean {
  return value === undefined || (typeof value === 'number' && Math.abs(value) <= Number.MAX_SAFE_INTEGER)
}
/** StringOrURI (RFC 7519 §2), or absent. */
function isText(value: unknown): boolean {
  return value === undefined || typeof value === 'string'
}

function objectOf(part: string): Record<string, unknown> | undefined {
  const bytes = bytesOf(part)
  if (!bytes) return undefined
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
    const parsed: unknown = JSON.parse(text)
    if (isTooDeep(text)) return undefined
    return typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed)
      ? (parsed as Record<string, unknown>)
      : undefined
  } catch {
    return undefined
  }
}

/** Whoever goes through a value calls itself for each level; protobuf's JSON, and so Envoy, has the same bound. */
const MAX_DEPTH = 100
/** @param json well-formed */
function isTooDeep(json: string): boolean {
  if (json.split(/[[{]/, MAX_DEPTH + 2).length <= MAX_DEPTH + 1) return false
  let depth = 0
  for (const [token] of json.matchAll(/"(?:[^"\\]|\\.)*"|[[\]{}]/g)) {
    if (token === '[' || token === '{') depth++
    else if (token === ']' || token === '}') depth--
    if (depth > MAX_DEPTH) return true
  }
  return false
}

/** Base64url without padding (RFC 7515 §2). Node would pass over what is none of it. */
function bytesOf(part: string): Buffer | undefined {
  const bytes = Buffer.from(part, 'base64url')
  return part !== '' && bytes.toString('base64url') === part ? bytes : undefined
}

function refused(reason: JwtRefusal): JwtAnswer {
  return { valid: false, reason }
}
