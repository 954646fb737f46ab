/** Route tables by chance: what istiod, and whoever writes Envoy's format by hand, may ask of HTTP/1.1 routing. */
import type { JsonObject } from '@bufbuild/protobuf'
import type { Dice } from '../../../fuzz/live/words.ts'
import { corsFilter, corsPolicy } from './filters/cors.ts'
import { localReplies } from './local-replies.ts'
import { chance, compact, matchOf } from './matches.ts'
import { claimMatch, jwtFilter, jwtOverride } from './filters/tokens.ts'
import { mutationFilter, mutationOverride } from './filters/mutations.ts'
import { authzFilter, authzOverride } from './filters/authz.ts'
import { globalFilter, limitOverride, localFilter } from './filters/limits.ts'
import { compressorOverride, compressors } from './filters/compression.ts'
import { sessionFilter, sessionOverride } from './filters/sessions.ts'
import { rbacFilter, rbacOverride } from './filters/policies.ts'

/** A listener's connection manager, with its filters and its route table apart. */
export type Configuration = {
  readonly manager: JsonObject
  /** Those before the router. */
  readonly filters: readonly JsonObject[]
  /** What the router is told. */
  readonly router?: JsonObject
  readonly table: JsonObject
}

const DOMAINS = ['a.test', 'b.test', '*.a.test', '*.test', 'a.*', 'x.a.*', 'a.test:8080', 'Y.x.a.test', '*']

/** What `cluster_header` names, beside what there is not. */
export const CLUSTERS = ['origin', 'gone'] as const

