import type { JwtProvider } from '../../../model/http/jwt.ts'

/** Of the issuer `i`; tokens are in `authorization`, and stay here. */
export const createJwtProvider = (jwks: JwtProvider['jwks'], more: Partial<JwtProvider> = {}): JwtProvider => ({
  name: 'p',
  issuer: 'i',
  audiences: [],
  subjects: undefined,
  jwks,
  leewayMs: 60_000,
  needsExpiry: false,
  maxLifetimeMs: undefined,
  headers: [{ name: 'authorization', prefix: 'Bearer ' }],
  params: [],
  cookies: [],
  forwards: false,
  payloadHeader: undefined,
  claimHeaders: [],
  payloadKey: undefined,
  headerKey: undefined,
  failureKey: undefined,
  spaced: [],
  reroutes: false,
  remembered: 0,
  ...more,
})
