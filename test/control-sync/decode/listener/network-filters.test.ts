/** What network filters in front of the one that ends a chain say of it. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { JsonObject } from '@bufbuild/protobuf'
import { codec, good, T, tcp } from './listener-rig.ts'

const bySni = (more: JsonObject): unknown => {
  const typed_config = {
    '@type': `${T}.filters.network.sni_dynamic_forward_proxy.v3.FilterConfig`,
    dns_cache_config: { name: 'n' },
    ...more,
  }
  const found = codec(good({}, { filters: [{ name: 'sni', typed_config }, tcp] }).value)
  return found.kind === 'tcp' ? found.tcp.forwardPort : found.kind
}

test('the filter by SNI says the port of the host, that of https by default', () => {
  assert.equal(bySni({ port_value: 8443 }), 8443)
  assert.equal(bySni({}), 443)
})
test('a port that is none blocks the chain', () => {
  assert.equal(bySni({ port_value: 65_536 }), 'blocked')
})
