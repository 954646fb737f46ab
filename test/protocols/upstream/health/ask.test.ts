/** Over what a host is asked. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { selectTransport, type Cluster, type Transport } from '../../../../model/cluster.ts'
import {
  containsInOrder,
  deriveCheckedCluster,
  deriveCheckedEndpoint,
} from '../../../../protocols/upstream/health/ask.ts'
import { cluster, endpoint } from '../../http/harness.ts'
import { checkOf, HTTP } from './rig.ts'

const tls = (sni: string): Transport => ({ kind: 'tls', tls: { sni, alpnProtocols: ['h2'] } as never })
const made: Cluster = cluster([], {
  transport: tls('all'),
  transportMatches: [{ name: 'p', match: { mode: 'probe' }, transport: tls('probe') }],
  breakers: { ...cluster().breakers, maxConnections: 0 },
  maxRequestsPerConnection: 1,
})
const at = endpoint('10.0.0.1', 80, {
  transportLabels: { mode: 'other' },
  others: [{ address: '10.0.0.2', port: 80 }],
})

test('the transport is that of the endpoint, or of transport_socket_match_criteria', () => {
  const chosen = (labels?: Record<string, string>): string => {
    const check = checkOf(labels ? { transportLabels: labels } : {})
    const transport = selectTransport(deriveCheckedCluster(made, check), deriveCheckedEndpoint(at, check))
    return transport.kind === 'tls' ? transport.tls.sni : transport.kind
  }
  assert.equal(chosen(), 'all')
  assert.equal(chosen({ mode: 'probe' }), 'probe')
})
test('tls_options replace what is offered, of each transport', () => {
  const of = deriveCheckedCluster(made, checkOf({ alpnProtocols: ['probe'] }))
  for (const transport of [of.transport, of.transportMatches[0]!.transport])
    assert.deepEqual(transport.kind === 'tls' && transport.tls.onlyAlpn, ['probe'])
})
test('nothing that bounds traffic bounds checks, and the codec is that of the check', () => {
  const of = deriveCheckedCluster(made, checkOf())
  assert.deepEqual(
    [of.breakers.maxConnections, of.maxRequestsPerConnection, of.protocol],
    [Infinity, undefined, 'http1'],
  )
  assert.equal(deriveCheckedCluster(made, checkOf({ asks: { ...HTTP, codec: 'http2' } })).protocol, 'http2')
})
test('other addresses are tried unless the endpoint is asked elsewhere', () => {
  assert.equal(deriveCheckedEndpoint(at, checkOf()).others?.length, 1)
  const elsewhere = deriveCheckedEndpoint({ ...at, check: { address: '10.0.0.9' } }, checkOf())
  assert.deepEqual([elsewhere.address, elsewhere.port, elsewhere.others], ['10.0.0.9', 80, undefined])
})
test('parts are found in their order, and not one within another', () => {
  const found = (text: string, ...parts: string[]): boolean =>
    containsInOrder(
      Buffer.from(text),
      parts.map((p) => Buffer.from(p)),
    )
  assert.ok(found('') && found('aXb', 'a', 'b') && found('aa', 'a', 'a'))
  assert.ok(!found('ba', 'a', 'b') && !found('a', 'a', 'a'))
})
