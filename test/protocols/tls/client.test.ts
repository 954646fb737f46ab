import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { hash, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import net, { type AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import tls from 'node:tls'
import { systemClock } from '../../../core/os/clock.ts'
import type { Identity } from '../../../model/identity.ts'
import type { Pins, UpstreamTls } from '../../../model/tls.ts'
import { originate, findRefusal, type Originated } from '../../../protocols/tls/client.ts'
import { testCa } from '../../helpers/test-ca.ts'

const mesh = testCa('mesh.test')
const server = mesh.issue('cloud', 'server')
const client = mesh.issue('edge', 'client')
const toServer: UpstreamTls = {
  certificate: { from: 'workload' },
  validation: {
    roots: { from: 'workload' },
    sans: [{ type: 'uri', match: { kind: 'exact', value: server.spiffeId.uri, ignoreCase: false } }],
  },
  sni: '',
  autoSni: false,
  alpnProtocols: [],
  minVersion: 'TLSv1.2',
  maxVersion: 'TLSv1.3',
  cipherSuites: [],
}

/** One handshake with a server that shows `shown` and asks for a certificate of `roots`. */
async function handshake(
  t: TestContext,
  p: { shown?: Identity; roots?: string; identity?: Identity; settings?: Partial<UpstreamTls>; asks?: boolean } = {},
): Promise<Originated> {
  const { shown = server, roots = mesh.rootsPem, identity = client, settings = {}, asks = true } = p
  const listener = tls
    .createServer(
      { key: shown.keyPem, cert: shown.chainPem, ca: roots, requestCert: asks, rejectUnauthorized: asks },
      (socket) => {
        socket.on('error', () => {})
        if (asks) socket.destroy()
      },
    )
    .listen(0, '127.0.0.1')
  listener.on('tlsClientError', () => {})
  await once(listener, 'listening')
  const stream = net.connect({ port: (listener.address() as AddressInfo).port, host: '127.0.0.1' })
  await once(stream, 'connect')
  t.after(() => {
    stream.destroy()
    listener.close()
  })
  return originate(stream, {
    tls: { ...toServer, ...settings },
    identity,
    alpn: [],
    serverName: '',
    clock: systemClock,
    timeoutMs: 5_000,
    signal: new AbortController().signal,
  })
}

function closed(stream: Duplex): Promise<void> {
  return new Promise((resolve) => {
    stream
      .once('close', () => {
        resolve()
      })
      .resume()
  })
}

test('pins: the certificate or its key must be one of them, besides the roots and the names', async (t) => {
  const { fingerprint256, publicKey } = new X509Certificate(server.chainPem)
  const certificate = fingerprint256.replaceAll(':', '').toLowerCase()
  const key = hash('sha256', publicKey.export({ type: 'spki', format: 'der' }), 'base64')
  const pinned = (pins: Pins): Partial<UpstreamTls> => ({ validation: { ...toServer.validation!, pins } })
  const none = Buffer.alloc(32).toString('base64')
  await handshake(t, { settings: pinned({ certificates: [certificate], keys: [] }) })
  await handshake(t, { settings: pinned({ certificates: [], keys: [none, key] }) })
  await handshake(t, { settings: pinned({ certificates: ['ab'.repeat(32)], keys: [key] }) })
  for (const pins of [
    { certificates: ['ab'.repeat(32)], keys: [] },
    { certificates: [], keys: [none] },
  ])
    await assert.rejects(handshake(t, { settings: pinned(pins) }), {
      code: 'MESH_PEER_MISMATCH',
      message: /none of those/,
    })
  const stranger = testCa('elsewhere').issue('cloud', 'server', { spiffeUri: server.spiffeId.uri })
  const own = new X509Certificate(stranger.chainPem).fingerprint256.replaceAll(':', '').toLowerCase()
  await assert.rejects(
    handshake(t, { shown: stranger, settings: pinned({ certificates: [own], keys: [] }) }),
    { code: 'MESH_UPSTREAM_TLS' },
    'a pin is no trust',
  )
})

test('a server of the mesh with the expected name is talked to', async (t) => {
  const { stream, peer } = await handshake(t)
  assert.equal(peer?.spiffeId?.uri, server.spiffeId.uri)
  await closed(stream)
  assert.equal(findRefusal(stream), undefined, 'a connection that ends is no refusal')
})
test('a server with another name, and one of another CA that says the right name, are not', async (t) => {
  await assert.rejects(handshake(t, { shown: mesh.issue('cloud', 'other') }), { code: 'MESH_PEER_MISMATCH' })
  await assert.rejects(handshake(t, { shown: testCa('mesh.test').issue('cloud', 'server') }), {
    code: 'MESH_UPSTREAM_TLS',
  })
})
test('a server of TLS 1.3 that does not accept our certificate says so after our handshake, and is heard (RFC 8446 §4.4.2.4)', async (t) => {
  const { stream } = await handshake(t, { settings: { certificate: undefined } })
  await closed(stream)
  assert.equal(findRefusal(stream)?.code, 'MESH_UPSTREAM_TLS')
  assert.match(
    findRefusal(stream)!.message,
    /^the server does not accept our certificate: .*alert certificate required$/,
  )
})
test('a server of TLS 1.3 that closes without having said anything may not have accepted our certificate', async (t) => {
  const broken = (code: string): Error => Object.assign(new Error(`write ${code}`), { code })
  for (const { code, settings = {}, told } of [
    { code: 'EPIPE', told: 'MESH_UPSTREAM_TLS' },
    { code: 'ECONNRESET', told: 'MESH_UPSTREAM_TLS' },
    { code: 'ETIMEDOUT', told: undefined },
    { code: 'EPIPE', settings: { certificate: undefined }, told: undefined },
    { code: 'EPIPE', settings: { maxVersion: 'TLSv1.2' as const }, told: undefined },
  ]) {
    const { stream } = await handshake(t, { settings, asks: false })
    stream.destroy(broken(code))
    await closed(stream)
    assert.equal(findRefusal(stream)?.code, told, `${code} ${JSON.stringify(settings)}`)
  }
  const { stream } = await handshake(t, { asks: false })
  await once(stream, 'session')
  stream.destroy(broken('EPIPE'))
  await closed(stream)
  assert.equal(findRefusal(stream), undefined, 'it has sent a ticket: it had accepted the certificate')
})
