/** Tokens of keys that are to be fetched (remote_jwks) and are not here, or not yet: whom it is worth to wait for. */
import type { Jwks } from '../../../../core/jwt/jwks.ts'
import type { KeySource } from '../../../../core/jwt/key-source.ts'
import { hasKeyFor, readClaimedIssuer } from '../../../../core/jwt/verify.ts'
import { isRemote, type JwtProvider, type RemoteJwks } from '../../../../model/http/jwt.ts'
import type { RequestFacts } from '../../../router.ts'
import { findTokens, MAX_TOKENS } from './tokens.ts'

/** Empty in the usual case: every key that a token names is here. */
export function findMissingKeys(
  providers: readonly JwtProvider[],
  request: RequestFacts,
  find: (of: RemoteJwks) => KeySource | undefined,
): readonly KeySource[] {
  const missing = new Set<KeySource>()
  for (const { token, providers: among } of findTokens(request, providers).slice(0, MAX_TOKENS))
    for (const { issuer, jwks } of among) {
      const source = isRemote(jwks) ? find(jwks) : undefined
      if (!source || (issuer !== undefined && readClaimedIssuer(token) !== issuer)) continue
      const has = readKeys(source)
      if (!has || !hasKeyFor(token, has)) missing.add(source)
    }
  return [...missing]
}

/** Undefined: they were not fetched yet. */
export function readKeys(source: KeySource | undefined): Jwks | undefined {
  try {
    return source?.current()
  } catch {
    return undefined
  }
}
