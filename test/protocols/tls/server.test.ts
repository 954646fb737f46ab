import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import net, { type AddressInfo } from 'node:net'
import tls from 'node:tls'
import { systemClock } from '../../../core/os/clock.ts'
import type { Identity } from '../../../model/identity.ts'
import type { DownstreamTls, SanMatch } from '../../../model/tls.ts'
import { TlsTerminator, type Terminated } from '../../../protocols/tls/server.ts'
import { SimClock } from '../../helpers/sim-clock.ts'
import { testCa } from '../../helpers/test-ca.ts'

const mesh = testCa('mesh.test')
const own = mesh.issue('cloud', 'server')
const strict: DownstreamTls = {
  certificate: { from: 'workload' },
  validation: { roots: { from: 'workload' }, sans: [] },
  requireClientCertificate: true,
  alpnProtocols: ['h2', 'http/1.1'],
  minVersion: 'TLSv1.2',
  maxVersion: 'TLSv1.3',
  cipherSuites: [],
}
const source = { current: () => own, watch: () => ({ [Symbol.dispose]: () => {} }) }

/** One handshake; `client` undefined: without certificate. */
async function handshake(
  t: TestContext,
  settings: DownstreamTls,
  client: Identity | undefined,
  alpn: string[] = [],
): Promise<Terminated> {
  const server = net.createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const socket = tls.connect({
    port: (server.address() as AddressInfo).port,
    host: '127.0.0.1',
    ca: mesh.rootsPem,
    checkServerIdentity: () => undefined,
    ALPNProtocols: alpn,
    ...(client ? { cert: client.chainPem, key: client.keyPem } : {}),
  })
  socket.on('error', () => {})
  const [accepted] = (await once(server, 'connection')) as [net.Socket]
  accepted.on('error', () => {})
  t.after(() => {
    socket.destroy()
    accepted.destroy()
    server.close()
  })
  return new TlsTerminator(systemClock, source).terminate(accepted, {
    tls: settings,
    handshakeMs: 5_000,
    signal: new AbortController().signal,
  })
}

test('STRICT: a client of the mesh gets in and is known by its SPIFFE id', async (t) => {
  const { facts } = await handshake(t, strict, mesh.issue('edge', 'gateway'), ['istio-http/1.1', 'h2'])
  assert.equal(facts.peer?.spiffeId?.uri, 'spiffe://mesh.test/ns/edge/sa/gateway')
  assert.equal(facts.alpn, 'h2')
})
test('STRICT: no certificate, one of another CA and an expired one are refused before a byte is readable', async (t) => {
  await assert.rejects(handshake(t, strict, undefined), { code: 'MESH_TLS_HANDSHAKE' })
  await assert.rejects(handshake(t, strict, testCa('mesh.test').issue('edge', 'gateway')), {
    code: 'MESH_TLS_HANDSHAKE',
  })
  await assert.rejects(
    handshake(t, strict, mesh.issue('edge', 'gateway', { notBeforeMs: Date.now() - 7_200_000, ttlSec: 3600 })),
    { code: 'MESH_TLS_HANDSHAKE' },
  )
})
test('a trusted client whose name is not accepted is refused', async (t) => {
  const only = (value: string): SanMatch => ({ type: 'uri', match: { kind: 'exact', value, ignoreCase: false } })
  const settings: DownstreamTls = {
    ...strict,
    validation: { roots: { from: 'workload' }, sans: [only('spiffe://mesh.test/ns/edge/sa/other')] },
  }
  await assert.rejects(handshake(t, settings, mesh.issue('edge', 'gateway')), { code: 'MESH_TLS_HANDSHAKE' })
})
test('where no certificate is demanded none is fine, and a false one is not', async (t) => {
  const optional: DownstreamTls = { ...strict, requireClientCertificate: false }
  assert.equal((await handshake(t, optional, undefined)).facts.peer, undefined)
  await assert.rejects(handshake(t, optional, testCa('mesh.test').issue('edge', 'gateway')), {
    code: 'MESH_TLS_HANDSHAKE',
  })
})
test('a client that ends during the handshake is noticed at once, not when its time is over', async (t) => {
  const server = net.createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const client = net.connect((server.address() as AddressInfo).port, '127.0.0.1')
  const [accepted] = (await once(server, 'connection')) as [net.Socket]
  accepted.on('error', () => {})
  t.after(() => {
    client.destroy()
    server.close()
  })
  const over = new TlsTerminator(new SimClock(), source).terminate(accepted, {
    tls: strict,
    handshakeMs: 10_000,
    signal: new AbortController().signal,
  })
  client.end()
  await assert.rejects(over, { code: 'MESH_TLS_HANDSHAKE' })
})
