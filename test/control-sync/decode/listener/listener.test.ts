import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { JsonObject } from '@bufbuild/protobuf'
import type { Listener } from '../../../../model/listener.ts'
import { decode } from '../../../../control-sync/decode/decode.ts'
import { issuesOf } from '../../../helpers/control-plane/resources.ts'
import { T, STRUCT, tcp, unknown, stats, listenerBytes, good, issues, codec } from './listener-rig.ts'

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
