/** The filter's place in a plan: which requirement a request has, and what a refusal says. */
import { type ErrorCode, MeshError } from '../../../../core/errors.ts'
import type { JwtAuthentication, JwtRequirement } from '../../../../model/http/jwt.ts'
import type { RouteFilter } from '../../../../model/route.ts'
import { matchesRoute, withoutQuery, type RequestFacts } from '../../../router.ts'
import type { Random } from '../../../../core/os/clock.ts'
import type { Context } from '../../../context.ts'
import { checkTokens, type JwtProblem } from './authenticate.ts'

export type JwtRefused = {
  readonly code: ErrorCode & ('MESH_TOKEN_REFUSED' | 'MESH_TOKEN_AUDIENCE' | 'MESH_PEER_NOT_ALLOWED')
  readonly what: string
  /** Fields of the answer. */
  readonly fields: readonly string[]
}
export type JwtPassed = { readonly reroute: boolean }

/** @param own what the route says to the filter */
export function askForTokens(
  jwt: JwtAuthentication,
  own: RouteFilter | undefined,
  request: RequestFacts,
  { clocks, random }: { readonly clocks: Pick<Context, 'clock' | 'tokenTime'>; readonly random: Random },
): JwtRefused | JwtPassed {
  const { headers } = request
  if (!headers) throw new MeshError('MESH_INTERNAL', 'a request without headers is asked for a token')
  if (jwt.bypassesPreflight && isPreflight(request)) return { reroute: false }
  let requirement: JwtRequirement | undefined
  if (own?.jwt === undefined)
    requirement = jwt.rules.find(({ match }) => matchesRoute(match, request, random))?.requires
  else if (own.jwt !== false) {
    requirement = jwt.named.get(own.jwt)
    if (!requirement) return refuse(request, 'MESH_PEER_NOT_ALLOWED', "the route's requirement is unknown")
  }
  const time = clocks.tokenTime?.() ?? { nowMs: clocks.clock.wallMs() }
  const { problem, reroute } = checkTokens(jwt, requirement, { request, headers, time })
  if (problem === undefined) return { reroute }
  const code = problem === 'audience' ? 'MESH_TOKEN_AUDIENCE' : 'MESH_TOKEN_REFUSED'
  return refuse(request, code, jwt.hidesReason ? 'no token that counts' : REASONS[problem], problem)
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
  lifetime: 'the token has no expiry, or is valid for too long',
}

/** RFC 6750 §3: whoever brought no token is not told an error. The query may hold a token, and is not repeated. */
function refuse(request: RequestFacts, code: JwtRefused['code'], what: string, problem?: JwtProblem): JwtRefused {
  const path = withoutQuery(request.path)
  const realm = `${request.scheme}://${request.authority}${path}`.slice(0, MAX_REALM).replace(/["\\]/g, '')
  const error = problem === 'missing' ? '' : ', error="invalid_token"'
  const fields = code === 'MESH_PEER_NOT_ALLOWED' ? [] : ['www-authenticate', `Bearer realm="${realm}"${error}`]
  return { code, what, fields }
}
/** Envoy's bound. */
const MAX_REALM = 256
