/** Good tokens, so that a client that comes with the same one each time costs one signature (jwt_cache_config). */
import type { Jwks } from '../../../../core/jwt/jwks.ts'
import type { JwtAnswer } from '../../../../core/jwt/verify.ts'
import type { JwtProvider } from '../../../../model/http/jwt.ts'

type Good = JwtAnswer & { readonly valid: true }
/** A token counts as long as the keys that it was verified by: an issuer that takes one back takes its tokens back. */
type Remembered = { readonly jwks: Jwks; readonly tokens: Map<string, Good> }

/** They go with the configuration that their provider belongs to. */
const remembered = new WeakMap<JwtProvider, Remembered>()

export function findRemembered(provider: JwtProvider, jwks: Jwks, token: string, nowMs: number): Good | undefined {
  if (provider.remembered === 0) return undefined
  const of = remembered.get(provider)
  const known = of?.jwks === jwks ? of.tokens.get(token) : undefined
  if (known?.expiresAtMs === undefined || nowMs < known.expiresAtMs) return known
  of!.tokens.delete(token)
  return undefined
}

/** Of those that came first the first goes where there are too many. */
export function rememberToken(provider: JwtProvider, jwks: Jwks, token: string, answer: JwtAnswer): void {
  if (!answer.valid || provider.remembered === 0) return
  let of = remembered.get(provider)
  if (of?.jwks !== jwks) remembered.set(provider, (of = { jwks, tokens: new Map<string, Good>() }))
  const { tokens } = of
  if (tokens.size >= provider.remembered) tokens.delete(tokens.keys().next().value!)
  tokens.set(token, answer)
}
