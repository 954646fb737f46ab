import { test } from 'node:test'
import assert from 'node:assert/strict'
import { fromBinary, fromJson, toBinary, type JsonObject } from '@bufbuild/protobuf'
import { BinaryWriter } from '@bufbuild/protobuf/wire'
import { isAboutMqtt, type Policy } from '../../../model/policy.ts'
import { DecodePath } from '../../../control-sync/decode/fields/decode-path.ts'
import { decodePolicy } from '../../../control-sync/decode/policy.ts'
import { RBACSchema } from '../../../proto/gen/envoy/extensions/filters/http/rbac/v3/rbac_pb.ts'
import { loadRegistry } from '../../../proto/registry.ts'
import { decide, type AuthzFacts } from '../../../protocols/authz.ts'

const ANY = { any: true }
const rules = (action: string, permission: JsonObject, principal: JsonObject): JsonObject => ({
  rules: { action, policies: { p: { permissions: [permission], principals: [principal] } } },
})
const template = (path_template: string): JsonObject => ({
  uri_template: {
    name: 'envoy.path.match.uri_template.uri_template_matcher',
    typed_config: {
      '@type': 'type.googleapis.com/envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig',
      path_template,
    },
  },
})
function policy(json: JsonObject): { policy: Policy | undefined; at: DecodePath } {
  const at = DecodePath.top(undefined)
  return { policy: decodePolicy(at, fromJson(RBACSchema, json, { registry: loadRegistry() })), at }
}
const FACTS: AuthzFacts = {
  peer: undefined,
  directRemoteIp: '10.0.0.1',
  remoteIp: '192.0.2.1',
  destinationIp: '10.0.0.2',
  destinationPort: 8080,
  serverName: 's',
  header: (name) => ({ ':method': 'GET', 'x-a': '1' })[name],
  path: '/orders/7',
}

for (const { name, permission = ANY, principal = ANY, matches } of [
  { name: 'any', matches: true },
  { name: 'url_path prefix', permission: { url_path: { path: { prefix: '/orders/' } } }, matches: true },
  { name: 'url_path exact', permission: { url_path: { path: { exact: '/orders' } } }, matches: false },
  { name: 'uri_template', permission: template('/*/7'), matches: true },
  { name: 'uri_template of another path', permission: template('/orders/*/*'), matches: false },
  { name: 'destination_port', permission: { destination_port: 8080 }, matches: true },
  {
    name: 'destination_port_range excludes its end',
    permission: { destination_port_range: { start: 8000, end: 8080 } },
    matches: false,
  },
  {
    name: 'destination_port_range includes its start',
    permission: { destination_port_range: { start: 8080, end: 8081 } },
    matches: true,
  },
  {
    name: 'destination_ip',
    permission: { destination_ip: { address_prefix: '10.0.0.0', prefix_len: 8 } },
    matches: true,
  },
  { name: 'header of the deprecated form', permission: { header: { name: 'X-A', exact_match: '1' } }, matches: true },
  { name: 'not_rule', permission: { not_rule: { destination_port: 8080 } }, matches: false },
  { name: 'and_rules', permission: { and_rules: { rules: [ANY, { destination_port: 1 }] } }, matches: false },
  { name: 'or_rules', permission: { or_rules: { rules: [{ destination_port: 1 }, ANY] } }, matches: true },
  { name: 'requested_server_name', permission: { requested_server_name: { exact: 's' } }, matches: true },
  { name: 'remote_ip', principal: { remote_ip: { address_prefix: '192.0.2.0', prefix_len: 24 } }, matches: true },
  {
    name: 'direct_remote_ip',
    principal: { direct_remote_ip: { address_prefix: '192.0.2.0', prefix_len: 24 } },
    matches: false,
  },
  {
    name: 'source_ip is the TCP peer',
    principal: { source_ip: { address_prefix: '10.0.0.1', prefix_len: 32 } },
    matches: true,
  },
  { name: 'authenticated without a certificate', principal: { authenticated: {} }, matches: false },
  { name: 'and_ids', principal: { and_ids: { ids: [ANY, ANY] } }, matches: true },
  { name: 'not_id', principal: { not_id: ANY }, matches: false },
] as { name: string; permission?: JsonObject; principal?: JsonObject; matches: boolean }[]) {
  test(`RBAC condition: ${name}`, () => {
    const { policy: made, at } = policy(rules('ALLOW', permission, principal))
    assert.deepEqual(at.issues, [])
    assert.equal(decide([made!], FACTS).allowed, matches)
  })
}

