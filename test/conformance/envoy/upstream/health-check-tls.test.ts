/** Active health checks over TLS: through which transport socket a host is asked, and with which names. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import https from 'node:https'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import type { TLSSocket } from 'node:tls'
import type { JsonObject } from '@bufbuild/protobuf'
import { certificate } from '../../../helpers/odd-certificates.ts'
import { clusterTo, httpTo, startBoth, type } from './both.ts'

const socket = (sni: string): JsonObject => ({
  name: 'tls',
  typed_config: {
    '@type': type('extensions.transport_sockets.tls.v3.UpstreamTlsContext'),
    sni,
    common_tls_context: { alpn_protocols: ['http/1.1'] },
  },
})
const check = (name: string, more: JsonObject = {}): JsonObject => ({
  health_checks: [
    {
      timeout: '2s',
      interval: '1s',
      no_traffic_interval: '1s',
      unhealthy_threshold: 2,
      healthy_threshold: 2,
      http_health_check: { path: `/check/${name}` },
      ...more,
    },
  ],
  common_lb_config: { healthy_panic_threshold: { value: 0 } },
})
const CLUSTERS: Readonly<Record<string, JsonObject>> = {
  plain: { ...check('plain'), transport_socket: socket('traffic.test') },
  alpn: {
    ...check('alpn', { tls_options: { alpn_protocols: ['probe'] } }),
    transport_socket: socket('traffic.test'),
  },
  criteria: {
    ...check('criteria', { transport_socket_match_criteria: { mode: 'probe' } }),
    transport_socket: socket('traffic.test'),
    transport_socket_matches: [{ name: 'p', match: { mode: 'probe' }, transport_socket: socket('probe.test') }],
  },
}

test('hosts are asked over the transport that Envoy takes', { timeout: 120_000 }, async (t) => {
  const made = certificate({ name: 'server' })
  const asked: Record<string, Set<string>> = {}
  const server = https.createServer(
    { key: made.keyPem, cert: made.pem, ALPNCallback: ({ protocols }) => protocols[0] },
    (request, response) => {
      const { servername, alpnProtocol } = request.socket as TLSSocket & { servername: string }
      const seen = (asked[request.url!] ??= new Set())
      seen.add(`${String(request.headers.host)} ${servername} ${String(alpnProtocol)}`)
      response.end()
    },
  )
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  const names = Object.keys(CLUSTERS)
  const ports = await startBoth(
    t,
    names.map((name) => clusterTo(name, [['127.0.0.1', port]], CLUSTERS[name]!)),
    Object.fromEntries(names.map((name) => [name, httpTo(name)])),
  )
  for (const name of names)
    for (const to of [ports[name]!.theirs, ports[name]!.ours])
      assert.equal((await fetch(`http://127.0.0.1:${to}/`)).status, 200, name)
  // Both ask alike: one line for each.
  assert.deepEqual(Object.fromEntries(names.map((name) => [name, [...asked[`/check/${name}`]!]])), {
    plain: ['plain traffic.test http/1.1'],
    alpn: ['alpn traffic.test probe'],
    criteria: ['criteria probe.test http/1.1'],
  })
})
