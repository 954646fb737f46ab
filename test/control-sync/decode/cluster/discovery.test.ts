import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { JsonObject } from '@bufbuild/protobuf'
import type { Cluster } from '../../../../model/cluster.ts'
import { decode } from '../../../../control-sync/decode/decode.ts'
import { sample } from '../../../helpers/control-plane/resources.ts'
import { codec, good, http, T } from '../listener/listener-rig.ts'

const forwardTo = (config: JsonObject, type = 'clusters.dynamic_forward_proxy.v3.ClusterConfig'): Cluster => {
  const decoded = decode(
    'cluster',
    sample({
      '@type': 'type.googleapis.com/envoy.config.cluster.v3.Cluster',
      name: 'c',
      lb_policy: 'CLUSTER_PROVIDED',
      cluster_type: {
        name: 'envoy.clusters.dynamic_forward_proxy',
        typed_config: { '@type': `${T}.${type}`, ...config },
      },
    }).bytes,
  )
  assert.ok(decoded.ok, JSON.stringify(decoded))
  return decoded.value
}

test("cluster_type dynamic_forward_proxy: dns_lookup_family, dns_refresh_rate, host_ttl, max_hosts, and Envoy's defaults", () => {
  assert.deepEqual(forwardTo({ dns_cache_config: { name: 'n' } }).discovery, {
    kind: 'forward-proxy',
    lookupFamily: 'auto',
    refreshMs: 60_000,
    hostTtlMs: 300_000,
    maxHosts: 1024,
  })
  const dns_cache_config = {
    name: 'n',
    dns_lookup_family: 'V4_ONLY',
    dns_refresh_rate: '5s',
    host_ttl: '10s',
    max_hosts: 7,
  }
  assert.deepEqual(forwardTo({ dns_cache_config }).discovery, {
    kind: 'forward-proxy',
    lookupFamily: 'v4-only',
    refreshMs: 5_000,
    hostTtlMs: 10_000,
    maxHosts: 7,
  })
  const many = forwardTo({ dns_cache_config: { name: 'n', max_hosts: 1_000_000 } }).discovery
  assert.ok(many.kind === 'forward-proxy' && many.maxHosts === 1024, 'our bound counts')
})
test('what is no such cluster, or has no bound, is refused', () => {
  assert.match(forwardTo({}).blocked ?? '', /dns_cache_config/)
  assert.match(forwardTo({ dns_cache_config: { name: 'n', max_hosts: 0 } }).blocked ?? '', /max_hosts/)
  assert.match(forwardTo({}, 'filters.http.buffer.v3.Buffer').blocked ?? '', /custom cluster types/)
})
test('the filter dynamic_forward_proxy: of HTTP nothing is left to do', () => {
  const forward = {
    '@type': `${T}.filters.http.dynamic_forward_proxy.v3.FilterConfig`,
    dns_cache_config: { name: 'n' },
  }
  const made = codec(good({}, { filters: [http({ http_filters: [{ name: 'f', typed_config: forward }] })] }).value)
  assert.deepEqual(made.kind === 'http' && made.http.filters, [])
})
