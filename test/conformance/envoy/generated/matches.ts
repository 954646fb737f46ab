/** What routes and policies ask of a request, by chance, and the words that both are made of. */
import type { JsonObject } from '@bufbuild/protobuf'
import type { Dice } from '../../../fuzz/live/words.ts'

export const SEGMENTS = ['a', 'b', 'ab', 'A', 'api', 'v1', 'a%20b', 'a;x=1', '~a', 'a.b'] as const
export const HOSTS = ['a.test', 'b.test', 'x.a.test', 'y.x.a.test', 'a.other', 'A.test'] as const
export const FIELD_NAMES = ['x-a', 'x-b', 'content-type', 'accept', 'x-forwarded-proto'] as const
export const FIELD_VALUES = ['1', '2', '12', 'abc', 'ABC', '-5', '', 'a,b', '1.5'] as const
export const PARAMETERS = ['q', 'p', 'Q'] as const

const EXPRESSIONS = ['/a.*', '/[ab]+', '/api/v[0-9]', '(?i)/A/B', '/a(/.*)?', '.*b', '/a|/b']

export function chance<T>(dice: Dice, of: number, make: () => T): T | undefined {
  return dice.hits(of) ? make() : undefined
}
/** Without what is undefined. */
export function compact(object: Readonly<Record<string, unknown>>): JsonObject {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as JsonObject
}
export const pathOf = (dice: Dice, most = 3): string => `/${dice.times(most, () => dice.one(SEGMENTS)).join('/')}`

export function stringMatch(
  dice: Dice,
  texts: readonly string[],
  filled = texts.filter((text) => text !== ''),
): JsonObject {
  const way = dice.one(['exact', 'prefix', 'suffix', 'contains', 'safe_regex'] as const)
  if (way === 'safe_regex') return { safe_regex: { regex: dice.one(['[0-9]+', 'a.*', '(?i)abc', '.*']) } }
  const text = dice.one(way === 'exact' ? texts : filled)
  return { [way]: text, ...(dice.hits(0.2) && { ignore_case: true }) }
}
export function headerMatch(dice: Dice): JsonObject {
  const name = dice.one([...FIELD_NAMES, ':method', ':path', ':authority', 'host'])
  const kind = dice.upTo(6)
  return compact({
    name,
    ...(kind < 3 && { string_match: stringMatch(dice, name === ':method' ? ['GET', 'POST'] : FIELD_VALUES) }),
    ...(kind === 3 && { range_match: { start: '-5', end: '3' } }),
    ...(kind === 4 && { present_match: dice.hits(0.7) }),
    invert_match: chance(dice, 0.25, () => true),
    treat_missing_header_as_empty: chance(dice, 0.2, () => true),
  })
}
const TEMPLATE_PARTS = [...SEGMENTS.filter((one) => !one.includes('=')), '*', '*', '{x}', '{y=*}', '{z=a/*}']
/** A path template (Istio's `{*}` is `*`). */
export function templateOf(dice: Dice): JsonObject {
  const parts = [
    ...new Set(dice.times(2, () => dice.one(TEMPLATE_PARTS))),
    ...dice.times(1, () => dice.one(['**', '*'])),
  ]
  return {
    name: 'envoy.path.match.uri_template.uri_template_matcher',
    typed_config: {
      '@type': 'type.googleapis.com/envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig',
      path_template: `/${parts.join('/')}${parts.length > 0 && dice.hits(0.1) ? '/' : ''}`,
    },
  }
}
function parameterMatch(dice: Dice): JsonObject {
  return {
    name: dice.one(PARAMETERS),
    ...(dice.hits(0.7) ? { string_match: stringMatch(dice, FIELD_VALUES) } : { present_match: dice.hits(0.7) }),
  }
}
export function matchOf(dice: Dice): JsonObject {
  const kind = dice.upTo(10)
  const path = pathOf(dice)
  return compact({
    ...(kind < 4 && { prefix: dice.hits(0.3) ? '/' : path }),
    ...(kind >= 4 && kind < 6 && { path }),
    ...(kind >= 6 && kind < 8 && { safe_regex: { regex: dice.one(EXPRESSIONS) } }),
    ...(kind === 8 && { path_separated_prefix: path === '/' || path.endsWith('/') ? '/a' : path }),
    ...(kind > 8 && { path_match_policy: templateOf(dice) }),
    case_sensitive: chance(dice, 0.2, () => false),
    headers: chance(dice, 0.3, () => [headerMatch(dice), ...dice.times(1, () => headerMatch(dice))]),
    query_parameters: chance(dice, 0.2, () => [parameterMatch(dice)]),
    runtime_fraction: chance(dice, 0.05, () => ({ default_value: { numerator: dice.one([0, 100]) } })),
  })
}
