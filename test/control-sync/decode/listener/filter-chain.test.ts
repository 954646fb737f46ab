import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { JsonObject } from '@bufbuild/protobuf'
import { decode } from '../../../../control-sync/decode/decode.ts'
import { STRUCT, tcp, unknown, stats, good, issues, codec, listenerBytes } from './listener-rig.ts'

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

test('tcp_proxy hash_policy: the address of the client', () => {
  const typed_config = { ...(tcp['typed_config'] as JsonObject), hash_policy: [{ source_ip: {} }] }
  const { codec } = good({}, { filters: [{ ...tcp, typed_config }] }).value.filterChains[0]!
  assert.ok(codec.kind === 'tcp')
  assert.equal(codec.tcp.hashesSource, true)
})

test('tcp_proxy: max_connect_attempts and max_downstream_connection_duration', () => {
  const chain = (more: JsonObject): JsonObject => ({
    filters: [{ ...tcp, typed_config: { ...(tcp['typed_config'] as JsonObject), ...more } }],
  })
  const { codec } = good({}, chain({ max_connect_attempts: 3, max_downstream_connection_duration: '9s' })).value
    .filterChains[0]!
  assert.ok(codec.kind === 'tcp')
  assert.deepEqual([codec.tcp.maxConnectAttempts, codec.tcp.maxConnectionMs], [3, 9_000])
  assert.match(issues({}, chain({ max_connect_attempts: 0 }))[0]!, /max_connect_attempts: must be 1 or more/)
})

test('sni_cluster: the cluster is the one that the client names, by type or by name alone', () => {
  for (const filter of [
    {
      name: 'x',
      typed_config: {
        '@type': STRUCT,
        type_url: 'type.googleapis.com/envoy.extensions.filters.network.sni_cluster.v3.SniCluster',
        value: {},
      },
    },
    { name: 'envoy.filters.network.sni_cluster' },
  ] satisfies JsonObject[]) {
    const { codec } = good({}, { filters: [filter, tcp] }).value.filterChains[0]!
    assert.ok(codec.kind === 'tcp')
    assert.equal(codec.tcp.bySni, true)
  }
})

test("a gateway's listeners let clients in, whatever their direction: an unknown filter blocks", () => {
  const decoded = decode('listener', listenerBytes({ traffic_direction: 'OUTBOUND' }, { filters: [unknown, tcp] }), {
    gateway: true,
  })
  assert.ok(decoded.ok)
  assert.equal(decoded.value.filterChains[0]!.codec.kind, 'blocked')
})
