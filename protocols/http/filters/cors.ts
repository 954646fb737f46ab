/**
 * Cross-origin requests (envoy.filters.http.cors; the Fetch standard, "CORS protocol"). Pure. Preflights of origins that
 * are allowed are answered here, other answers get the headers by which a browser lets a page see them.
 */
import type { Random } from '../../../core/os/clock.ts'
import type { CorsPolicy } from '../../../model/http/cors.ts'
import { asText, matchesString } from '../../../model/matcher.ts'
import type { RequestFacts } from '../../router.ts'

/** Lists of fields are flat. */
export type CorsDecision = {
  readonly isAllowed: boolean
  /** Of every answer to the request, in place of what the endpoint says of them. */
  readonly fields: readonly string[]
  /** Of the answer that the filter gives by itself; undefined: the request goes on. */
  readonly preflight: readonly string[] | undefined
}

/** @returns undefined when the filter has no say: no policy that is enabled, or no origin */
export function decideCors(
  policy: CorsPolicy | undefined,
  request: RequestFacts,
  random: Random,
): CorsDecision | undefined {
  if (!policy) return undefined
  const isEnabled = isDrawn(policy.enabled, random)
  if (!isEnabled && !isDrawn(policy.shadow, random)) return undefined
  const origin = request.header('origin') ?? ''
  if (origin === '') return undefined
  const isAllowed = allowsOrigin(policy, asText(origin))
  if (!isEnabled) return { isAllowed, fields: [], preflight: undefined }
  const fields = isAllowed ? answerFields(policy, origin) : []
  const method = request.method === 'OPTIONS' ? (request.header('access-control-request-method') ?? '') : ''
  if (method === '' || (!isAllowed && policy.forwardOthers !== false))
    return { isAllowed, fields, preflight: undefined }
  return { isAllowed, fields, preflight: preflightFields(policy, request, method) }
}

/** A share of 1 asks no chance: draws of other filters stay as they are. */
function isDrawn(share: number, random: Random): boolean {
  return share >= 1 || (share > 0 && random.float() < share)
}

/** Envoy: what matches the text `*` allows every origin. */
function allowsOrigin({ origins }: CorsPolicy, origin: string): boolean {
  return origins.some((match) => matchesString(match, '*') || matchesString(match, origin))
}

function answerFields(policy: CorsPolicy, origin: string): string[] {
  const fields = ['access-control-allow-origin', origin]
  if (policy.allowCredentials) fields.push('access-control-allow-credentials', 'true')
  if (policy.exposeHeaders !== '') fields.push('access-control-expose-headers', policy.exposeHeaders)
  return fields
}

/** Beside those of every answer. `*` stands for what was asked for, since with credentials a browser takes it for a name. */
function preflightFields(policy: CorsPolicy, request: RequestFacts, method: string): string[] {
  const fields: string[] = []
  const say = (name: string, value: string): void => {
    fields.push(name, value)
  }
  if (policy.allowCredentials) say('access-control-allow-credentials', 'true')
  if (policy.allowMethods !== '')
    say('access-control-allow-methods', policy.allowMethods === '*' ? method : policy.allowMethods)
  if (policy.allowHeaders !== '')
    say(
      'access-control-allow-headers',
      policy.allowHeaders === '*' ? (request.header('access-control-request-headers') ?? '') : policy.allowHeaders,
    )
  if (policy.maxAge !== '') say('access-control-max-age', policy.maxAge)
  if (policy.allowPrivateNetwork && request.header('access-control-request-private-network') === 'true')
    say('access-control-allow-private-network', 'true')
  return fields
}
