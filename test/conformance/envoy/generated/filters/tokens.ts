/** jwt_authn filters and tokens by chance: two issuers, whose tokens are good or wrong in one way. */
import type { JsonObject } from '@bufbuild/protobuf'
import type { Dice } from '../../../../fuzz/live/words.ts'
import { createKey, createToken, part } from '../../../../helpers/jwt.ts'
import { chance, compact, pathOf } from '../matches.ts'

const PACKAGE = 'type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3'
export const JWT = 'envoy.filters.http.jwt_authn'

const ISSUERS = ['one', 'two'] as const
const KEYS = { one: createKey('ES256', 'a'), two: createKey('RS256', 'b') }
const FOREIGN = createKey('ES256', 'a')

function provider(dice: Dice, issuer: keyof typeof KEYS): JsonObject {
  const isDefault = dice.hits(0.5)
  return compact({
    issuer,
    local_jwks: { inline_string: JSON.stringify({ keys: [KEYS[issuer].jwk] }) },
    audiences: chance(dice, 0.4, () => [dice.one(['x', 'y'])]),
    forward: chance(dice, 0.5, () => true),
    from_headers: isDefault ? undefined : [{ name: 'x-jwt', value_prefix: dice.one(['', 'jwt ']) }],
    from_params: isDefault ? undefined : chance(dice, 0.5, () => ['jwt']),
    from_cookies: isDefault ? undefined : chance(dice, 0.5, () => ['jwt']),
    forward_payload_header: chance(dice, 0.3, () => 'x-payload'),
    pad_forward_payload_header: chance(dice, 0.3, () => true),
    payload_in_metadata: chance(dice, 0.7, () => 'payload'),
    claim_to_headers: chance(dice, 0.4, () => [
      { header_name: 'x-claim', claim_name: dice.one(['sub', 'n', 'deep.er', 'list', 'flag', 'none']) },
    ]),
    clear_route_cache: chance(dice, 0.4, () => true),
    normalize_payload_in_metadata: chance(dice, 0.4, () => ({ space_delimited_claims: ['scope'] })),
    subjects: chance(dice, 0.2, () => ({ prefix: 'al' })),
    require_expiration: chance(dice, 0.2, () => true),
    max_lifetime: chance(dice, 0.2, () => '3600s'),
    jwt_cache_config: chance(dice, 0.3, () => ({})),
  })
}
/** Each provider once: what Envoy makes of a second look at a token that it has taken out is nobody's business. */
function requirement(dice: Dice): JsonObject {
  const of = (provider_name: string): JsonObject =>
    dice.hits(0.8) ? { provider_name } : { provider_and_audiences: { provider_name, audiences: ['y'] } }
  const both = dice.hits(0.5) ? [of('one'), of('two')] : [of('two'), of('one')]
  switch (dice.upTo(5)) {
    case 0:
    case 1:
      return of(dice.one(ISSUERS))
    case 2:
      return { requires_all: { requirements: both } }
    case 3:
      return { requires_any: { requirements: both } }
    default: {
      // As istiod has it: what may be missing stands beside its providers, at the top.
      const optional = { [dice.one(['allow_missing', 'allow_missing', 'allow_missing_or_failed'])]: {} }
      return { requires_any: { requirements: [...both.slice(dice.upTo(2)), optional] } }
    }
  }
}
export function jwtFilter(dice: Dice): JsonObject {
  const rule = (): JsonObject =>
    compact({
      match: { prefix: dice.hits(0.7) ? '/' : pathOf(dice, 1) },
      ...(dice.hits(0.8) ? { requires: requirement(dice) } : { requirement_name: 'named' }),
    })
  const config = compact({
    '@type': `${PACKAGE}.JwtAuthentication`,
    providers: { one: provider(dice, 'one'), two: provider(dice, 'two') },
    rules: [rule(), ...dice.times(1, rule)],
    requirement_map: { named: requirement(dice) },
    bypass_cors_preflight: chance(dice, 0.3, () => true),
  })
  return { name: JWT, typed_config: config }
}
export function jwtOverride(dice: Dice): JsonObject {
  const own = dice.hits(0.4) ? { disabled: true } : { requirement_name: dice.one(['named', 'named', 'nobody']) }
  return { [JWT]: { '@type': `${PACKAGE}.PerRouteConfig`, ...own } }
}
/** As rules about requestPrincipals and request.auth.claims become. */
export function claimMatch(dice: Dice): JsonObject {
  const exact = (text: string): JsonObject => ({ string_match: { exact: text } })
  const [claim, value] = dice.one([
    ['sub', exact('alice')],
    ['iss', { string_match: { prefix: 'o' } }],
    ['scope', { list_match: { one_of: exact('read') } }],
    ['list', { list_match: { one_of: { string_match: { suffix: 'b' } } } }],
    ['list', { or_match: { value_matchers: [exact('b'), { list_match: { one_of: exact('b') } }] } }],
    ['n', { double_match: { range: { start: 1, end: 3 } } }],
    ['n', { double_match: { exact: 2 } }],
    ['flag', { bool_match: true }],
    ['none', { present_match: dice.hits(0.5) }],
    ['sub', { present_match: true }],
  ] as const)
  const path = ['payload', ...(dice.hits(0.1) ? ['deep', 'er'] : [claim])].map((key) => ({ key }))
  return compact({ filter: JWT, path, value, invert: chance(dice, 0.2, () => true) })
}

const DAY_SEC = 86_400
function tokenBy(dice: Dice): string {
  const now = Math.floor(Date.now() / 1000)
  const issuer = dice.one(ISSUERS)
  const claims = {
    iss: issuer,
    sub: dice.one(['alice', 'bob']),
    aud: dice.one(['x', 'y', ['x', 'y'], 'z']),
    exp: now + dice.one([600, DAY_SEC]),
    scope: 'read write',
    n: 2,
    flag: true,
    list: ['a', 'b'],
    deep: { er: 'down' },
  }
  switch (dice.upTo(12)) {
    case 0:
      return createToken(KEYS[issuer], { ...claims, exp: now - DAY_SEC })
    case 1:
      return createToken(KEYS[issuer], { ...claims, nbf: now + DAY_SEC })
    case 2:
      return createToken(KEYS[issuer], { ...claims, iss: 'nobody' })
    case 3:
      return createToken(FOREIGN, { ...claims, aud: ['x', 'y'] })
    case 4:
      return dice.one(['no token', 'a.b.c', `${part({ alg: 'none' })}.${part(claims)}.`])
    case 5:
      return createToken(KEYS[issuer], { ...claims, exp: undefined })
    default:
      return createToken(KEYS[issuer], claims)
  }
}
/** A token in one of the places; undefined: none. */
export function tokenOf(dice: Dice): { readonly field?: [string, string]; readonly query?: string } | undefined {
  const token = tokenBy(dice)
  switch (dice.upTo(8)) {
    case 0:
    case 1:
      return { field: ['authorization', `Bearer ${token}`] }
    case 2:
      return { field: ['x-jwt', `${dice.one(['', 'jwt '])}${token}`] }
    case 3:
      return { query: `${dice.one(['access_token', 'jwt'])}=${encodeURIComponent(token)}` }
    case 4:
      return { field: ['cookie', `a=1; jwt=${token}`] }
    default:
      return undefined
  }
}
