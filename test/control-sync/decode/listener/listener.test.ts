import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { JsonObject } from '@bufbuild/protobuf'
import type { Listener } from '../../../../model/listener.ts'
import { decode } from '../../../../control-sync/decode/decode.ts'
import { issuesOf, sample } from '../../../helpers/control-plane/resources.ts'

const T = 'type.googleapis.com/envoy.extensions'
const HCM = `${T}.filters.network.http_connection_manager.v3.HttpConnectionManager`
const STRUCT = 'type.googleapis.com/xds.type.v3.TypedStruct'
const tcp: JsonObject = {
  name: 'tcp',
  typed_config: { '@type': `${T}.filters.network.tcp_proxy.v3.TcpProxy`, cluster: 'c' },
}
const unknown: JsonObject = {
  name: 'acme.guard',
  typed_config: { '@type': STRUCT, type_url: 'type.googleapis.com/acme.Guard', value: {} },
}
const stats: JsonObject = {
  name: 'istio.stats',
  typed_config: { '@type': STRUCT, type_url: 'type.googleapis.com/stats.PluginConfig', value: {} },
}
const http = (manager: JsonObject): JsonObject => ({
  name: 'http',
  typed_config: { '@type': HCM, rds: { route_config_name: 'r' }, ...manager },
})
const rbac = (rules: JsonObject): JsonObject => ({
  name: 'envoy.filters.http.rbac',
  typed_config: { '@type': `${T}.filters.http.rbac.v3.RBAC`, ...rules },
})

function listenerBytes(more: JsonObject, chain: JsonObject): Uint8Array {
  return sample({
    '@type': 'type.googleapis.com/envoy.config.listener.v3.Listener',
    name: 'l',
    traffic_direction: 'INBOUND',
    address: { socket_address: { address: '0.0.0.0', port_value: 80 } },
    filter_chains: [{ name: 'chain', ...chain }],
    ...more,
  }).bytes
}
function good(more: JsonObject, chain: JsonObject): { value: Listener; ignored: readonly string[] } {
  const decoded = decode('listener', listenerBytes(more, chain))
  assert.ok(decoded.ok, JSON.stringify(decoded))
  return decoded
}
function issues(more: JsonObject, chain: JsonObject): string[] {
  const decoded = decode('listener', listenerBytes(more, chain))
  assert.ok(
    decoded.ok && decoded.value.filterChains.every((c) => c.codec.kind === 'blocked' || blockedWithin(c)),
    'should be blocked',
  )
  return decoded.blocked.map((i) => `${i.path}: ${i.problem}`)
}
/** Smaller pieces than the chain: an HTTP filter, a route, a virtual host. */
const blockedWithin = ({ codec: c }: Listener['filterChains'][number]): boolean =>
  c.kind === 'http' &&
  (c.http.filters.some((f) => f.kind === 'blocked') ||
    (c.http.routes.from === 'inline' &&
      c.http.routes.config.virtualHosts.some((h) => h.routes.some((r) => r.action.kind === 'blocked'))))
const codec = (l: Listener): Listener['filterChains'][number]['codec'] => l.filterChains[0]!.codec

