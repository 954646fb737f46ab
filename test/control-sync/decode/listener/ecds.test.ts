/** Filters whose configuration comes as a resource of its own (ECDS). */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { JsonObject } from '@bufbuild/protobuf'
import type { Listener } from '../../../../model/listener.ts'
import { TYPE_URLS } from '../../../../model/snapshot.ts'
import { decode } from '../../../../control-sync/decode/decode.ts'
import { issuesOf, sample } from '../../../helpers/control-plane/resources.ts'

const HTTP_RBAC = 'type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC'
const RBAC = 'type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC'
const STATS = {
  '@type': 'type.googleapis.com/xds.type.v3.TypedStruct',
  type_url: 'type.googleapis.com/stats.PluginConfig',
  value: {},
}
const rules = { action: 'DENY', policies: { p: { permissions: [{ any: true }], principals: [{ any: true }] } } }
const tcp = {
  name: 'tcp',
  typed_config: {
    '@type': 'type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy',
    stat_prefix: 's',
    cluster: 'c',
  },
}
const later = (name: string, types: readonly string[], more: JsonObject = {}): JsonObject => ({
  name,
  config_discovery: { config_source: { ads: {} }, type_urls: [...types], ...more },
})
const http = (...filters: JsonObject[]): JsonObject => ({
  name: 'hcm',
  typed_config: {
    '@type': 'type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager',
    stat_prefix: 's',
    rds: { route_config_name: 'r' },
    http_filters: filters,
  },
})

function listener(filters: JsonObject[], extensions: Record<string, JsonObject> = {}, direction = 'INBOUND'): Listener {
  const { bytes } = sample({
    '@type': TYPE_URLS.listener,
    name: 'l',
    traffic_direction: direction,
    address: { socket_address: { address: '127.0.0.1', port_value: 1 } },
    filter_chains: [{ filters }],
  })
  const decoded = decode('listener', bytes, {
    extension: (name) =>
      extensions[name] && sample({ '@type': TYPE_URLS.extension, name, typed_config: extensions[name] }).bytes,
  })
  if (!decoded.ok) assert.fail(JSON.stringify(decoded.issues))
  return decoded.value
}
const kinds = (l: Listener): string[] => {
  const codec = l.filterChains[0]!.codec
  return codec.kind === 'http' ? codec.http.filters.map((f) => f.kind) : [codec.kind]
}

test('an HTTP filter: blocked inbound and skipped outbound while its configuration has not come, then what it is', () => {
  const filters = [http(later('ext', [HTTP_RBAC]))]
  assert.deepEqual([kinds(listener(filters)), kinds(listener(filters, {}, 'OUTBOUND'))], [['blocked'], []])
  assert.deepEqual(kinds(listener(filters, { ext: { '@type': HTTP_RBAC, rules } })), ['rbac'])
  const codec = listener(filters).filterChains[0]!.codec
  assert.match(
    codec.kind === 'http' && codec.http.filters[0]?.kind === 'blocked' ? codec.http.filters[0].reason : '',
    /ext, whose configuration \(ECDS\) has not come/,
  )
})
test('a default configuration serves until it comes; one of a type that the listener does not allow does not count', () => {
  const withDefault = [http(later('ext', [HTTP_RBAC], { default_config: { '@type': HTTP_RBAC } }))]
  assert.deepEqual(kinds(listener(withDefault)), ['rbac'])
  const filters = [http(later('ext', [HTTP_RBAC]))]
  assert.deepEqual(
    kinds(listener(filters, { ext: STATS })),
    ['blocked'],
    'a filter that only observes is not what was asked for',
  )
  assert.deepEqual(kinds(listener(withDefault, { ext: STATS })), ['rbac'])
})
test('a network filter: the chain is blocked until its configuration has come', () => {
  const filters = [later('ext', [RBAC]), tcp]
  assert.deepEqual(kinds(listener(filters)), ['blocked'])
  const come = listener(filters, { ext: { '@type': RBAC, stat_prefix: 's', rules } })
  assert.deepEqual([kinds(come), come.filterChains[0]!.policies.length], [['tcp'], 1])
})
test('the names are remembered, come or not, each once', () => {
  assert.deepEqual(
    listener([later('n', [RBAC]), http(later('a', [HTTP_RBAC]), later('b', [HTTP_RBAC]), later('a', [HTTP_RBAC]))], {
      a: { '@type': HTTP_RBAC },
    }).extensions,
    ['n', 'a', 'b'],
  )
  assert.equal(listener([tcp]).extensions, undefined)
})
test('an extension is decoded as the filter that it will be, and refused with its place', () => {
  const issues = (typed_config: JsonObject | undefined): string[] => {
    const d = decode(
      'extension',
      sample({ '@type': TYPE_URLS.extension, name: 'ext', ...(typed_config ? { typed_config } : {}) }).bytes,
    )
    const found = issuesOf(d).map((i) => i.path)
    return found.length === 0 ? ['taken'] : found
  }
  assert.deepEqual(
    [issues({ '@type': HTTP_RBAC, rules }), issues({ '@type': RBAC, stat_prefix: 's', rules }), issues(STATS)],
    [['taken'], ['taken'], ['taken']],
  )
  assert.deepEqual(issues(undefined), ['typed_config'])
  const broken = {
    action: 'DENY',
    policies: {
      p: { permissions: [{ url_path: { path: { safe_regex: { regex: '(' } } } }], principals: [{ any: true }] },
    },
  }
  assert.match(issues({ '@type': HTTP_RBAC, rules: broken }).join(), /^typed_config\.rules/)
  assert.match(issues({ '@type': RBAC, stat_prefix: 's', rules: broken }).join(), /^typed_config\.rules/)
})