for (const { name, permission = ANY, principal = ANY } of [
  { name: 'metadata', permission: { metadata: { filter: 'f', path: [{ key: 'k' }], value: { present_match: true } } } },
  { name: 'an extension matcher', permission: { matcher: { name: 'm' } } },
  { name: 'uri_template', permission: { uri_template: { name: 'm' } } },
  {
    name: 'filter_state',
    principal: { filter_state: { key: 'io.istio.connect_authority', string_match: { exact: 'x' } } },
  },
  { name: 'any: false', permission: { any: false } },
  { name: 'below not', permission: { not_rule: { matcher: { name: 'm' } } } },
] as { name: string; permission?: JsonObject; principal?: JsonObject }[]) {
  test(`a condition that is not implemented neither allows nor lets a deny pass, and is reported: ${name}`, () => {
    const allow = policy(rules('ALLOW', permission, principal))
    assert.equal(decide([allow.policy!], FACTS).allowed, false)
    assert.equal(decide([policy(rules('DENY', permission, principal)).policy!], FACTS).allowed, false)
    assert.equal(allow.at.ignored.length, 1)
  })
}

/** RBAC.rules.policies["p"] with the given extra bytes behind the Policy's own. */
function withUnknown(where: 'filter' | 'policy', field: number): ReturnType<typeof policy> {
  const extra = new BinaryWriter()
    .tag(field, 2)
    .bytes(new Uint8Array([8, 1]))
    .finish()
  const at = DecodePath.top(undefined)
  if (where === 'filter')
    return {
      at,
      policy: decodePolicy(
        at,
        fromBinary(RBACSchema, Buffer.concat([toBinary(RBACSchema, fromJson(RBACSchema, {})), extra])),
      ),
    }
  const any = new Uint8Array([0x0a, 2, 0x18, 1, 0x12, 2, 0x18, 1])
  const entry = new BinaryWriter()
    .tag(1, 2)
    .string('p')
    .tag(2, 2)
    .bytes(Buffer.concat([any, extra]))
    .finish()
  const bytes = new BinaryWriter().tag(1, 2).bytes(new BinaryWriter().tag(2, 2).bytes(entry).finish()).finish()
  return { at, policy: decodePolicy(at, fromBinary(RBACSchema, bytes)) }
}
test('a policy with a CEL condition (field 3) does not allow', () => {
  assert.equal(decide([withUnknown('policy', 3).policy!], FACTS).allowed, false)
})
test('a filter with a match tree instead of rules (field 4) refuses everything', () => {
  assert.equal(decide([withUnknown('filter', 4).policy!], FACTS).allowed, false)
})
test('a filter without rules lets everything pass, one with empty rules nothing (Envoy)', () => {
  assert.equal(policy({}).policy, undefined)
  assert.equal(decide([policy({ rules: {} }).policy!], FACTS).allowed, false)
})
test('dry-run rules are kept apart and enforce nothing', () => {
  const made = policy({
    shadow_rules: { action: 'DENY', policies: { p: { permissions: [ANY], principals: [ANY] } } },
  }).policy!
  assert.deepEqual([made.action, made.shadow?.action, made.shadow?.rules.length], ['log', 'deny', 1])
  assert.equal(decide([made], FACTS).allowed, true)
})
for (const { name, permission } of [
  { name: 'a broken pattern', permission: { url_path: { path: { safe_regex: { regex: '(' } } } } },
  { name: 'an empty prefix, which would match everything', permission: { url_path: { path: { prefix: '' } } } },
  { name: 'no address range', permission: { destination_ip: { address_prefix: 'x', prefix_len: 8 } } },
] as { name: string; permission: JsonObject }[]) {
  test(`a malformed condition is an issue: ${name}`, () => {
    assert.equal(policy(rules('ALLOW', permission, ANY)).at.issues.length, 1)
  })
}
test('an action that does not exist is an issue and refuses', () => {
  const { policy: made, at } = policy({ rules: { action: 7 } })
  assert.deepEqual([at.issues.length, decide([made!], FACTS).allowed], [1, false])
})
test('nesting deeper than what is evaluated per request is not taken over', () => {
  let deep: JsonObject = ANY
  for (let i = 0; i < 60; i++) deep = { not_rule: deep }
  assert.equal(decide([policy(rules('ALLOW', deep, ANY)).policy!], FACTS).allowed, false)
})

