import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { JsonObject, JsonValue } from '@bufbuild/protobuf'
import { T, route, table, first, problems, to } from './route-rig.ts'

const toOneOfSeveral = (said: JsonObject): JsonObject => ({
  route: { weighted_clusters: { clusters: [{ name: 'a', weight: 1, typed_per_filter_config: { f: said } }] } },
})

for (const { name, match, want } of [
  { name: 'prefix', match: { prefix: '/a' }, want: { kind: 'prefix', value: '/a' } },
  { name: 'path', match: { path: '/a' }, want: { kind: 'exact', value: '/a' } },
  {
    name: 'path_separated_prefix',
    match: { path_separated_prefix: '/a' },
    want: { kind: 'separated-prefix', value: '/a' },
  },
  { name: 'connect_matcher', match: { connect_matcher: {} }, want: { kind: 'connect' } },
])
  test(`path match: ${name}`, () => assert.deepEqual(first({ ...to(), match }).match.path, want))
test('path_match_policy: the whole path is what the template says; another extension is refused', () => {
  const policy = (type: string, config: JsonObject): JsonObject => ({
    ...to(),
    match: { path_match_policy: { name: 'n', typed_config: { '@type': `type.googleapis.com/${type}`, ...config } } },
  })
  const template = 'envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig'
  const { path } = first(policy(template, { path_template: '/a/*' })).match
  assert.ok(path.kind === 'regex')
  assert.deepEqual([path.regex.matchesAll('/a/b'), path.regex.matchesAll('/a/b/c')], [true, false])
  for (const refused of [
    policy(template, { path_template: 'a' }),
    policy('envoy.extensions.filters.http.cors.v3.Cors', {}),
  ])
    assert.equal(first(refused).action.kind, 'blocked')
})
test('match conditions: case, headers, query, gRPC, fraction', () => {
  const { match } = first({
    ...to(),
    match: {
      prefix: '/',
      case_sensitive: false,
      grpc: {},
      runtime_fraction: { default_value: { numerator: 25, denominator: 'HUNDRED' } },
      headers: [
        { name: 'X-A', present_match: false },
        { name: 'b', range_match: { start: '1', end: '9' }, invert_match: true },
      ],
      query_parameters: [{ name: 'q', string_match: { exact: '1' } }],
    },
  })
  assert.deepEqual([match.caseSensitive, match.grpc, match.fraction], [false, true, 0.25])
  assert.deepEqual(match.headers, [
    { name: 'x-a', test: { kind: 'absent' }, invert: false, missingAsEmpty: false },
    { name: 'b', test: { kind: 'range', start: 1n, end: 9n }, invert: true, missingAsEmpty: false },
  ])
  assert.equal(match.query[0]!.test.kind, 'string')
})
for (const { name, r, problem } of [
  {
    name: 'weights of 0',
    r: { route: { weighted_clusters: { clusters: [{ name: 'a' }] } } },
    problem: /weights must add up/,
  },
  {
    name: 'a line break in a header value',
    r: { ...to(), request_headers_to_add: [{ header: { key: 'a', value: 'x\r\ny: z' } }] },
    problem: /header\.value: contains a line break/,
  },
  {
    name: 'a header name that is none',
    r: { ...to(), request_headers_to_remove: ['a b'] },
    problem: /request_headers_to_remove\[0\]: is no header name/,
  },
  {
    name: 'a condition on the client certificate',
    r: { ...to(), match: { prefix: '/', tls_context: { presented: true } } },
    problem: /match\.tls_context: is not supported/,
  },
  { name: 'no path', r: { ...to(), match: {} }, problem: /match: has no path specifier/ },
  {
    name: 'a pattern that backtracks nowhere: RE2 only',
    r: { ...to(), match: { safe_regex: { regex: '(?=x)' } } },
    problem: /safe_regex\.regex/,
  },
  {
    name: 'a direct response of status 99',
    r: { direct_response: { status: 99 } },
    problem: /direct_response\.status/,
  },
  {
    name: 'a policy for one of several clusters',
    r: {
      route: {
        weighted_clusters: {
          clusters: [
            {
              name: 'a',
              weight: 1,
              typed_per_filter_config: {
                'envoy.filters.http.rbac': { '@type': `${T}.filters.http.rbac.v3.RBACPerRoute` },
              },
            },
          ],
        },
      },
    },
    problem: /clusters\[0\]\.typed_per_filter_config\[envoy\.filters\.http\.rbac\]: is not supported here/,
  },
  ...(
    [
      ['jwt_authn.v3.PerRouteConfig', { requirement_name: 'strict' }],
      ['ext_authz.v3.ExtAuthzPerRoute', { check_settings: { context_extensions: { a: 'b' } } }],
      ['local_ratelimit.v3.LocalRateLimit', { stat_prefix: 'l' }],
      ['ratelimit.v3.RateLimitPerRoute', {}],
      ['header_mutation.v3.HeaderMutationPerRoute', {}],
      ['buffer.v3.BufferPerRoute', { disabled: true }],
    ] satisfies [string, JsonObject][]
  ).map(([type, config]) => ({
    name: `what one of several clusters says to a filter that refuses or takes away: ${type}`,
    r: toOneOfSeveral({ '@type': `${T}.filters.http.${type}`, ...config }),
    problem: /clusters\[0\]\.typed_per_filter_config\[f\]: is not supported here/,
  })),
  {
    name: 'the same as a TypedStruct',
    r: toOneOfSeveral({
      '@type': 'type.googleapis.com/xds.type.v3.TypedStruct',
      type_url: `${T}.filters.http.rbac.v3.RBACPerRoute`,
      value: {},
    }),
    problem: /clusters\[0\]\.typed_per_filter_config\[f\]: is not supported here/,
  },
  { name: 'a negative timeout', r: to({ timeout: '-1s' }), problem: /timeout: a duration may not be negative/ },
])
  test(`refused with its path: ${name}`, () => assert.match(problems(r).join('\n'), problem))
