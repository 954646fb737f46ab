/** envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication, decoded. */
import type { Jwks } from '../../core/jwt/jwks.ts'
import type { StringMatch } from '../matcher.ts'
import type { RouteMatch } from '../route.ts'

/** The name that Envoy writes what tokens say under, whatever the filter is called. */
export const JWT_METADATA = 'envoy.filters.http.jwt_authn'

export type JwtAuthentication = {
  readonly providers: readonly JwtProvider[]
  /** The first that matches counts; a request that none matches needs no token. */
  readonly rules: readonly { readonly match: RouteMatch; readonly requires: JwtRequirement | undefined }[]
  /** By the names that routes call them (requirement_map). */
  readonly named: ReadonlyMap<string, JwtRequirement>
  /** Questions of browsers before a request (CORS) carry no token. */
  readonly bypassesPreflight: boolean
  /** Who is refused does not learn why. */
  readonly hidesReason: boolean
}

export type JwtProvider = {
  readonly name: string
  /** Undefined: any, and none. */
  readonly issuer: string | undefined
  /** One of them has to be in `aud`; empty: whatever it is for. */
  readonly audiences: readonly string[]
  readonly subjects: StringMatch | undefined
  /** Here, or to be fetched. */
  readonly jwks: Jwks | RemoteJwks
  readonly leewayMs: number
  readonly needsExpiry: boolean
  /** From now to `exp`. */
  readonly maxLifetimeMs: number | undefined
  /** Lower-case name, and what stands before the token in its value. */
  readonly headers: readonly { readonly name: string; readonly prefix: string }[]
  /** Of the query. */
  readonly params: readonly string[]
  readonly cookies: readonly string[]
  /** The header that the token came in goes on. */
  readonly forwards: boolean
  /** Header for the payload in base64url. */
  readonly payloadHeader: { readonly name: string; readonly padded: boolean } | undefined
  readonly claimHeaders: readonly { readonly name: string; readonly claim: readonly string[] }[]
  /** Keys below JWT_METADATA. */
  readonly payloadKey: string | undefined
  readonly headerKey: string | undefined
  readonly failureKey: string | undefined
  /** Claims of words with spaces between them that become lists in the metadata. */
  readonly spaced: readonly string[]
  /** The route is looked for again: it may ask what the token says. */
  readonly reroutes: boolean
  /** Tokens that are remembered as good until they expire; 0 = none. */
  readonly remembered: number
}

/** Where the keys of an issuer are fetched from (remote_jwks). */
export type RemoteJwks = {
  readonly cluster: string
  readonly scheme: 'http' | 'https'
  readonly authority: string
  readonly path: string
  /** Of all tries of one fetch together. */
  readonly timeoutMs: number
  /** Fetched again after so long. */
  readonly refreshMs: number
  /** The first pause after a fetch that failed. */
  readonly failedRefetchMs: number
  /** Tries after the first one within one fetch. */
  readonly retries: number
  readonly backoff: { readonly baseMs: number; readonly capMs: number }
}

export function isRemote(jwks: Jwks | RemoteJwks): jwks is RemoteJwks {
  return 'cluster' in jwks
}

export type JwtRequirement =
  | { readonly kind: 'provider'; readonly provider: JwtProvider; readonly audiences?: readonly string[] }
  | { readonly kind: 'any' | 'all'; readonly of: readonly JwtRequirement[] }
  /** `failed`: a token that is no good passes as well. */
  | { readonly kind: 'optional'; readonly failed: boolean }
