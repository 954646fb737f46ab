/** Listener filters: which are known, and for which connections they are switched off. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { JsonObject } from '@bufbuild/protobuf'
import { T, STRUCT, tcp, good, codec, issues } from './listener-rig.ts'

test('an unknown listener filter blocks every chain of an inbound listener', () => {
  assert.equal(
    codec(
      good(
        {
          listener_filters: [
            { name: 'other', typed_config: { '@type': STRUCT, type_url: 'type.googleapis.com/acme.Guard', value: {} } },
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

test('proxy_protocol: who is believed, what may be left out, what is not taken; TLVs as metadata are told as ignored', () => {
  const TYPE = `${T}.filters.listener.proxy_protocol.v3.ProxyProtocol`
  const filter = (value: JsonObject, over: JsonObject = {}): JsonObject => ({
    name: 'envoy.filters.listener.proxy_protocol',
    typed_config: { '@type': TYPE, ...value },
    ...over,
  })
  const made = (...filters: JsonObject[]): ReturnType<typeof good> =>
    good({ listener_filters: filters }, { filters: [tcp] })
  const plain = { trusted: undefined, isOptional: false, disallowedVersions: [] }
  assert.deepEqual(made(filter({})).value.proxyProtocol, plain)
  assert.equal(codec(made(filter({})).value).kind, 'tcp')
  assert.deepEqual(made({ name: 'envoy.filters.listener.proxy_protocol' }).value.proxyProtocol, plain)
  assert.deepEqual(
    made(filter({ allow_requests_without_proxy_protocol: true, disallowed_versions: ['V1', 'V2'] })).value
      .proxyProtocol,
    { ...plain, isOptional: true, disallowedVersions: [1, 2] },
  )
  assert.deepEqual(
    made(filter({}, { filter_disabled: { destination_port_range: { start: 1, end: 9 } } })).value.proxyProtocol?.off,
    { kind: 'destination-port', from: 1, to: 8 },
  )
  assert.deepEqual(made(filter({ stat_prefix: 's' })).ignored, ['listener_filters[0].typed_config.stat_prefix'])
  assert.deepEqual(
    [issues({ listener_filters: [filter({}), filter({})] }, { filters: [tcp] })].flat().length,
    1,
    'two would be two headers',
  )
})

test('PROXY headers: TLVs that are kept (pass_through_tlvs) and those that become metadata (rules)', () => {
  const proxyProtocol = (more: JsonObject): unknown =>
    good(
      {
        listener_filters: [
          {
            name: 'pp',
            typed_config: { '@type': `${T}.filters.listener.proxy_protocol.v3.ProxyProtocol`, ...more },
          },
        ],
      },
      { filters: [tcp] },
    ).value.proxyProtocol
  const base = { trusted: undefined, isOptional: false, disallowedVersions: [] }
  assert.deepEqual(proxyProtocol({ pass_through_tlvs: {} }), { ...base, keeps: 'all' })
  assert.deepEqual(proxyProtocol({ pass_through_tlvs: { match_type: 'INCLUDE', tlv_type: [234] } }), {
    ...base,
    keeps: new Set([234]),
  })
  const rules = [
    { tlv_type: 234, on_tlv_present: { key: 'vpce' } },
    { tlv_type: 2, on_tlv_present: { metadata_namespace: 'own', key: 'authority' } },
    { tlv_type: 3 },
  ]
  assert.deepEqual(proxyProtocol({ rules }), {
    ...base,
    rules: [
      { type: 234, filter: 'envoy.filters.listener.proxy_protocol', key: 'vpce' },
      { type: 2, filter: 'own', key: 'authority' },
    ],
  })
})
