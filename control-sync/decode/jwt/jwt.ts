/** envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication, as istiod makes it of a RequestAuthentication. */
import type { Message } from '@bufbuild/protobuf'
import { parseJwks, type Jwks } from '../../../core/jwt/jwks.ts'
import type { JwtAuthentication, JwtProvider, JwtRequirement, RemoteJwks } from '../../../model/http/jwt.ts'
import {
  JwtAuthenticationSchema,
  type JwtAuthentication as XJwtAuthentication,
  type JwtProvider as XJwtProvider,
  type JwtRequirement as XJwtRequirement,
} from '../../../proto/gen/envoy/extensions/filters/http/jwt_authn/v3/config_pb.ts'
import { hasUnknown, noteIgnored, refuse, type DecodePath } from '../fields/decode-path.ts'
import { decodeStringMatch } from '../fields/matchers.ts'
import { decodeMs, decodeText } from '../fields/values.ts'
import { decodeRemoteJwks } from './remote-jwks.ts'
import { decodeRouteMatch } from '../route/route.ts'

/** Envoy's defaults. */
const LEEWAY_SEC = 60
const REMEMBERED = 100
/** A list of alternatives within another is rare, and the check of a request recurses. */
const MAX_DEPTH = 16
/** Of one provider, however many its configuration asks for. */
const MAX_REMEMBERED = 10_000

/** With an issue the filter refuses everything. */
export function decodeJwt(at: DecodePath, from: XJwtAuthentication): JwtAuthentication {
  noteIgnored(at, JwtAuthenticationSchema, from)
  refuse(at, JwtAuthenticationSchema, from)
  refuseUnknown(at, from)
  const providers = decodeNamed(at.in('providers'), from.providers, (here, one, name) =>
    decodeProvider(here, name, one),
  )
  const requirement = (here: DecodePath, of: XJwtRequirement): JwtRequirement | undefined =>
    decodeRequirement(here, of, providers, 0)
  const named = decodeNamed(at.in('requirement_map'), from.requirementMap, requirement)
  return {
    providers: [...providers.values()],
    named,
    rules: from.rules.map(({ match, requirementType: by }, i) => {
      const here = at.in('rules').item(i)
      const requires =
        by.case === 'requires' ? requirement(here.in('requires'), by.value) : by.case && named.get(by.value)
      if (by.case === 'requirementName' && !requires) here.in('requirement_name').issue('is not in requirement_map')
      return { match: decodeRouteMatch(here.in('match'), match), requires }
    }),
    bypassesPreflight: from.bypassCorsPreflight,
    hidesReason: from.stripFailureResponse,
  }
}

/** Without those that cannot be used. */
function decodeNamed<X, T>(
  at: DecodePath,
  from: Readonly<Record<string, X>>,
  make: (at: DecodePath, one: X, name: string) => T | undefined,
): Map<string, T> {
  const made = new Map<string, T>()
  for (const [name, one] of Object.entries(from)) {
    const value = make(at.item(name), one, name)
    if (value !== undefined) made.set(name, value)
  }
  return made
}