const MQTT = 'envoy.filters.network.meshlet.mqtt_proxy'
const metadata = (value: JsonObject, over: JsonObject = {}): JsonObject => ({
  metadata: { filter: MQTT, path: [{ key: 'topic' }], value, ...over },
})
const decodeMqtt = (permission: JsonObject): { policy: Policy | undefined; at: DecodePath } => {
  const at = DecodePath.top(undefined)
  return { policy: decodePolicy(at, fromJson(RBACSchema, rules('ALLOW', permission, ANY)), { isMqtt: true }), at }
}
const exact = (value: string): JsonObject => ({ string_match: { exact: value } })
const condition = (key: string, kind: string, value: string): object => ({
  kind: 'mqtt',
  key,
  match: { kind, value, ignoreCase: false },
})
for (const { name, permission, want } of [
  { name: 'a topic', permission: metadata(exact('a/#')), want: condition('topic', 'exact', 'a/#') },
  {
    name: 'a prefix',
    permission: metadata({ string_match: { prefix: 'a/' } }),
    want: condition('topic', 'prefix', 'a/'),
  },
  {
    name: 'an action',
    permission: metadata(exact('publish'), { path: [{ key: 'action' }] }),
    want: condition('action', 'exact', 'publish'),
  },
  {
    name: 'a list, as Istio writes [a]',
    permission: metadata({ list_match: { one_of: exact('a') } }),
    want: condition('topic', 'exact', 'a'),
  },
  {
    name: 'one of several',
    permission: metadata({ or_match: { value_matchers: [exact('a'), { list_match: { one_of: exact('b') } }] } }),
    want: { kind: 'or', of: [condition('topic', 'exact', 'a'), condition('topic', 'exact', 'b')] },
  },
  {
    name: 'inverted',
    permission: metadata(exact('a'), { invert: true }),
    want: { kind: 'not', of: condition('topic', 'exact', 'a') },
  },
])
  test(`metadata of MQTT: ${name}`, () => {
    const { policy: made, at } = decodeMqtt(permission)
    assert.deepEqual([made!.rules[0]!.permissions, at.issues, at.ignored], [[want], [], []])
    assert.equal(isAboutMqtt(made!), true)
    const elsewhere = policy(rules('ALLOW', permission, ANY))
    assert.equal(elsewhere.at.ignored.length, 1)
    assert.equal(decide([elsewhere.policy!], FACTS).allowed, false)
  })
for (const { name, permission } of [
  { name: 'another filter', permission: metadata(exact('a'), { filter: 'envoy.filters.network.mysql_proxy' }) },
  { name: 'another key', permission: metadata(exact('a'), { path: [{ key: 'payload' }] }) },
  { name: 'a longer path', permission: metadata(exact('a'), { path: [{ key: 'topic' }, { key: 'x' }] }) },
  { name: 'no path', permission: metadata(exact('a'), { path: [] }) },
  { name: 'presence', permission: metadata({ present_match: true }) },
  {
    name: 'a number among several',
    permission: metadata({ or_match: { value_matchers: [exact('a'), { bool_match: true }] } }),
  },
  { name: 'no value', permission: { metadata: { filter: MQTT, path: [{ key: 'topic' }] } } },
])
  test(`metadata that is not understood blocks in an MQTT chain, too: ${name}`, () => {
    const { policy: made, at } = decodeMqtt(permission)
    assert.equal(at.ignored.length, 1)
    const facts: AuthzFacts = { ...FACTS, mqtt: 'undecided' }
    assert.equal(decide([made!], facts).allowed, false)
    assert.equal(decide([{ ...made!, action: 'deny' }], facts).allowed, false)
  })
test('a topic that is no filter is an issue: a deny by it would deny nothing', () => {
  for (const text of ['a+', 'a/#/b', '#a']) assert.equal(decodeMqtt(metadata(exact(text))).at.issues.length, 1, text)
})

test('a path template that is none is an issue', () => {
  const { at } = policy(rules('DENY', template('/{*}'), ANY))
  assert.match(at.issues[0]!.path, /path_template$/)
})

test('shadow_rules_stat_prefix goes before the names of what shadow rules find', () => {
  const { policy: made } = policy({ shadow_rules: { action: 'DENY' }, shadow_rules_stat_prefix: 'istio_ext_authz_' })
  assert.deepEqual(made?.shadow, { action: 'deny', rules: [], prefix: 'istio_ext_authz_' })
})

const ANYTHING: JsonObject = { any: true }
test('who opened a tunnel (filter_state io.istio.peer_principal) is the URI of its certificate, and nobody is somebody else', () => {
  const exact = 'spiffe://cluster.local/ns/a/sa/b'
  const principal: JsonObject = { filter_state: { key: 'io.istio.peer_principal', string_match: { exact } } }
  const { policy: allow, at } = policy(rules('ALLOW', ANYTHING, principal))
  assert.deepEqual(at.ignored, [])
  const of = (...uriSans: string[]): boolean =>
    decide([allow!], {
      ...FACTS,
      peer: { spiffeId: undefined, uriSans, dnsSans: [exact], subject: exact, sha256: '', notAfterMs: 0 },
    }).allowed
  assert.deepEqual([of(exact), of(`${exact}c`), of(exact, 'spiffe://x/y'), of()], [true, false, false, false])
  assert.equal(decide([allow!], { ...FACTS, peer: undefined }).allowed, false)
  const { policy: deny } = policy(rules('DENY', ANYTHING, principal))
  assert.equal(decide([deny!], { ...FACTS, peer: undefined }).allowed, true)
})