test('ipv4_compat of an address is acted upon', () => {
  const of = (ipv4_compat: boolean): unknown => {
    const { value, ignored } = good(
      { address: { socket_address: { address: '::', port_value: 80, ipv4_compat } } },
      { filters: [tcp] },
    )
    return [value.address, value.ipv4Compat, ignored]
  }
  assert.deepEqual(
    [of(true), of(false)],
    [
      ['::', true, []],
      ['::', undefined, []],
    ],
  )
})
test('an unknown network filter blocks an inbound chain and is reported', () => {
  const { value, ignored } = good({}, { filters: [unknown, tcp] })
  assert.deepEqual(codec(value), { kind: 'blocked', reason: 'the filter acme.Guard is not implemented' })
  assert.match(
    ignored.join(),
    /filter_chains\[0\]\.filters\[0\] \(the filter acme\.Guard is not implemented: the chain is blocked\)/,
  )
})
test('a listener without a direction is as strict as an inbound one', () => {
  assert.equal(codec(good({ traffic_direction: 'UNSPECIFIED' }, { filters: [unknown, tcp] }).value).kind, 'blocked')
})
test('an unknown network filter is skipped outbound and reported', () => {
  const { value, ignored } = good({ traffic_direction: 'OUTBOUND' }, { filters: [unknown, tcp] })
  assert.equal(codec(value).kind, 'tcp')
  assert.equal(ignored.length, 1)
})
test('a filter of which only a name arrives (config_discovery) blocks inbound', () => {
  assert.equal(
    codec(good({}, { filters: [{ name: 'later', config_discovery: { type_urls: ['x'] } }, tcp] }).value).kind,
    'blocked',
  )
})
test('filters that only observe are passed over', () => {
  const { value, ignored } = good({}, { filters: [stats, tcp] })
  assert.deepEqual([codec(value).kind, ignored], ['tcp', []])
})
test('a filter behind the one that ends the chain is an issue', () => {
  assert.deepEqual(issues({}, { filters: [tcp, stats] }), [
    'filter_chains[0].filters[1]: stands behind the filter that ends the chain',
  ])
})
test('an unknown listener filter blocks every chain of an inbound listener', () => {
  assert.equal(
    codec(
      good(
        {
          listener_filters: [
            { name: 'pp', typed_config: { '@type': `${T}.filters.listener.proxy_protocol.v3.ProxyProtocol` } },
          ],
        },
        { filters: [tcp] },
      ).value,
    ).kind,
    'blocked',
  )
})
test('original_src, of the interception mode TPROXY, is told and blocks nothing: it keeps nobody out', () => {
  // By its name alone; test/conformance/istiod/traffic/capture-tproxy.test.ts has it as istiod sends it.
  const name = 'envoy.filters.listener.original_src'
  const { value, ignored } = good({ listener_filters: [{ name }], transparent: true }, { filters: [tcp] })
  assert.deepEqual(
    [codec(value).kind, value.transparent, ignored],
    [
      'tcp',
      true,
      ["listener_filters[0] (original_src: the application sees an address of this machine instead of its client's)"],
    ],
  )
  const other = { name, typed_config: { '@type': STRUCT, type_url: 'type.googleapis.com/acme.Guard', value: {} } }
  assert.equal(
    codec(good({ listener_filters: [other] }, { filters: [tcp] }).value).kind,
    'blocked',
    'the type counts, not the name',
  )
  assert.equal(good({}, { filters: [tcp] }).value.transparent, undefined)
})
test('an unknown transport socket blocks the chain', () => {
  const { value } = good(
    {},
    {
      filters: [tcp],
      transport_socket: { name: 'alts', typed_config: { '@type': STRUCT, type_url: 'x/acme.Alts', value: {} } },
    },
  )
  assert.equal(codec(value).kind, 'blocked')
})
test('an unknown HTTP filter becomes a filter that refuses inbound, and nothing outbound', () => {
  const chain = { filters: [http({ http_filters: [unknown] })] }
  const inbound = codec(good({}, chain).value)
  assert.deepEqual(inbound.kind === 'http' && inbound.http.filters, [
    { kind: 'blocked', name: 'acme.guard', reason: 'the filter acme.Guard is not implemented' },
  ])
  const outbound = codec(good({ traffic_direction: 'OUTBOUND' }, chain).value)
  assert.deepEqual(outbound.kind === 'http' && outbound.http.filters, [])
})
test('a TypedStruct that claims to be an RBAC filter is not taken for one that is understood', () => {
  const fake = {
    name: 'rbac',
    typed_config: { '@type': STRUCT, type_url: `${T}.filters.http.rbac.v3.RBAC`, value: {} },
  }
  const made = codec(good({}, { filters: [http({ http_filters: [fake] })] }).value)
  assert.deepEqual(made.kind === 'http' && made.http.filters.map((f) => f.kind), ['blocked'])
})
test('where policies compare paths, an escaped-slash rule that meshlet does not implement refuses everything', () => {
  const filters = [rbac({ rules: { action: 'DENY', policies: {} } })]
  const made = codec(
    good({}, { filters: [http({ http_filters: filters, path_with_escaped_slashes_action: 'UNESCAPE_AND_REDIRECT' })] })
      .value,
  )
  assert.deepEqual(made.kind === 'http' && made.http.filters.map((f) => f.kind), ['blocked'])
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
  path_with_escaped_slashes_action: 'UNESCAPE_AND_REDIRECT',
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
    assert.deepEqual(without, [])
    assert.match(told, new RegExp(`${field} \\(not implemented\\)`))
  })