function decodeProvider(at: DecodePath, name: string, from: XJwtProvider): JwtProvider | undefined {
  refuseUnknown(at, from)
  const jwks = decodeKeys(at, from)
  if (!jwks) return undefined
  const hasPlaces = from.fromHeaders.length + from.fromParams.length + from.fromCookies.length > 0
  return {
    name,
    jwks,
    issuer: from.issuer || undefined,
    audiences: from.audiences,
    subjects: from.subjects && decodeStringMatch(at.in('subjects'), from.subjects),
    leewayMs: (from.clockSkewSeconds || LEEWAY_SEC) * 1_000,
    needsExpiry: from.requireExpiration,
    maxLifetimeMs: decodeMs(at.in('max_lifetime'), from.maxLifetime),
    headers: hasPlaces
      ? from.fromHeaders.map((one) => ({ name: one.name.toLowerCase(), prefix: one.valuePrefix }))
      : [{ name: 'authorization', prefix: 'Bearer ' }],
    params: hasPlaces ? from.fromParams : ['access_token'],
    cookies: from.fromCookies,
    forwards: from.forward,
    payloadHeader: from.forwardPayloadHeader
      ? { name: from.forwardPayloadHeader.toLowerCase(), padded: from.padForwardPayloadHeader }
      : undefined,
    claimHeaders: from.claimToHeaders.map((one) => ({
      name: one.headerName.toLowerCase(),
      claim: one.claimName.split('.'),
    })),
    payloadKey: from.payloadInMetadata || undefined,
    headerKey: from.headerInMetadata || undefined,
    failureKey: from.failedStatusInMetadata || undefined,
    spaced: from.normalizePayloadInMetadata?.spaceDelimitedClaims ?? [],
    reroutes: from.clearRouteCache,
    remembered: from.jwtCacheConfig ? Math.min(MAX_REMEMBERED, from.jwtCacheConfig.jwtCacheSize || REMEMBERED) : 0,
  }
}

function decodeKeys(at: DecodePath, { jwksSourceSpecifier: by }: XJwtProvider): Jwks | RemoteJwks | undefined {
  switch (by.case) {
    case 'localJwks': {
      const here = at.in('local_jwks')
      const text = decodeText(here, by.value)
      if (text === undefined) return undefined
      try {
        return parseJwks(text)
      } catch (err) {
        here.issue(err instanceof Error ? err.message : String(err))
        return undefined
      }
    }
    case 'remoteJwks':
      refuseUnknown(at.in('remote_jwks'), by.value)
      return decodeRemoteJwks(at.in('remote_jwks'), by.value)
    case undefined:
      at.issue('names no keys')
      return undefined
    default:
      return by satisfies never
  }
}

/** It may make a check stricter. */
function refuseUnknown(at: DecodePath, message: Message): void {
  if (hasUnknown(message)) at.issue('holds what meshlet does not know')
}

/** @returns undefined for one that asks for nothing, and with an issue */
function decodeRequirement(
  at: DecodePath,
  from: XJwtRequirement,
  providers: ReadonlyMap<string, JwtProvider>,
  depth: number,
): JwtRequirement | undefined {
  refuseUnknown(at, from)
  if (depth > MAX_DEPTH) {
    at.issue(`is nested more than ${MAX_DEPTH} deep`)
    return undefined
  }
  const all = (field: string, list: readonly XJwtRequirement[]): JwtRequirement[] =>
    list.flatMap((one, i) => {
      const here = at.in(field).in('requirements').item(i)
      const made = decodeRequirement(here, one, providers, depth + 1)
      if (!made && one.requiresType.case === undefined) here.issue('asks for nothing that meshlet knows')
      return made ?? []
    })
  const provider = (here: DecodePath, name: string): JwtProvider | undefined => {
    const found = providers.get(name)
    if (!found) here.issue('names no provider that can be used')
    return found
  }
  const { requiresType: by } = from
  switch (by.case) {
    case 'providerName': {
      const found = provider(at.in('provider_name'), by.value)
      return found && { kind: 'provider', provider: found }
    }
    case 'providerAndAudiences': {
      const found = provider(at.in('provider_and_audiences').in('provider_name'), by.value.providerName)
      return found && { kind: 'provider', provider: found, audiences: by.value.audiences }
    }
    case 'requiresAny':
      return { kind: 'any', of: all('requires_any', by.value.requirements) }
    case 'requiresAll':
      return { kind: 'all', of: all('requires_all', by.value.requirements) }
    case 'allowMissing':
    case 'allowMissingOrFailed':
      return { kind: 'optional', failed: by.case === 'allowMissingOrFailed' }
    case undefined:
      return undefined
    default:
      return by satisfies never
  }
}