test('what one of several clusters says to a filter that refuses nobody is left out, and the route serves', () => {
  const r = toOneOfSeveral({ '@type': `${T}.filters.http.fault.v3.HTTPFault` })
  assert.deepEqual([problems(r), first(r).action.kind], [[], 'forward'])
})
test('internal_only_headers are taken in lower case', () =>
  assert.deepEqual(table(to(), {}, { internal_only_headers: ['X-Internal'] }).internalOnly, ['x-internal']))
test("require_tls: of everybody, for nobody is internal (Envoy's default)", () => {
  assert.deepEqual(
    ['NONE', 'EXTERNAL_ONLY', 'ALL'].map((require_tls) => table(to(), { require_tls }).virtualHosts[0]!.requireTls),
    [false, true, true],
  )
})
test('domains are compared in lower case', () => assert.deepEqual(table(to()).virtualHosts[0]!.domains, ['a.example']))

const perRoute = {
  '@type': `${T}.filters.http.rbac.v3.RBACPerRoute`,
  rbac: { rules: { action: 'DENY', policies: {} } },
}
test('RBAC per route: the nearest of table, host and route counts; an empty one switches the filter off', () => {
  const key = 'envoy.filters.http.rbac'
  const policyAt = (...of: Parameters<typeof route>): unknown => {
    const said = first(...of).filters?.get(key)
    return said && (said.off ? 'off' : said.policy?.value ? said.policy.value.action : said.policy && 'none')
  }
  assert.equal(policyAt(to()), undefined)
  assert.equal(policyAt(to(), {}, { typed_per_filter_config: { [key]: perRoute } }), 'deny')
  assert.equal(
    policyAt(
      { ...to(), typed_per_filter_config: { [key]: { '@type': `${T}.filters.http.rbac.v3.RBACPerRoute` } } },
      { typed_per_filter_config: { [key]: perRoute } },
    ),
    'none',
  )
  assert.equal(
    policyAt({
      ...to(),
      typed_per_filter_config: {
        [key]: { '@type': 'type.googleapis.com/envoy.config.route.v3.FilterConfig', disabled: true },
      },
    }),
    'off',
  )
})
test('RBAC per route for another filter name is for the filter of that name', () => {
  const { filters } = first({
    ...to(),
    typed_per_filter_config: { other: { '@type': `${T}.filters.http.rbac.v3.RBACPerRoute` } },
  })
  assert.deepEqual([...(filters ?? [])], [['other', { off: false, policy: { value: undefined } }]])
})
test('faults: a share that is not given is 0 (Envoy), hundredths and millionths are understood', () => {
  const fault = (f: JsonObject): unknown =>
    first({
      ...to(),
      typed_per_filter_config: {
        'envoy.filters.http.fault': { '@type': `${T}.filters.http.fault.v3.HTTPFault`, ...f },
      },
    }).filters?.get('envoy.filters.http.fault')?.fault?.value
  assert.equal(fault({}), undefined)
  assert.deepEqual(
    fault({
      abort: { http_status: 503, percentage: { numerator: 10_000, denominator: 'MILLION' } },
      delay: { fixed_delay: '2s' },
    }),
    {
      delay: { ms: 2_000, fraction: 0 },
      abort: { status: 503, grpcStatus: undefined, fraction: 0.01 },
      headers: [],
    },
  )
})
test('retry conditions that do not exist are reported, the others kept', () => {
  const decoded = route(
    to({ retry_policy: { retry_on: '5xx, http3-post-connect-failure', retry_back_off: { base_interval: '0.1s' } } }),
  )
  assert.ok(decoded.ok)
  const { action } = decoded.value.virtualHosts[0]!.routes[0]!
  assert.ok(action.kind === 'forward')
  assert.deepEqual(
    [[...action.retry!.on], action.retry!.maxRetries, action.retry!.backoff],
    [['5xx'], 1, { baseMs: 100, capMs: 1_000 }],
  )
  assert.match(decoded.ignored.join(), /retry_policy\.retry_on \(http3-post-connect-failure\)/)
})

test('metadata meshlet.io/retry-unsafe of a route, a virtual host and a table', () => {
  const said = (value: JsonValue): JsonObject => ({
    metadata: { filter_metadata: { 'meshlet.io': { 'retry-unsafe': value } } },
  })
  const made = table({ ...to(), ...said(false) }, said(true), said(true))
  const host = made.virtualHosts[0]!
  assert.deepEqual([host.routes[0]!.retriesUnsafe, host.retriesUnsafe, made.retriesUnsafe], [false, true, true])
  assert.equal(first(to()).retriesUnsafe, undefined)
  assert.equal(first({ ...to(), ...said('yes') }).action.kind, 'blocked')
})
