/**
 * envoy.filters.http.jwt_authn: whether the tokens of a request are those that its path needs. What a good token says
 * becomes metadata and headers, for the filters and the endpoint behind; nobody else may bring those headers.
 */
import { type Jwks, NO_KEYS } from '../../../../core/jwt/jwks.ts'
import { type Claims, type JwtAnswer, type JwtRefusal, type JwtTime, verifyJwt } from '../../../../core/jwt/verify.ts'
import {
  isRemote,
  JWT_METADATA,
  type JwtAuthentication,
  type JwtProvider,
  type JwtRequirement,
  type RemoteJwks,
} from '../../../../model/http/jwt.ts'
import { matchesString } from '../../../../model/matcher.ts'
import type { Json } from '../../../../model/http/metadata.ts'
import type { RequestFacts } from '../../../router.ts'
import { removeHeader, removeWithLookAlikes } from '../../codec/field-table.ts'
import { describeClaim, encodePayload, fitsField, listClaimNames } from './claim-headers.ts'
import { rememberToken, findRemembered } from './remembered.ts'
import { decodeEscapes, findTokens, MAX_TOKENS, removeParam, type FoundToken } from './tokens.ts'

/** Why a request is refused: what a token lacks, or that there is none. */
export type JwtProblem = JwtRefusal | 'missing' | 'subject' | 'lifetime' | 'unfetched' | 'too-many' | 'claim'

/** `headers`: of the request, flat, changed in place. */
export type JwtInput = {
  readonly request: RequestFacts
  readonly headers: string[]
  readonly time: JwtTime
  /** Keys that were fetched; undefined: there are none yet. Left out: nobody fetches any. */
  readonly findKeys?: ((of: RemoteJwks) => Jwks | undefined) | undefined
}

/** @returns undefined: it may go on, with `request.metadata` set where a token says something */
export function checkTokens(
  { providers }: JwtAuthentication,
  requirement: JwtRequirement | undefined,
  input: JwtInput,
): { readonly problem: JwtProblem | undefined; readonly reroute: boolean } {
  const checked = new Check(providers, input)
  removeWithLookAlikes(input.headers, listClaimNames(providers))
  const problem = requirement && checked.meets(requirement)
  return { problem, reroute: problem === undefined && checked.reroute }
}

class Check {
  readonly #all: readonly JwtProvider[]
  readonly #request: RequestFacts
  readonly #headers: string[]
  readonly #time: JwtTime
  readonly #findKeys: JwtInput['findKeys']
  readonly #found: Record<string, Json> = {}
  reroute = false
  constructor(all: readonly JwtProvider[], { request, headers, time, findKeys }: JwtInput) {
    this.#all = all
    this.#request = request
    this.#headers = headers
    this.#time = time
    this.#findKeys = findKeys
  }

  meets(requirement: JwtRequirement): JwtProblem | undefined {
    switch (requirement.kind) {
      case 'provider':
        return this.#provided(requirement.provider, requirement.audiences)
      case 'all':
        for (const one of requirement.of) {
          const problem = this.meets(one)
          if (problem !== undefined) return problem
        }
        return undefined
      case 'any':
        return this.#meetsAny(requirement.of)
      case 'optional':
        return this.#optional([], requirement.failed)
      default:
        return requirement satisfies never
    }
  }

