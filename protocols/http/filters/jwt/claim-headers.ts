/** What a token says, as text of headers (Envoy's claim_to_headers and forward_payload_header). Pure. */
import type { Claims } from '../../../../core/jwt/verify.ts'
import { memoize } from '../../../../core/memoize.ts'
import type { JwtProvider } from '../../../../model/http/jwt.ts'
import { toPlainName } from '../../codec/field-table.ts'
import { asFieldValue } from '../../codec/field-value.ts'

/** @param claim keys of objects within objects; a claim may also have dots in its name. Undefined: it is not there */
export function describeClaim(claims: Claims, claim: readonly string[]): string | undefined {
  const value = findValue(claims, claim)
  if (typeof value === 'string') return value === '' ? undefined : asFieldValue(value)
  if (typeof value === 'number' || typeof value === 'boolean') return String(value)
  return typeof value === 'object' && value !== null ? encodeJson(value) : undefined
}
/** Of lists and objects, as Envoy: protobuf's JSON, in base64 (RFC 4648 §4). */
function encodeJson(value: object): string {
  const json = JSON.stringify(value).replace(/[<>]/g, (c) => (c === '<' ? '\\u003c' : '\\u003e'))
  return Buffer.from(json).toString('base64')
}
function findValue(claims: Claims, claim: readonly string[]): unknown {
  return findClaim(claims, claim) ?? findClaim(claims, [claim.join('.')])
}

/** False: without what no field may hold it would be another claim, perhaps somebody else's. */
export function fitsField(claims: Claims, claim: readonly string[]): boolean {
  const value = findValue(claims, claim)
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  return typeof value !== 'string' || !/[\0-\x08\x0a-\x1f\x7f]/.test(value)
}

/** Of fields that nobody but these providers writes, as toPlainName has them. */
export const listClaimNames = memoize(
  (providers: readonly JwtProvider[]): ReadonlySet<string> =>
    new Set(
      providers.flatMap(({ payloadHeader, claimHeaders }) =>
        [...(payloadHeader ? [payloadHeader] : []), ...claimHeaders].map(({ name }) => toPlainName(name)),
      ),
    ),
)
function findClaim(claims: Claims, path: readonly string[]): unknown {
  let value: unknown = claims
  for (const key of path) {
    if (typeof value !== 'object' || value === null || Array.isArray(value) || !Object.hasOwn(value, key))
      return undefined
    value = (value as Claims)[key]
  }
  return value
}

/** The payload as it stands in the token. */
export function encodePayload(token: string, padded: boolean): string {
  const payload = token.split('.', 2)[1]!
  return padded ? pad(payload) : payload
}
const pad = (text: string): string => text.padEnd(Math.ceil(text.length / 4) * 4, '=')