const SUBSTITUTIONS = [
  { pattern: { regex: '^/a' }, substitution: '/z' },
  { pattern: { regex: '/([^/?]+)/([^/?]+)' }, substitution: '/\\2/\\1' },
  { pattern: { regex: 'b' }, substitution: '' },
  { pattern: { regex: '[?]' }, substitution: '!' },
]
const RETRIES = ['5xx', 'gateway-error', 'reset', 'connect-failure', 'retriable-4xx', 'retriable-status-codes']
const RARE_RETRIES = ['envoy-ratelimited', 'reset-before-request', 'refused-stream']
function retryPolicy(dice: Dice): JsonObject {
  return compact({
    retry_on: [dice.one(RETRIES), ...dice.times(2, () => dice.one([...RETRIES, ...RARE_RETRIES]))].join(','),
    num_retries: chance(dice, 0.7, () => dice.upTo(4)),
    retriable_status_codes: chance(dice, 0.4, () => [dice.one([429, 500, 503])]),
    retry_back_off: { base_interval: '0.001s', max_interval: '0.002s' },
  })
}
function forwardOf(dice: Dice, plain: boolean): JsonObject {
  const path = dice.upTo(6)
  const host = dice.upTo(8)
  const isFlaky = dice.hits(0.4)
  const cluster = dice.upTo(18)
  return compact({
    ...(cluster < 16 && { cluster: isFlaky ? 'flaky' : 'origin' }),
    ...(cluster === 16 && { cluster: 'gone' }),
    ...(cluster === 17 && { cluster_header: 'x-b' }),
    cluster_not_found_response_code: chance(dice, 0.3, () => dice.one(['NOT_FOUND', 'INTERNAL_SERVER_ERROR'])),
    timeout: chance(dice, 0.2, () => dice.one(['0s', '7s'])),
    retry_policy: chance(dice, isFlaky ? 0.7 : 0, () => retryPolicy(dice)),
    ...(path === 0 && !plain && { prefix_rewrite: dice.one(['/', '/z', '/z/', '/a/b']) }),
    ...(path === 1 && { regex_rewrite: dice.one(SUBSTITUTIONS) }),
    ...(host === 0 && { host_rewrite_literal: 'c.test' }),
    ...(host === 1 && { host_rewrite_header: 'x-a' }),
    ...(host === 2 && {
      host_rewrite_path_regex: { pattern: { regex: '^/([a-z]+).*' }, substitution: '\\1.test' },
    }),
    ...(host === 3 && { auto_host_rewrite: dice.hits(0.8) }),
    append_x_forwarded_host: chance(dice, 0.2, () => true),
    internal_redirect_policy: chance(dice, isFlaky ? 0.4 : 0, () => internalRedirects(dice)),
  })
}
function internalRedirects(dice: Dice): JsonObject {
  return compact({
    // Whether `x-forwarded-proto: HTTPS` is another scheme than http is not asked here.
    allow_cross_scheme_redirect: true,
    max_internal_redirects: chance(dice, 0.5, () => dice.one([0, 1, 3])),
    redirect_response_codes: chance(dice, 0.5, () => [307]),
    response_headers_to_copy: chance(dice, 0.3, () => ['r-a', 'x-b']),
  })
}
function redirectOf(dice: Dice, plain: boolean): JsonObject {
  const port = chance(dice, 0.3, () => dice.one([80, 443, 8443]))
  const path = dice.upTo(4)
  const scheme = dice.upTo(4)
  return compact({
    ...(scheme === 0 && { https_redirect: true }),
    ...(scheme === 1 && { scheme_redirect: dice.one(['http', 'https']) }),
    host_redirect: chance(dice, 0.4, () => dice.one(port === undefined ? ['c.test', 'c.test:81'] : ['c.test'])),
    port_redirect: port,
    ...(path === 0 && { path_redirect: dice.one(['/p', '/p?r=1']) }),
    ...(path === 1 && !plain && { prefix_rewrite: dice.one(['/', '/z', '/z/']) }),
    ...(path === 2 && { regex_rewrite: dice.one(SUBSTITUTIONS) }),
    response_code: chance(dice, 0.4, () =>
      dice.one(['FOUND', 'SEE_OTHER', 'TEMPORARY_REDIRECT', 'PERMANENT_REDIRECT']),
    ),
    strip_query: chance(dice, 0.3, () => true),
  })
}
const TEXTS = ['new', '%REQ(x-a)%', '<%REQ(x-b?x-a):3%>', '%PROTOCOL%', '100%%', '%REQ(:method)%', '%ROUTE_NAME%']
function additions(dice: Dice): JsonObject[] {
  return dice.times(2, () =>
    compact({
      header: { key: dice.one(['x-a', 'x-c', 'X-D', 'www-authenticate']), value: dice.one(TEXTS) },
      append_action: chance(dice, 0.7, () =>
        dice.one(['APPEND_IF_EXISTS_OR_ADD', 'ADD_IF_ABSENT', 'OVERWRITE_IF_EXISTS_OR_ADD', 'OVERWRITE_IF_EXISTS']),
      ),
      keep_empty_value: chance(dice, 0.2, () => true),
    }),
  )
}
function mutations(dice: Dice, often: number): JsonObject {
  return compact({
    request_headers_to_add: chance(dice, often, () => additions(dice)),
    request_headers_to_remove: chance(dice, often / 2, () => [dice.one(['x-a', 'X-B', 'accept'])]),
    response_headers_to_add: chance(dice, often, () => additions(dice)),
    response_headers_to_remove: chance(dice, often / 2, () => [dice.one(['r-a', 'R-B', 'server'])]),
  })
}
function override(dice: Dice): JsonObject {
  return {
    ...(dice.hits(0.7) ? rbacOverride(dice) : jwtOverride(dice)),
    ...(dice.hits(0.6) && corsPolicy(dice)),
    ...(dice.hits(0.5) && mutationOverride(dice)),
    ...(dice.hits(0.3) && limitOverride(dice)),
    ...(dice.hits(0.1) && authzOverride()),
    ...(dice.hits(0.3) && compressorOverride(dice)),
    ...(dice.hits(0.2) && sessionOverride(dice)),
  }
}
function routeOf(dice: Dice, i: number, hasPolicies: boolean): JsonObject {
  const kind = dice.upTo(8)
  const match = { ...matchOf(dice), ...(dice.hits(0.1) && { dynamic_metadata: [claimMatch(dice)] }) }
  return compact({
    name: `r${i}`,
    match,
    ...(kind < 5 && { route: forwardOf(dice, 'safe_regex' in match || 'path_match_policy' in match) }),
    ...(kind >= 5 && kind < 7 && { redirect: redirectOf(dice, 'path_match_policy' in match) }),
    ...(kind === 7 && {
      direct_response: { status: dice.one([200, 404, 429, 503]), body: { inline_string: `direct ${i}` } },
    }),
    ...mutations(dice, 0.2),
    typed_per_filter_config: chance(dice, hasPolicies ? 0.25 : 0, () => override(dice)),
  })
}
/** `isWhole`: every request has a route, so that ext_authz is asked (docs/differences.md). */
type Kind = { readonly hasPolicies: boolean; readonly isWhole: boolean }
function hostOf(dice: Dice, i: number, left: string[], { hasPolicies, isWhole }: Kind): JsonObject {
  const own = [i, ...dice.times(2, () => 0)].flatMap(() => left.splice(dice.upTo(left.length), 1))
  const domains = isWhole && i === 0 && !own.includes('*') ? [...own, '*'] : own
  return compact({
    name: `v${i}`,
    domains,
    routes: [
      ...[1, ...dice.times(4, () => 1)].map((_, at) => routeOf(dice, at, hasPolicies)),
      ...(isWhole || dice.hits(0.7) ? [{ name: 'rest', match: { prefix: '/' }, route: forwardOf(dice, false) }] : []),
    ],
    retry_policy: chance(dice, 0.1, () => retryPolicy(dice)),
    require_tls: chance(dice, 0.05, () => dice.one(['ALL', 'EXTERNAL_ONLY'])),
    ...mutations(dice, 0.15),
    typed_per_filter_config: chance(dice, hasPolicies ? 0.2 : 0, () => override(dice)),
  })
}
const ESCAPED = ['KEEP_UNCHANGED', 'REJECT_REQUEST', 'UNESCAPE_AND_FORWARD', 'UNESCAPE_AND_REDIRECT']
function managerOf(dice: Dice): JsonObject {
  return compact({
    local_reply_config: chance(dice, 0.3, () => localReplies(dice)),
    via: chance(dice, 0.15, () => 'proxy'),
    server_name: chance(dice, 0.15, () => 'someone'),
    server_header_transformation: chance(dice, 0.3, () => dice.one(['OVERWRITE', 'APPEND_IF_ABSENT', 'PASS_THROUGH'])),
    normalize_path: chance(dice, 0.5, () => true),
    merge_slashes: chance(dice, 0.5, () => true),
    path_with_escaped_slashes_action: chance(dice, 0.4, () => dice.one(ESCAPED)),
    strip_any_host_port: chance(dice, 0.2, () => true),
    strip_trailing_host_dot: chance(dice, 0.2, () => true),
    use_remote_address: chance(dice, 0.3, () => true),
    xff_num_trusted_hops: chance(dice, 0.2, () => dice.one([1, 2])),
    skip_xff_append: chance(dice, 0.1, () => true),
    append_x_forwarded_port: chance(dice, 0.1, () => true),
    preserve_external_request_id: chance(dice, 0.1, () => true),
    common_http_protocol_options: chance(dice, 0.2, () => ({
      headers_with_underscores_action: dice.one(['ALLOW', 'REJECT_REQUEST', 'DROP_HEADER']),
    })),
  })
}

