/** What comes through a tunnel where istiod sends no chains for it: those of the inbound listener, by PeerAuthentication. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { ANY_CONNECTION, type FilterChain, type FilterChainMatch, type Listener } from '../../../../model/listener.ts'
import type { DownstreamTls } from '../../../../model/tls.ts'
import { choose, collectInterest } from '../../../../protocols/downstream/filter-chain.ts'
import { deriveTunnelListener } from '../../../../protocols/downstream/hbone/tunnel-listener.ts'
import { listener } from '../data-path-rig.ts'
import { MUTUAL } from '../../mutual-tls.ts'

/** Sidecar ingress.tls: a certificate of the user's own. */
const OWN: DownstreamTls = {
  ...MUTUAL,
  certificate: { from: 'pem', chainPem: '', keyPem: '' },
  validation: { roots: { from: 'pem', rootsPem: '' }, sans: [] },
}
const chain = (name: string, tls: DownstreamTls | undefined, match: Partial<FilterChainMatch>): FilterChain => ({
  name,
  tls,
  match: { ...ANY_CONNECTION, ...match },
  policies: [],
  codec: { kind: 'blocked', reason: name },
})
const tls = (applicationProtocols: string[], destinationPort?: number): Partial<FilterChainMatch> => ({
  destinationPort,
  transportProtocol: 'tls',
  applicationProtocols,
})
const raw = (applicationProtocols: string[], destinationPort?: number): Partial<FilterChainMatch> => ({
  destinationPort,
  transportProtocol: 'raw_buffer',
  applicationProtocols,
})
const HTTP_ALPN = ['istio-http/1.0', 'istio-http/1.1', 'istio-h2']

function taken(from: Listener, port: number, alpn: string[], transport: 'tls' | 'raw_buffer' = 'raw_buffer'): string {
  const facts = { destinationIp: '10.0.0.1', sourceIp: '10.0.0.2', sourcePort: 1, serverName: '' }
  return choose(deriveTunnelListener(from), { ...facts, destinationPort: port, transport, alpn })?.name ?? 'none'
}

const STRICT = listener([
  chain('any http', MUTUAL, tls(HTTP_ALPN)),
  chain('any tcp', MUTUAL, tls([])),
  chain('tcp 9000', MUTUAL, tls([], 9000)),
  chain('http 8080', MUTUAL, tls([], 8080)),
])
const PERMISSIVE = listener([
  chain('any mutual http', MUTUAL, tls(HTTP_ALPN)),
  chain('any plain http', undefined, raw(['http/1.1', 'h2c'])),
  chain('any mutual tcp', MUTUAL, tls(['istio-peer-exchange', 'istio'])),
  chain('any plain', undefined, raw([])),
  chain('any passthrough', undefined, tls([])),
])
const DISABLED = listener([chain('plain', undefined, { destinationPort: 8080 }), chain('own tls', OWN, tls([], 8443))])

for (const [what, from, rows] of [
  [
    'STRICT',
    STRICT,
    [
      [80, ['http/1.1'], 'any http'],
      [80, ['h2c'], 'any http'],
      [80, [], 'any tcp'],
      [9000, ['http/1.1'], 'tcp 9000'],
      [8080, [], 'http 8080'],
    ],
  ],
  [
    'PERMISSIVE',
    PERMISSIVE,
    [
      [80, ['http/1.1'], 'any mutual http'],
      [80, [], 'any mutual tcp'],
    ],
  ],
  [
    'DISABLE',
    DISABLED,
    [
      [8080, ['http/1.1'], 'plain'],
      [8443, [], 'none'],
    ],
  ],
] as const)
  test(`${what}: the chains for mutual TLS, and those in clear only where there are no others`, () => {
    for (const [port, alpn, name] of rows) assert.equal(taken(from, port, [...alpn]), name, `${port} ${alpn.join()}`)
    for (const one of deriveTunnelListener(from).filterChains) assert.notEqual(one.tls, MUTUAL)
  })

test('TLS of the application’s own stays: the tunnel is not what it asks for', () => {
  assert.equal(taken(DISABLED, 8443, [], 'tls'), 'own tls')
  assert.equal(deriveTunnelListener(DISABLED).filterChains.find((c) => c.name === 'own tls')?.tls, OWN)
})

test('what the tunnel’s own handshake did not ask for stays: other roots, lists of the revoked, pins', () => {
  const roots = { from: 'workload' } as const
  for (const validation of [
    { roots: { from: 'pem', rootsPem: '' }, sans: [] } as const,
    { roots, sans: [], crl: { from: 'pem', crlPem: '' } } as const,
    { roots, sans: [], pins: { certificates: ['ab'], keys: [] } },
  ]) {
    const asks = { ...MUTUAL, validation }
    const from = listener([chain('asks', asks, tls([], 9000))])
    assert.equal(taken(from, 9000, []), 'none')
    assert.equal(taken(from, 9000, [], 'tls'), 'asks')
    assert.equal(deriveTunnelListener(from).filterChains[0]?.tls, asks)
  }
})

test('where nothing depends on what is spoken nobody waits for it: a server may speak first', () => {
  const made = deriveTunnelListener(STRICT)
  assert.deepEqual(collectInterest(made, 9000), { tls: false, http: false, mqtt: false })
  assert.equal(collectInterest(made, 80).http, true)
})

test('a listener stays one through tunnels, so that a configuration change finds its connections', () => {
  assert.equal(deriveTunnelListener(STRICT), deriveTunnelListener(STRICT))
  assert.notEqual(deriveTunnelListener(STRICT), deriveTunnelListener(PERMISSIVE))
})
