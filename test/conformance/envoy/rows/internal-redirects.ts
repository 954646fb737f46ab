/** Redirects that the proxy follows itself (internal_redirect_policy). */
import type http from 'node:http'
import type { JsonObject } from '@bufbuild/protobuf'
import type { FilterRow } from './filter-row.ts'

const type = (name: string): string => `type.googleapis.com/envoy.${name}`
/** What the endpoint says is asked for in the path: /go?status=302&to=URL. */
export const answerRedirects: http.RequestListener = (request, response) => {
  const query = new URL(request.url!, 'http://a').searchParams
  const to = query.get('to')
  if (to === null) {
    response.end('hi')
    return
  }
  response.writeHead(Number(query.get('status') ?? 302), { location: to, 'x-copied': '1', 'content-length': '2' })
  response.end('no')
}
const go = (to: string, status = 302): string => `/go?status=${status}&to=${encodeURIComponent(to)}`

type Case = {
  readonly name: string
  readonly policy?: JsonObject
  readonly to: string
  readonly status?: number
  readonly ask?: FilterRow['ask']
  readonly routes?: readonly JsonObject[]
  readonly host?: JsonObject
}
const predicate = (name: string, config: JsonObject = {}): JsonObject => ({
  name,
  typed_config: {
    '@type': type(
      `extensions.internal_redirect.${name}.v3.${name.replaceAll(/(?:^|_)(.)/g, (_, c: string) => c.toUpperCase())}Config`,
    ),
    ...config,
  },
})
const at = (name: string, path = '/end'): string => `http://${name}${path}`
const named = (policy: JsonObject): readonly JsonObject[] => [
  { name: 'end', match: { prefix: '/end' }, route: { cluster: 'origin' } },
  { name: 'go', match: { prefix: '/' }, route: { cluster: 'origin', internal_redirect_policy: policy } },
]

const CASES: readonly Case[] = [
  { name: 'follow', to: at('follow') },
  { name: 'follow-query', to: at('follow-query', '/end?a=b') },
  { name: 'follow-fragment', to: at('follow-fragment', '/end#part') },
  { name: 'follow-root', to: at('follow-root', '') },
  { name: 'follow-dots', to: at('follow-dots', '/a/../end') },
  { name: 'follow-capital', to: 'HTTP://follow-capital/end' },
  { name: 'relative', to: '/end' },
  { name: 'no-url', to: 'http://' },
  { name: 'other-host', to: at('nobody') },
  { name: 'other-scheme', to: 'https://other-scheme/end' },
  { name: 'cross', policy: { allow_cross_scheme_redirect: true }, to: 'https://cross/end' },
  {
    name: 'safe-cross',
    policy: { allow_cross_scheme_redirect: true, predicates: [predicate('safe_cross_scheme')] },
    to: 'https://safe-cross/end',
  },
  { name: 'status-301', to: at('status-301'), status: 301 },
  { name: 'status-listed', policy: { redirect_response_codes: [301, 307] }, to: at('status-listed'), status: 307 },
  { name: 'status-not-listed', policy: { redirect_response_codes: [301] }, to: at('status-not-listed') },
  { name: 'twice', to: at('twice', go(at('twice'))) },
  {
    name: 'twice-permitted',
    policy: { max_internal_redirects: 2 },
    to: at('twice-permitted', go(at('twice-permitted'))),
  },
  { name: 'never', policy: { max_internal_redirects: 0 }, to: at('never') },
  {
    name: 'copies',
    policy: { response_headers_to_copy: ['x-copied', 'x-gone'] },
    to: at('copies'),
    ask: { fields: [['x-gone', '1']] },
  },
  { name: 'post', to: at('post'), ask: { method: 'POST', body: 'body' } },
  {
    name: 'post-303',
    policy: { redirect_response_codes: [303] },
    to: at('post-303'),
    status: 303,
    ask: { method: 'POST', body: 'body' },
  },
  {
    name: 'post-307',
    policy: { redirect_response_codes: [307] },
    to: at('post-307'),
    status: 307,
    ask: { method: 'PUT', body: 'body' },
  },
  {
    name: 'head-303',
    policy: { redirect_response_codes: [303] },
    to: at('head-303'),
    status: 303,
    ask: { method: 'HEAD' },
  },
  {
    name: 'listed',
    policy: { predicates: [predicate('allow_listed_routes', { allowed_route_names: ['end'] })] },
    to: at('listed'),
  },
  {
    name: 'not-listed',
    policy: { predicates: [predicate('allow_listed_routes', { allowed_route_names: ['other'] })] },
    to: at('not-listed'),
  },
  {
    name: 'previous',
    policy: { max_internal_redirects: 5, predicates: [predicate('previous_routes')] },
    to: at('previous', go(at('previous', go(at('previous'))))),
  },
  {
    name: 'to-denied',
    to: at('to-denied', '/denied'),
    routes: [{ match: { prefix: '/denied' }, direct_response: { status: 403, body: { inline_string: 'no' } } }],
  },
  {
    name: 'to-redirect',
    to: at('to-redirect', '/moved'),
    routes: [{ match: { prefix: '/moved' }, redirect: { path_redirect: '/p' } }],
  },
]

export const INTERNAL_REDIRECTS: readonly FilterRow[] = CASES.map(
  ({ name, policy = {}, to, status, ask, routes = [] }) => ({
    name,
    host: { routes: [...routes, ...named(policy)] },
    ask: { path: go(to, status), ...ask },
    told: ['location'],
    saw: ['x-envoy-original-url', 'x-copied', 'x-gone', 'content-length'],
  }),
)
