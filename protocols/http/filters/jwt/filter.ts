/** The filter's place in a plan: which requirement a request has, and what a refusal says. */
import { type ErrorCode, MeshError } from '../../../../core/errors.ts'
import type { Jwks } from '../../../../core/jwt/jwks.ts'
import { isRemote, type JwtAuthentication, type JwtRequirement, type RemoteJwks } from '../../../../model/http/jwt.ts'
import type { HeaderEdit, RouteFilter } from '../../../../model/route.ts'
import { matchesRoute, withoutQuery, type RequestFacts } from '../../../router.ts'
import type { Random } from '../../../../core/os/clock.ts'
import type { Context } from '../../../context.ts'
import { checkTokens, type JwtProblem } from './authenticate.ts'
import { findMissingKeys, readKeys } from './missing-keys.ts'

export type JwtRefused = {
  readonly code: ErrorCode & ('MESH_TOKEN_REFUSED' | 'MESH_TOKEN_AUDIENCE' | 'MESH_PEER_NOT_ALLOWED')
  readonly what: string
  /** Fields of the answer. */
  /** Of the answer. */
  readonly edits: readonly HeaderEdit[]
}
export type JwtPassed = { readonly reroute: boolean }

type VerificationInput = {
  readonly clocks: Pick<Context, 'clock' | 'tokenTime' | 'remoteKeys'>
  readonly random: Random
}

/** @param own what the route says to the filter */
export function askForTokens(
  jwt: JwtAuthentication,
  own: RouteFilter | undefined,
  request: RequestFacts,
  { clocks, random }: VerificationInput,
): JwtRefused | JwtPassed {
  const { headers } = request
  if (!headers) throw new MeshError('MESH_INTERNAL', 'a request without headers is asked for a token')
  if (jwt.bypassesPreflight && isPreflight(request)) return { reroute: false }
  const requirement = findRequirement(jwt, own, request, random)
  if (requirement === 'unknown') return refuse(request, 'MESH_PEER_NOT_ALLOWED', "the route's requirement is unknown")
  const time = clocks.tokenTime?.() ?? { nowMs: clocks.clock.wallMs() }
  const findKeys = (of: RemoteJwks): Jwks | undefined => readKeys(clocks.remoteKeys?.find(of))
  const { problem, reroute } = checkTokens(jwt, requirement, { request, headers, time, findKeys })
  if (problem === undefined) return { reroute }
  const code = problem === 'audience' ? 'MESH_TOKEN_AUDIENCE' : 'MESH_TOKEN_REFUSED'
  return refuse(request, code, jwt.hidesReason ? 'no token that counts' : REASONS[problem], problem)
}

/** Undefined: it needs no token. */
function findRequirement(
  jwt: JwtAuthentication,
  own: RouteFilter | undefined,
  request: RequestFacts,
  random: Random,
): JwtRequirement | 'unknown' | undefined {
  if (own?.jwt === undefined) return jwt.rules.find(({ match }) => matchesRoute(match, request, random))?.requires
  return own.jwt === false ? undefined : (jwt.named.get(own.jwt) ?? 'unknown')
}

/**
 * Where a token of the request names a key that has to be fetched: looks for it. Undefined, as nearly always: there is
 * nothing to wait for. Asked before a request is changed.
 * @returns resolves when it was looked for, whether it was found or not; never rejects
 */
export function requestMissingKeys(
  jwt: JwtAuthentication,
  own: RouteFilter | undefined,
  request: RequestFacts,
  { clocks: { remoteKeys }, random }: VerificationInput,
): Promise<unknown> | undefined {
  const remote = remoteKeys ? jwt.providers.filter(({ jwks }) => isRemote(jwks)) : []
  if (!remoteKeys || remote.length === 0 || (jwt.bypassesPreflight && isPreflight(request))) return undefined
  const requirement = findRequirement(jwt, own, request, random)
  if (requirement === undefined || requirement === 'unknown') return undefined
  const missing = findMissingKeys(remote, request, (of) => remoteKeys.find(of))
  return missing.length === 0 ? undefined : Promise.all(missing.map((source) => source.lookAgain()))
}

function isPreflight(request: RequestFacts): boolean {
  return (
    request.method === 'OPTIONS' &&
    (request.header('origin') ?? '') !== '' &&
    (request.header('access-control-request-method') ?? '') !== ''
  )
}

const REASONS: Readonly<Record<JwtProblem, string>> = {
  missing: 'there is no token',
  malformed: 'the token is none (RFC 7519)',
  'too-large': 'the token is too large',
  algorithm: "the token's algorithm is not among those of public keys",
  critical: 'the token has a critical field that is not understood',
  issuer: "the token's issuer is not configured",
  key: "nobody's key fits the token",
  signature: "the token's signature is wrong",
  audience: 'the token is for others',
  expired: 'the token has expired',
  'not-yet': 'the token is not valid yet',
  subject: "the token's subject is not allowed",
  'too-many': 'there are too many tokens',
  claim: 'a claim that becomes a header holds what no header may hold',
  unfetched: "the issuer's keys could not be fetched",
  lifetime: 'the token has no expiry, or is valid for too long',
}

/** RFC 6750 §3: whoever brought no token is not told an error. The query may hold a token, and is not repeated. */
function refuse(request: RequestFacts, code: JwtRefused['code'], what: string, problem?: JwtProblem): JwtRefused {
  const path = withoutQuery(request.path)
  const realm = `${request.scheme}://${request.authority}${path}`.slice(0, MAX_REALM).replace(/["\\]/g, '')
  const error = problem === 'missing' ? '' : ', error="invalid_token"'
  if (code === 'MESH_PEER_NOT_ALLOWED') return { code, what, edits: [] }
  // It is text, and stands for nothing.
  const value = `Bearer realm="${realm}"${error}`.replaceAll('%', '%%')
  return { code, what, edits: [{ remove: [], add: [{ name: 'www-authenticate', value, how: 'overwrite' }] }] }
}
/** Envoy's bound. */
const MAX_REALM = 256
