/**
 * What a join token says of itself, for the person whose token was refused: control planes give no reason. Nothing is
 * verified here.
 */

/** Longer claims are nobody's namespace and service account. */
const MAX_CHARS = 120

/**
 * E.g. `a token for system:serviceaccount:edge:gateway, audience istio-ca, that expired at 2026-01-01T00:00:00.000Z`.
 * The token itself is not repeated.
 */
export function summarizeToken(token: string, wallMs: number): string {
  const claims = payloadOf(token)
  if (!claims) return 'a token that is no JWT'
  const { sub, aud, exp, nbf } = claims
  const audiences = (Array.isArray(aud) ? aud : [aud]).filter((a) => typeof a === 'string')
  const at = (sec: number): string => new Date(sec * 1000).toISOString()
  const time =
    isTime(exp) && exp * 1000 <= wallMs
      ? `, that expired at ${at(exp)}`
      : isTime(nbf) && nbf * 1000 > wallMs
        ? `, that is not valid before ${at(nbf)}`
        : isTime(exp)
          ? `, valid until ${at(exp)}`
          : ''
  return `a token for ${typeof sub === 'string' ? shown(sub) : 'nobody'}${audiences.length > 0 ? `, audience ${shown(audiences.join(' '))}` : ''}${time}`
}

function payloadOf(token: string): Readonly<Record<string, unknown>> | undefined {
  const parts = token.split('.')
  if (parts.length !== 3) return undefined
  try {
    const parsed: unknown = JSON.parse(Buffer.from(parts[1]!, 'base64url').toString('utf8'))
    return typeof parsed === 'object' && parsed !== null ? (parsed as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}

/** NumericDate (RFC 7519 §2) of a year that a Date can hold. */
function isTime(value: unknown): value is number {
  return typeof value === 'number' && Math.abs(value) < 8e12
}
function shown(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?').slice(0, MAX_CHARS)
}
