/** The HTTP connection manager: its filters, and its options. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { JsonObject } from '@bufbuild/protobuf'
import { T, STRUCT, unknown, http, rbac, good, issues, codec } from './listener-rig.ts'

test('an unknown HTTP filter becomes a filter that refuses inbound, and nothing outbound', () => {
  const chain = { filters: [http({ http_filters: [unknown] })] }
  const inbound = codec(good({}, chain).value)
  assert.deepEqual(inbound.kind === 'http' && inbound.http.filters, [
    { kind: 'blocked', name: 'acme.guard', reason: 'the filter acme.Guard is not implemented' },
  ])
  const outbound = codec(good({ traffic_direction: 'OUTBOUND' }, chain).value)
  assert.deepEqual(outbound.kind === 'http' && outbound.http.filters, [])
})
for (const [value, kind] of [
  [{ rules: { action: 'DENY', policies: {} } }, 'rbac'],
  [{ rules: { action: 'PERHAPS' } }, 'blocked'],
  [{ no_such_field: true }, 'blocked'],
] as const)
  test(`a TypedStruct is the message that it names, or refuses: ${JSON.stringify(value)}`, () => {
    const struct = { '@type': STRUCT, type_url: `${T}.filters.http.rbac.v3.RBAC`, value }
    const made = good({}, { filters: [http({ http_filters: [{ name: 'rbac', typed_config: struct }] })] })
    const { codec: by } = made.value.filterChains[0]!
    assert.deepEqual(by.kind === 'http' && by.http.filters.map((f) => f.kind), [kind])
  })
for (const [field, value] of Object.entries({
  original_ip_detection_extensions: [
    { name: 'x', typed_config: { '@type': STRUCT, type_url: 'type.googleapis.com/acme.Ip', value: {} } },
  ],
  early_header_mutation_extensions: [
    { name: 'x', typed_config: { '@type': STRUCT, type_url: 'type.googleapis.com/acme.Mutation', value: {} } },
  ],
  typed_header_validation_config: {
    name: 'x',
    typed_config: { '@type': STRUCT, type_url: 'type.googleapis.com/acme.Validator', value: {} },
  },
}))
  test(`what changes what policies see and is not implemented blocks beside policies, and is reported without: ${field}`, () => {
    const made = (filters: JsonObject[]): readonly [unknown, string] => {
      const { value: l, ignored } = good({}, { filters: [http({ http_filters: filters, [field]: value })] })
      const c = codec(l)
      return [c.kind === 'http' && c.http.filters.map((f) => f.kind), ignored.join()]
    }
    const [kinds, report] = made([rbac({ rules: { action: 'DENY', policies: {} } })])
    assert.deepEqual(kinds, ['blocked'])
    assert.match(report, new RegExp(`${field} \\(not implemented, and there are policies: everything is refused\\)`))
    const [without, told] = made([])
    // What is taken away may not get to anybody, policies or not.
    const removes = field === 'early_header_mutation_extensions'
    assert.deepEqual(without, removes ? ['blocked'] : [])
    assert.match(told, new RegExp(`${field} \\(not implemented${removes ? ': everything is refused' : ''}\\)`))
  })
for (const [type, config] of [
  ['jwt_authn.v3.JwtAuthentication', {}],
  ['ext_authz.v3.ExtAuthz', { http_service: { server_uri: { uri: 'http://a', cluster: 'a', timeout: '1s' } } }],
  ['local_ratelimit.v3.LocalRateLimit', { stat_prefix: 's', token_bucket: { max_tokens: 9, fill_interval: '9s' } }],
  [
    'ratelimit.v3.RateLimit',
    { domain: 'd', rate_limit_service: { grpc_service: { envoy_grpc: { cluster_name: 'l' } } } },
  ],
] as [string, JsonObject][])
  test(`what changes what policies see blocks beside others than RBAC: ${type}`, () => {
    const own = { name: 'f', typed_config: { '@type': `${T}.filters.http.${type}`, ...config } }
    const validator = { '@type': STRUCT, type_url: 'type.googleapis.com/acme.Validator', value: {} }
    const kinds = (more: JsonObject): unknown => {
      const c = codec(good({}, { filters: [http({ http_filters: [own], ...more })] }).value)
      return c.kind === 'http' && c.http.filters.map((f) => f.kind)
    }
    assert.notDeepEqual(kinds({}), ['blocked'])
    assert.deepEqual(kinds({ typed_header_validation_config: { name: 'x', typed_config: validator } }), ['blocked'])
  })
test('escaped slashes are refused or slashes where path_with_escaped_slashes_action says so', () => {
  const of = (path_with_escaped_slashes_action: string): unknown => {
    const { value, ignored } = good({}, { filters: [http({ path_with_escaped_slashes_action })] })
    const c = codec(value)
    return c.kind === 'http' && [c.http.escapedSlashes, ignored.length]
  }
  assert.deepEqual(
    [
      'KEEP_UNCHANGED',
      'IMPLEMENTATION_SPECIFIC_DEFAULT',
      'REJECT_REQUEST',
      'UNESCAPE_AND_FORWARD',
      'UNESCAPE_AND_REDIRECT',
    ].map(of),
    [
      [undefined, 0],
      [undefined, 0],
      ['refuse', 0],
      ['unescape', 0],
      ['redirect', 0],
    ],
  )
})
test('what changes the host that policies see, and the other options of every exchange', () => {
  const of = (m: JsonObject): Record<string, unknown> => {
    const { value, ignored } = good({}, { filters: [http(m)] })
    assert.deepEqual(ignored, [])
    const c = codec(value)
    return c.kind === 'http' ? { ...c.http } : {}
  }
  assert.equal(of({ strip_any_host_port: true })['stripHostPort'], 'any')
  assert.equal(of({ strip_matching_host_port: true })['stripHostPort'], 'matching')
  assert.deepEqual(
    [of({})['stripHostPort'], of({})['stripHostDot'], of({ strip_trailing_host_dot: true })['stripHostDot']],
    [undefined, false, true],
  )
  const { underscores, maxHeaders, maxStreamMs, maxRequestsPerConnection, maxConnectionMs, connectionIdleMs } = of({
    common_http_protocol_options: {
      headers_with_underscores_action: 'REJECT_REQUEST',
      max_headers_count: 500,
      max_stream_duration: '2s',
      max_requests_per_connection: 7,
      max_connection_duration: '3s',
      idle_timeout: '0s',
    },
  })
  assert.deepEqual(
    [underscores, maxHeaders, maxStreamMs, maxRequestsPerConnection, maxConnectionMs, connectionIdleMs],
    ['refuse', 500, 2000, 7, 3000, undefined],
  )
  assert.equal(
    of({ common_http_protocol_options: { headers_with_underscores_action: 'DROP_HEADER' } })['underscores'],
    'drop',
  )
  assert.deepEqual(
    issues({}, { filters: [http({ common_http_protocol_options: { max_headers_count: 0 } })] }).length,
    1,
  )
})
test("max_request_headers_kb holds for both codecs, up to Envoy's bound", () => {
  assert.equal(good({}, { filters: [http({ max_request_headers_kb: 8192 })] }).ignored.join(), '')
})
test('skip_xff_append and append_x_forwarded_port', () => {
  const of = (m: JsonObject): unknown => {
    const { value, ignored } = good({}, { filters: [http(m)] })
    const c = codec(value)
    return c.kind === 'http' && [c.http.skipXffAppend, c.http.appendForwardedPort, ignored.length]
  }
  assert.deepEqual(
    [of({}), of({ skip_xff_append: true, append_x_forwarded_port: true })],
    [
      [false, false, 0],
      [true, true, 0],
    ],
  )
})
test('proxy_100_continue and max_request_headers_kb are taken as they are said', () => {
  const of = (m: JsonObject): unknown => {
    const c = codec(good({}, { filters: [http(m)] }).value)
    return c.kind === 'http' && [c.http.proxyContinue, c.http.maxRequestHeadersBytes]
  }
  assert.deepEqual(
    [of({}), of({ proxy_100_continue: true, max_request_headers_kb: 200 })],
    [
      [false, 60 * 1024],
      [true, 200 * 1024],
    ],
  )
})
test('an RBAC filter that is switched off or has no rules keeps its place, because a route may bring rules', () => {
  const filters = [{ ...rbac({ rules: {} }), disabled: true }, rbac({})]
  const made = codec(good({}, { filters: [http({ http_filters: filters })] }).value)
  assert.deepEqual(
    made.kind === 'http' && made.http.filters.map((f) => f.kind === 'rbac' && [f.policy.action, f.off ?? false]),
    [
      ['allow', true],
      ['log', false],
    ],
  )
})
test('explicit proxy requests are served only where an outbound listener says so', () => {
  const chain = { filters: [http({ http_protocol_options: { allow_absolute_url: true } })] }
  const proxy = (direction: string): unknown => {
    const c = codec(good({ traffic_direction: direction }, chain).value)
    return c.kind === 'http' && c.http.explicitProxy
  }
  assert.deepEqual([proxy('OUTBOUND'), proxy('INBOUND')], [true, false])
})
test("the path of an issue in an inline route table leads there in Envoy's field names", () => {
  const filter = http({
    route_config: {
      virtual_hosts: [
        {
          name: 'a',
          domains: ['*'],
          routes: [{ match: { safe_regex: { regex: '(' } }, direct_response: { status: 200 } }],
        },
      ],
    },
  })
  delete (filter['typed_config'] as JsonObject)['rds']
  assert.match(
    issues({}, { filters: [filter] })[0]!,
    /^filter_chains\[0\]\.filters\[0\]\.typed_config\.route_config\.virtual_hosts\[0\]\.routes\[0\]\.match\.safe_regex\.regex: /,
  )
})

test('server_header_transformation, via and suppress_envoy_headers of the router', () => {
  const router = { '@type': `${T}.filters.http.router.v3.Router`, suppress_envoy_headers: true }
  const made = (manager: JsonObject): unknown => {
    const c = codec(good({}, { filters: [http(manager)] }).value)
    return c.kind === 'http' && [c.http.serverHeader, c.http.via, c.http.hidesEnvoy]
  }
  assert.deepEqual(made({}), [undefined, undefined, undefined])
  assert.deepEqual(
    made({
      server_header_transformation: 'PASS_THROUGH',
      via: 'me',
      http_filters: [{ name: 'router', typed_config: router }],
    }),
    ['pass-through', 'me', true],
  )
  assert.match(issues({}, { filters: [http({ via: 'a\nb' })] })[0]!, /via: contains a line break/)
})
