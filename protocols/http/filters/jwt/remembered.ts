/** Good tokens, so that a client that comes with the same one each time costs one signature (jwt_cache_config). */
import type { JwtAnswer } from '../../../../core/jwt/verify.ts'
import type { JwtProvider } from '../../../../model/http/jwt.ts'

type Good = JwtAnswer & { readonly valid: true }

/** They go with the configuration that their keys belong to. */
const remembered = new WeakMap<JwtProvider, Map<string, Good>>()

export function findRemembered(provider: JwtProvider, token: string, nowMs: number): Good | undefined {
  const known = provider.remembered > 0 ? remembered.get(provider)?.get(token) : undefined
  if (known?.expiresAtMs === undefined || nowMs < known.expiresAtMs) return known
  remembered.get(provider)!.delete(token)
  return undefined
}

/** Of those that came first the first goes where there are too many. */
export function rememberToken(provider: JwtProvider, token: string, answer: JwtAnswer): void {
  if (!answer.valid || provider.remembered === 0) return
  let tokens = remembered.get(provider)
  if (!tokens) remembered.set(provider, (tokens = new Map<string, Good>()))
  if (tokens.size >= provider.remembered) tokens.delete(tokens.keys().next().value!)
  tokens.set(token, answer)
}