function shuffle<T>(dice: Dice, all: readonly T[]): readonly T[] {
  return dice.hits(0.5) ? all : all.toReversed()
}

export function configurationOf(dice: Dice): Configuration {
  const ignoresPort = dice.hits(0.2)
  const asks = dice.hits(0.3)
  const left = DOMAINS.filter((domain) => (!ignoresPort || !domain.includes(':')) && !(asks && domain === '*'))
  // In front of filters that ask about the request, or behind.
  const mutates = dice.upTo(5)
  const filters = [
    ...(mutates === 0 ? [mutationFilter(dice, true)] : []),
    ...(dice.hits(0.4) ? [jwtFilter(dice)] : []),
    ...(asks ? [authzFilter(dice)] : []),
    ...(dice.hits(0.5) ? [rbacFilter(dice)] : []),
    ...(dice.hits(0.5) ? [corsFilter()] : []),
    // In front of filters that say the type of an answer (docs/differences.md).
    ...shuffle(dice, [...(dice.hits(0.3) ? compressors(dice) : []), ...(dice.hits(0.3) ? [sessionFilter(dice)] : [])]),
    ...shuffle(dice, [...(dice.hits(0.3) ? [localFilter(dice)] : []), ...(dice.hits(0.3) ? [globalFilter(dice)] : [])]),
    ...(mutates === 1 ? [mutationFilter(dice, false)] : []),
  ]
  return {
    manager: managerOf(dice),
    filters,
    ...(dice.hits(0.2) && { router: { suppress_envoy_headers: true } }),
    table: compact({
      name: 'r',
      virtual_hosts: [1, ...dice.times(2, () => 1)].map((_, i) =>
        hostOf(dice, i, left, { hasPolicies: filters.length > 0, isWhole: asks }),
      ),
      ignore_port_in_host_matching: ignoresPort,
      validate_clusters: false,
      most_specific_header_mutations_wins: chance(dice, 0.3, () => true),
      ...mutations(dice, 0.1),
      typed_per_filter_config: chance(dice, filters.length > 0 ? 0.3 : 0, () => corsPolicy(dice)),
    }),
  }
}