test('escaped slashes are refused or slashes where path_with_escaped_slashes_action says so', () => {
  const of = (path_with_escaped_slashes_action: string): unknown => {
    const { value, ignored } = good({}, { filters: [http({ path_with_escaped_slashes_action })] })
    const c = codec(value)
    return c.kind === 'http' && [c.http.escapedSlashes, ignored.length]
  }
  assert.deepEqual(
    ['KEEP_UNCHANGED', 'IMPLEMENTATION_SPECIFIC_DEFAULT', 'REJECT_REQUEST', 'UNESCAPE_AND_FORWARD'].map(of),
    [
      [undefined, 0],
      [undefined, 0],
      ['refuse', 0],
      ['unescape', 0],
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
test('filter_disabled: inspectors look at no connection that it names, in every form that Envoy has; what is not understood switches nothing off', () => {
  const tlsFilter = (filter_disabled: JsonObject): JsonObject => ({
    name: 'tls',
    typed_config: { '@type': `${T}.filters.listener.tls_inspector.v3.TlsInspector` },
    filter_disabled,
  })
  const off = (of: JsonObject): unknown =>
    good({ listener_filters: [tlsFilter(of)] }, { filters: [tcp] }).value.sniff.tlsOff
  const range = { destination_port_range: { start: 3306, end: 3307 } }
  const port = { kind: 'destination-port', from: 3306, to: 3306 }
  assert.deepEqual(off(range), port)
  assert.deepEqual(off({ any_match: true }), { kind: 'any' })
  assert.deepEqual(off({ not_match: range }), { kind: 'not', of: port })
  assert.deepEqual(off({ or_match: { rules: [range, range] } }), { kind: 'or', of: [port, port] })
  assert.deepEqual(off({ and_match: { rules: [range, { any_match: true }] } }), {
    kind: 'and',
    of: [port, { kind: 'any' }],
  })
  assert.equal(off({}), undefined)
  assert.equal(off({ or_match: { rules: [range, {}] } }), undefined)
})
test('an unknown listener filter blocks the chains of the ports on which it is not switched off', () => {
  const filter = {
    name: 'acme',
    typed_config: { '@type': STRUCT, type_url: 'acme.Scan', value: {} },
    filter_disabled: { destination_port_range: { start: 80, end: 81 } },
  }
  const { value } = good(
    {
      listener_filters: [filter],
      filter_chains: [80, 81].map((destination_port) => ({ filter_chain_match: { destination_port }, filters: [tcp] })),
    },
    {},
  )
  assert.deepEqual(
    value.filterChains.map((c) => c.codec.kind),
    ['tcp', 'blocked'],
  )
})
test('a listener that cannot be taken refuses everybody on its address; one without an address opens no port', () => {
  const blocked = (more: JsonObject): Listener => {
    const d = decode('listener', listenerBytes(more, { filters: [tcp] }))
    assert.ok(d.ok && d.blocked.length > 0)
    return d.value
  }
  const late = blocked({ listener_filters_timeout: '-1s' })
  assert.deepEqual(
    [late.address, late.port, late.bindToPort, late.filterChains, late.defaultFilterChain?.codec.kind],
    ['0.0.0.0', 80, true, [], 'blocked'],
  )
  assert.deepEqual(
    [blocked({ address: { pipe: { path: '/x' } } })].map((l) => [l.bindToPort, l.defaultFilterChain?.codec.kind]),
    [[false, 'blocked']],
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
for (const { name, match, path } of [
  { name: 'an unknown source type', match: { source_type: 7 }, path: 'filter_chain_match.source_type' },
  {
    name: 'a source range that is none',
    match: { direct_source_prefix_ranges: [{ address_prefix: '10.0.0.0', prefix_len: 33 }] },
    path: 'filter_chain_match.direct_source_prefix_ranges[0]',
  },
  {
    name: 'an address range that is none',
    match: { prefix_ranges: [{ address_prefix: '10.0.0.0', prefix_len: 33 }] },
    path: 'filter_chain_match.prefix_ranges[0]',
  },
  { name: 'a port above all', match: { destination_port: 65_536 }, path: 'filter_chain_match.destination_port' },
]) {
  test(`a chain match that cannot be kept is an issue: ${name}`, () => {
    assert.match(
      issues({}, { filters: [tcp], filter_chain_match: match })[0]!,
      new RegExp(`^filter_chains\\[0\\]\\.${path.replaceAll(/[[\].]/g, '\\$&')}: `),
    )
  })
}
test('meshlet.mqtt_proxy carries the mqtt section of agent.yaml', () => {
  const filter = {
    name: 'meshlet.mqtt_proxy',
    typed_config: {
      '@type': STRUCT,
      type_url: 'meshlet/mqtt',
      value: { transport: 'websocket', routes: [{ match: 'a/#', direction: 'up', cluster: 'broker' }] },
    },
  }
  const made = codec(good({}, { filters: [filter] }).value)
  assert.ok(made.kind === 'mqtt')
  assert.deepEqual(
    [made.transport, made.mqtt.routes[0]!.cluster, made.mqtt.spool.profile],
    ['websocket', 'broker', 'strict'],
  )
})
test('a mistake in the mqtt policy is named by its field', () => {
  const filter = {
    name: 'meshlet.mqtt_proxy',
    typed_config: { '@type': STRUCT, value: { routes: [{ match: 'a/#', direction: 'sideways', cluster: 'b' }] } },
  }
  assert.match(
    issues({}, { filters: [filter] })[0]!,
    /^filter_chains\[0\]\.filters\[0\]\.typed_config\.value\.routes\[0\]\.direction: /,
  )
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
for (const { name, context, problem } of [
  {
    name: 'an unknown SDS secret',
    context: { tls_certificate_sds_secret_configs: [{ name: 'kubernetes://x' }] },
    problem: /secret .* is not known/,
  },
  {
    name: 'names without roots',
    context: {
      tls_certificate_sds_secret_configs: [{ name: 'default' }],
      validation_context: { match_typed_subject_alt_names: [{ san_type: 'URI', matcher: { exact: 'a' } }] },
    },
    problem: /names without roots/,
  },
  {
    name: 'a pinned key',
    context: {
      tls_certificate_sds_secret_configs: [{ name: 'default' }],
      combined_validation_context: {
        default_validation_context: { verify_certificate_spki: ['x'] },
        validation_context_sds_secret_config: { name: 'ROOTCA' },
      },
    },
    problem: /verify_certificate_spki: is not supported/,
  },
  {
    name: 'unverified chains',
    context: {
      tls_certificate_sds_secret_configs: [{ name: 'default' }],
      combined_validation_context: {
        default_validation_context: { trust_chain_verification: 'ACCEPT_UNTRUSTED' },
        validation_context_sds_secret_config: { name: 'ROOTCA' },
      },
    },
    problem: /trust_chain_verification/,
  },
  {
    name: 'a cipher string with operators',
    context: {
      tls_certificate_sds_secret_configs: [{ name: 'default' }],
      tls_params: { cipher_suites: ['ALL:@SECLEVEL=0'] },
    },
    problem: /is no cipher suite/,
  },
  {
    name: 'a client certificate that nothing checks',
    context: { tls_certificate_sds_secret_configs: [{ name: 'default' }] },
    problem: /require_client_certificate without roots/,
  },
]) {
  test(`TLS settings that would check less than they say are issues: ${name}`, () => {
    const socket = {
      name: 'tls',
      typed_config: {
        '@type': `${T}.transport_sockets.tls.v3.DownstreamTlsContext`,
        require_client_certificate: true,
        common_tls_context: context,
      },
    }
    assert.match(issues({}, { filters: [tcp], transport_socket: socket }).join('\n'), problem)
  })
}
test('certificates from files come through the given reader, and are refused without one', () => {
  const common = {
    tls_certificates: [{ certificate_chain: { filename: '/c.pem' }, private_key: { inline_string: 'KEY' } }],
  }
  const bytes = listenerBytes(
    {},
    {
      filters: [tcp],
      transport_socket: {
        name: 'tls',
        typed_config: { '@type': `${T}.transport_sockets.tls.v3.DownstreamTlsContext`, common_tls_context: common },
      },
    },
  )
  const read = decode('listener', bytes, { readFile: (file) => (file === '/c.pem' ? 'CHAIN' : undefined) })
  assert.deepEqual(read.ok && read.value.filterChains[0]!.tls!.certificate, {
    from: 'pem',
    chainPem: 'CHAIN',
    keyPem: 'KEY',
  })
  const without = decode('listener', bytes)
  assert.match(issuesOf(without)[0]!.path, /tls_certificates\[0\]\.certificate_chain\.filename$/)
})
