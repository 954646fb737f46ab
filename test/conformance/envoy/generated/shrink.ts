/** From a configuration and a request that two proxies treat differently to small ones. */
import type { JsonObject, JsonValue } from '@bufbuild/protobuf'
import { AUTHZ } from './filters/authz.ts'
import type { Request } from './requests.ts'
import type { Configuration } from './routes.ts'

export type Case = { readonly configuration: Configuration; readonly request: Request }

/** Lists that may lose any element but the last one. */
const NEVER_EMPTY: ReadonlySet<string> = new Set(['virtual_hosts', 'domains', 'routes', 'permissions', 'principals'])
const MAYBE_EMPTY: ReadonlySet<string> = new Set([
  'filters',
  'headers',
  'query_parameters',
  'request_headers_to_add',
  'request_headers_to_remove',
  'response_headers_to_add',
  'response_headers_to_remove',
])
/** What may be left out of an object, wherever it stands; of the manager everything. */
const OPTIONAL: ReadonlySet<string> = new Set([
  'case_sensitive',
  'runtime_fraction',
  'require_tls',
  'typed_per_filter_config',
  'retry_policy',
  'forward',
  'audiences',
  'forward_payload_header',
  'pad_forward_payload_header',
  'payload_in_metadata',
  'claim_to_headers',
  'clear_route_cache',
  'normalize_payload_in_metadata',
  'subjects',
  'require_expiration',
  'max_lifetime',
  'jwt_cache_config',
  'bypass_cors_preflight',
  'from_params',
  'from_cookies',
  'invert',
  'num_retries',
  'retriable_status_codes',
  'prefix_rewrite',
  'regex_rewrite',
  'host_rewrite_literal',
  'append_x_forwarded_host',
  'append_action',
  'keep_empty_value',
  'invert_match',
  'treat_missing_header_as_empty',
  'ignore_case',
  'ignore_port_in_host_matching',
  'x_ratelimit_option',
  'failure_mode_deny',
  'failure_mode_allow',
  'failure_mode_allow_header_add',
  'filter_enforced',
  'clear_route_cache',
  'authorization_response',
  'status_on_error',
  'rate_limited_status',
  'enable_x_ratelimit_headers',
  'enable_retry_after_header',
  'disable_x_envoy_ratelimited_header',
  'internal_redirect_policy',
  'choose_first',
  'common_config',
  'content_type',
  'min_content_length',
  'disable_on_etag_header',
  'remove_accept_encoding_header',
  'uncompressible_response_codes',
  'strict',
  'status_on_strict_destination_not_found',
  'ttl',
  'attributes',
])

/** Where Envoy wants all of it. */
const WHOLE: ReadonlySet<string> = new Set(['header_value_match'])

/** Every configuration with one thing less. */
export function smallerConfigurations(from: Configuration): Configuration[] {
  const without = (key: keyof Configuration, made: JsonValue): Configuration => ({ ...from, [key]: made })
  const all = [
    ...smaller(from.table).map((made) => without('table', made)),
    ...smaller({ filters: [...from.filters] }).map((made) => without('filters', (made as JsonObject)['filters']!)),
    ...Object.keys(from.manager).map((key) => without('manager', leaveOut(from.manager, key))),
  ]
  return all.filter((one) => one.filters.every(({ name }) => name !== AUTHZ) || isWhole(one.table))
}
/** With ext_authz every request keeps its route (docs/differences.md). */
function isWhole(table: JsonObject): boolean {
  const hosts = table['virtual_hosts'] as { readonly domains: string[]; readonly routes: JsonObject[] }[]
  return (
    hosts.some(({ domains }) => domains.includes('*')) &&
    hosts.every(({ routes }) => routes.at(-1)?.['name'] === 'rest')
  )
}
function smaller(value: JsonValue): JsonValue[] {
  if (Array.isArray(value))
    return value.flatMap((one, i) => smaller(one).map((made) => value.map((other, at) => (at === i ? made : other))))
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([key, inner]): JsonValue[] => [
    ...(OPTIONAL.has(key) ? [leaveOut(value, key)] : []),
    ...shorter(key, inner).map((made) => ({ ...value, [key]: made })),
    ...(WHOLE.has(key) ? [] : smaller(inner).map((made) => ({ ...value, [key]: made }))),
  ])
}
function shorter(key: string, value: JsonValue): JsonValue[] {
  if (!Array.isArray(value)) return []
  const least = NEVER_EMPTY.has(key) ? 1 : MAYBE_EMPTY.has(key) ? 0 : value.length
  return value.length <= least ? [] : value.map((_, i) => value.filter((_other, at) => at !== i))
}
function leaveOut(value: JsonObject, key: string): JsonObject {
  return Object.fromEntries(Object.entries(value).filter(([other]) => other !== key))
}

/** Every request with one thing less. */
export function smallerRequests(from: Request): Request[] {
  const { method, target, host, fields } = from
  const bare = target.replace(/[?#].*/, '')
  return [
    ...(from.body === undefined ? [] : [{ method, target, host, fields }]),
    ...(method === 'GET' ? [] : [{ ...from, method: 'GET' }]),
    ...(bare === target ? [] : [{ ...from, target: bare }]),
    ...(bare === '/' ? [] : [{ ...from, target: bare.replace(/[/][^/]*$/, '') || '/' }]),
    ...(host.includes(':') ? [{ ...from, host: host.replace(/:.*/, '') }] : []),
    ...fields.map((_, i) => ({ ...from, fields: fields.filter((_other, at) => at !== i) })),
  ]
}
