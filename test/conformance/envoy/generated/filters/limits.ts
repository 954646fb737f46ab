/**
 * Rate limits by chance. Those of the node refuse always or never, whatever came before, so that a request can be
 * looked at alone; those of a service do what `x-limit` of the request says.
 */
import type { JsonObject } from '@bufbuild/protobuf'
import type { Dice } from '../../../../fuzz/live/words.ts'
import { chance, compact, headerMatch } from '../matches.ts'

const PACKAGE = 'type.googleapis.com/envoy.extensions.filters.http'
export const LOCAL_LIMIT = 'envoy.filters.http.local_ratelimit'
export const GLOBAL_LIMIT = 'envoy.filters.http.ratelimit'
/** What the service is told to do; it says what it was asked (filters/limit-service.ts). */
export const LIMIT_WORDS = [
  '/ok',
  '/over',
  '/failed',
  '/nothing',
  '/headers',
  '/headers-over',
  '/limits',
  '/limits-over',
  '/body',
  '/refused',
  '/metadata',
] as const

const bucket = (tokens: number): JsonObject => ({ max_tokens: tokens, tokens_per_fill: 1, fill_interval: '3600s' })
const share = (dice: Dice): JsonObject => ({ default_value: { numerator: dice.one([0, 100, 100, 100]) } })
const told = (dice: Dice): string => dice.one(['OFF', 'DRAFT_VERSION_03'])
const additions = (dice: Dice): JsonObject[] => [
  compact({
    header: { key: dice.one(['l-a', 'x-c', 'x-ratelimit-limit']), value: dice.one(['limited', '%REQ(x-a)%', 'b']) },
    append_action: chance(dice, 0.6, () =>
      dice.one(['APPEND_IF_EXISTS_OR_ADD', 'ADD_IF_ABSENT', 'OVERWRITE_IF_EXISTS_OR_ADD']),
    ),
  }),
]
const status = (dice: Dice): JsonObject => ({ code: dice.one([200, 403, 429, 503]) })

/** Two hits of a bucket with one token are always too many. */
function rule(dice: Dice, isOver: boolean): JsonObject {
  const match = { descriptor_value: 'v', headers: [headerMatch(dice)], expect_match: dice.hits(0.7) }
  return compact({
    actions: [{ header_value_match: match }],
    hits_addend: { number: isOver ? 2 : 1 },
    x_ratelimit_option: chance(dice, isOver ? 0.4 : 0, () => told(dice)),
  })
}
function localLimit(dice: Dice): JsonObject {
  const isOver = dice.hits(0.6)
  return compact({
    '@type': `${PACKAGE}.local_ratelimit.v3.LocalRateLimit`,
    stat_prefix: 's',
    token_bucket: bucket(1_000_000),
    filter_enabled: share(dice),
    filter_enforced: share(dice),
    always_consume_default_token_bucket: false,
    descriptors: [{ entries: [{ key: 'header_match', value: 'v' }], token_bucket: bucket(isOver ? 1 : 1_000_000) }],
    rate_limits: [rule(dice, isOver)],
    status: chance(dice, 0.3, () => status(dice)),
    response_headers_to_add: chance(dice, 0.4, () => additions(dice)),
    request_headers_to_add_when_not_enforced: chance(dice, 0.3, () => [{ header: { key: 'x-a', value: 'over' } }]),
  })
}

export function localFilter(dice: Dice): JsonObject {
  return { name: LOCAL_LIMIT, typed_config: localLimit(dice) }
}
const BY_WORD: JsonObject = { request_headers: { header_name: 'x-limit', descriptor_key: 'path' } }
const actions = (dice: Dice): JsonObject[] =>
  dice.times(2, () =>
    dice.one<JsonObject>([
      { generic_key: { descriptor_value: 'g' } },
      { destination_cluster: {} },
      { request_headers: { header_name: 'x-a', descriptor_key: 'a', skip_if_absent: true } },
      { query_parameters: { query_parameter_name: 'q', descriptor_key: 'q', skip_if_absent: true } },
      { header_value_match: { descriptor_value: 'm', headers: [headerMatch(dice)] } },
    ]),
  )
const words = (dice: Dice): JsonObject[] => [
  compact({
    actions: [BY_WORD, ...actions(dice)],
    x_ratelimit_option: chance(dice, 0.3, () => told(dice)),
    hits_addend: chance(dice, 0.2, () => ({ number: 3 })),
  }),
]

export function globalFilter(dice: Dice): JsonObject {
  const typed_config = compact({
    '@type': `${PACKAGE}.ratelimit.v3.RateLimit`,
    domain: 'd',
    timeout: '5s',
    rate_limit_service: {
      transport_api_version: 'V3',
      grpc_service: { envoy_grpc: { cluster_name: 'limits', authority: 'limits.test' } },
    },
    rate_limits: words(dice),
    failure_mode_deny: chance(dice, 0.5, () => true),
    filter_enforced: chance(dice, 0.2, () => share(dice)),
    rate_limited_status: chance(dice, 0.3, () => status(dice)),
    status_on_error: chance(dice, 0.3, () => ({ code: 503 })),
    enable_x_ratelimit_headers: chance(dice, 0.4, () => told(dice)),
    disable_x_envoy_ratelimited_header: chance(dice, 0.3, () => true),
    enable_retry_after_header: chance(dice, 0.4, () => true),
    response_headers_to_add: chance(dice, 0.4, () => additions(dice)),
  })
  return { name: GLOBAL_LIMIT, typed_config }
}

export function limitOverride(dice: Dice): JsonObject {
  if (dice.hits(0.5)) return { [LOCAL_LIMIT]: localLimit(dice) }
  const per = compact({
    '@type': `${PACKAGE}.ratelimit.v3.RateLimitPerRoute`,
    vh_rate_limits: chance(dice, 0.5, () => dice.one(['OVERRIDE', 'INCLUDE', 'IGNORE'])),
    rate_limits: chance(dice, 0.4, () => words(dice)),
    domain: chance(dice, 0.4, () => 'other'),
  })
  return { [GLOBAL_LIMIT]: per }
}