  /** As in Envoy: what may be missing is asked last, about the providers beside it. */
  #meetsAny(of: readonly JwtRequirement[]): JwtProblem | undefined {
    let worst: JwtProblem = 'missing'
    for (const one of of) {
      if (one.kind === 'optional') continue
      const problem = this.meets(one)
      if (problem === undefined) return undefined
      if (worst === 'missing' || worst === 'issuer') worst = problem
    }
    const optional = of.filter((one) => one.kind === 'optional')
    if (optional.length === 0) return worst
    return this.#optional(
      of.flatMap(listProviders),
      optional.some(({ failed }) => failed),
    )
  }

  /** All tokens in its places must be good: an endpoint might take the other one for the one that was verified. */
  #provided(provider: JwtProvider, audiences: readonly string[] | undefined): JwtProblem | undefined {
    const tokens = findTokens(this.#request, [provider])
    if (tokens.length === 0) return 'missing'
    return this.#firstProblem(tokens, (found) => this.#verify(found, provider, audiences))
  }

  /**
   * A token that came must be good for one of the alternatives: of one with audiences of its own (provider_and_audiences)
   * that was asked already.
   * @param among empty: all providers
   */
  #optional(among: readonly ByProvider[], failed: boolean): JwtProblem | undefined {
    const looked = among.length === 0 ? this.#all : among.map(({ provider }) => provider)
    const left = among.length === 0 ? this.#all : among.flatMap((one) => (one.audiences ? [] : one.provider))
    const problem = this.#firstProblem(
      findTokens(this.#request, looked),
      (found) => this.#verifyByIssuer(found, left),
      failed,
    )
    return failed ? undefined : problem
  }
  #firstProblem(
    tokens: readonly FoundToken[],
    verify: (found: FoundToken) => JwtProblem | undefined,
    goesOn = false,
  ): JwtProblem | undefined {
    if (tokens.length > MAX_TOKENS) return 'too-many'
    let first: JwtProblem | undefined
    for (const found of tokens) {
      const problem = verify(found)
      if (problem !== undefined && !goesOn) return problem
      first ??= problem
    }
    return first
  }

  /** Any of the providers that look there may be meant: the one whose issuer the token names. */
  #verifyByIssuer(found: FoundToken, among: readonly JwtProvider[]): JwtProblem | undefined {
    let worst: JwtProblem = 'issuer'
    for (const provider of found.providers) {
      if (!among.includes(provider)) continue
      const problem = this.#verify(found, provider, undefined)
      if (problem === undefined) return undefined
      if (problem !== 'issuer') worst = problem
    }
    return worst
  }

  #verify(found: FoundToken, provider: JwtProvider, audiences: readonly string[] | undefined): JwtProblem | undefined {
    const answer = this.#ask(found.token, provider, audiences)
    const problem = answer.valid ? checkRest(answer.claims, provider, this.#time) : answer.reason
    if (problem !== undefined) {
      if (provider.failureKey !== undefined) this.#note(provider.failureKey, { message: problem })
      return problem
    }
    if (answer.valid) this.#take(found, provider, answer)
    return undefined
  }
  #ask(token: string, provider: JwtProvider, audiences: readonly string[] | undefined): Asked {
    const { issuer, leewayMs } = provider
    const jwks = isRemote(provider.jwks) ? (this.#findKeys?.(provider.jwks) ?? NO_KEYS) : provider.jwks
    const known = audiences === undefined ? findRemembered(provider, jwks, token, this.#time.nowMs) : undefined
    if (known) return known
    const by = { issuer, jwks, audiences: audiences ?? provider.audiences }
    const answer = verifyJwt(token, by, { ...this.#time, leewayMs, issuedAtAnyTime: true })
    if (audiences === undefined) rememberToken(provider, jwks, token, answer)
    return answer.valid || answer.reason !== 'key' || jwks !== NO_KEYS ? answer : { valid: false, reason: 'unfetched' }
  }

  #take(found: FoundToken, provider: JwtProvider, { header, claims }: JwtAnswer & { readonly valid: true }): void {
    const headers = this.#headers
    if (!provider.forwards) this.#remove(found)
    const { payloadHeader } = provider
    if (payloadHeader) headers.push(payloadHeader.name, encodePayload(found.token, payloadHeader.padded))
    let hasAdded = false
    for (const { name, claim } of provider.claimHeaders) {
      const text = describeClaim(claims, claim)
      if (text === undefined) continue
      headers.push(name, text)
      hasAdded = true
    }
    if (provider.payloadKey !== undefined) this.#note(provider.payloadKey, splitWords(claims, provider.spaced))
    if (provider.headerKey !== undefined) this.#note(provider.headerKey, header as Json)
    if (provider.reroutes && (hasAdded || provider.payloadKey !== undefined)) this.reroute = true
  }
  /** Envoy leaves cookies as they are. */
  #remove({ place: { kind, name } }: FoundToken): void {
    if (kind === 'header') removeHeader(this.#headers, name)
    else if (kind === 'param') this.#request.path = removeParam(this.#request.path, name, decodeEscapes)
  }
  #note(key: string, value: Json): void {
    const request = this.#request
    this.#found[key] = value
    request.metadata = { ...request.metadata, [JWT_METADATA]: this.#found }
  }
}

type Asked = JwtAnswer | { readonly valid: false; readonly reason: 'unfetched' }
type ByProvider = Extract<JwtRequirement, { kind: 'provider' }>
function listProviders(requirement: JwtRequirement): readonly ByProvider[] {
  if (requirement.kind === 'provider') return [requirement]
  return requirement.kind === 'optional' ? [] : requirement.of.flatMap(listProviders)
}

function checkRest(claims: Claims, provider: JwtProvider, { nowMs }: JwtTime): JwtProblem | undefined {
  const { sub, exp } = claims
  if (provider.claimHeaders.some(({ claim }) => !fitsField(claims, claim))) return 'claim'
  if (provider.subjects && !(typeof sub === 'string' && matchesString(provider.subjects, sub))) return 'subject'
  const { maxLifetimeMs } = provider
  if (typeof exp !== 'number') return maxLifetimeMs !== undefined || provider.needsExpiry ? 'lifetime' : undefined
  return maxLifetimeMs !== undefined && exp * 1_000 > nowMs + maxLifetimeMs ? 'lifetime' : undefined
}

/** RFC 8693 §4.2: `scope` is a text of words. */
function splitWords(claims: Claims, spaced: readonly string[]): Json {
  // Claims are what JSON.parse has read.
  const all = claims as { readonly [key: string]: Json }
  if (spaced.length === 0) return all
  return Object.fromEntries(
    Object.entries(all).map(([name, value]) => [
      name,
      spaced.includes(name) && typeof value === 'string' ? value.split(' ').filter((word) => word !== '') : value,
    ]),
  )
}
