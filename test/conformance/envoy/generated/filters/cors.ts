/** CORS policies by chance, on a table, a virtual host or a route, and the origins that requests come from. */
import type { JsonObject } from '@bufbuild/protobuf'
import type { Dice } from '../../../../fuzz/live/words.ts'
import { chance, compact } from '../matches.ts'

const PACKAGE = 'type.googleapis.com/envoy.extensions.filters.http.cors.v3'
export const ORIGINS = ['http://o', 'https://o.test', 'https://a.o.test', 'null', 'http://else'] as const

export const CORS = 'envoy.filters.http.cors'
export function corsFilter(): JsonObject {
  return { name: CORS, typed_config: { '@type': `${PACKAGE}.Cors` } }
}

const share = (dice: Dice): JsonObject => ({ default_value: { numerator: dice.one([0, 100, 100]) } })
const origin = (dice: Dice): JsonObject =>
  dice.one<JsonObject>([
    { exact: dice.one(ORIGINS) },
    { exact: '*' },
    { prefix: 'https://' },
    { suffix: '.test' },
    { safe_regex: { regex: 'https://([a-z]+[.])?o[.]test' } },
  ])
export function corsPolicy(dice: Dice): JsonObject {
  return {
    [CORS]: compact({
      '@type': `${PACKAGE}.CorsPolicy`,
      allow_origin_string_match: chance(dice, 0.8, () => [origin(dice), ...dice.times(1, () => origin(dice))]),
      allow_methods: chance(dice, 0.5, () => dice.one(['GET,PUT', '*'])),
      allow_headers: chance(dice, 0.5, () => dice.one(['x-a', '*'])),
      expose_headers: chance(dice, 0.3, () => 'r-a'),
      max_age: chance(dice, 0.3, () => '60'),
      allow_credentials: chance(dice, 0.4, () => dice.hits(0.6)),
      allow_private_network_access: chance(dice, 0.3, () => dice.hits(0.6)),
      forward_not_matching_preflights: chance(dice, 0.4, () => dice.hits(0.4)),
      filter_enabled: chance(dice, 0.3, () => share(dice)),
      shadow_enabled: chance(dice, 0.2, () => share(dice)),
    }),
  }
}
