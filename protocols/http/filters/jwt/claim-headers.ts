/** What a token says, as text of headers (Envoy's claim_to_headers and forward_payload_header). Pure. */
import type { Claims } from '../../../../core/jwt/verify.ts'
import { asFieldValue } from '../../codec/field-value.ts'

/** @param claim keys of objects within objects; a claim may also have dots in its name. Undefined: it is not there */
export function describeClaim(claims: Claims, claim: readonly string[]): string | undefined {
  const value = findClaim(claims, claim) ?? findClaim(claims, [claim.join('.')])
  if (typeof value === 'string') return asFieldValue(value)
  if (typeof value === 'number' || typeof value === 'boolean') return String(value)
  // Envoy: lists and objects as JSON in base64url.
  return typeof value === 'object' && value !== null
    ? Buffer.from(JSON.stringify(value)).toString('base64url')
    : undefined
}
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
  return padded ? payload.padEnd(Math.ceil(payload.length / 4) * 4, '=') : payload
}
