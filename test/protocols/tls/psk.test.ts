import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import net, { type AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import tls from 'node:tls'
import { systemClock } from '../../../core/os/clock.ts'
import type { DownstreamTls } from '../../../model/tls.ts'
import { originatePsk } from '../../../protocols/tls/psk.ts'
import { TlsTerminator, type Terminated } from '../../../protocols/tls/server.ts'
import { testCa } from '../../helpers/test-ca.ts'

const KEY = Buffer.from('00112233445566778899aabbccddeeff', 'hex')
const keys = new Map([['pump-7', KEY]])
const settings: DownstreamTls = {
  certificate: undefined,
  validation: undefined,
  requireClientCertificate: false,
  alpnProtocols: ['mqtt'],
  minVersion: 'TLSv1.2',
  maxVersion: 'TLSv1.3',
  cipherSuites: [],
  psk: {
    hint: 'site',
    find(identity) {
      if (identity === 'broken') throw new Error('the disk is gone')
      return keys.get(identity)
    },
  },
}
const source = { current: () => undefined, watch: () => ({ [Symbol.dispose]: () => {} }) }
const terminator = new TlsTerminator(systemClock, source)

async function handshake(t: TestContext, client: tls.ConnectionOptions): Promise<Terminated> {
  const server = net.createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const socket = tls.connect({ port, host: '127.0.0.1', checkServerIdentity: () => undefined, ...client })
  socket.on('error', () => {})
  const [accepted] = (await once(server, 'connection')) as [net.Socket]
  accepted.on('error', () => {})
  t.after(() => {
    socket.destroy()
    accepted.destroy()
    server.close()
  })
  return terminator.terminate(accepted, { tls: settings, handshakeMs: 5_000, signal: new AbortController().signal })
}
const psk = (identity: string, key = KEY, ciphers = 'PSK'): tls.ConnectionOptions => ({
  ciphers,
  maxVersion: 'TLSv1.2',
  pskCallback: () => ({ identity, psk: key }),
})

for (const ciphers of ['PSK', 'ECDHE-PSK-CHACHA20-POLY1305', 'DHE-PSK-AES128-GCM-SHA256', 'PSK-AES128-CBC-SHA256'])
  test(`who has the key of an identity is that identity: ${ciphers}`, async (t) => {
    const { facts } = await handshake(t, psk('pump-7', KEY, ciphers))
    assert.deepEqual([facts.pskIdentity, facts.peer, facts.version], ['pump-7', undefined, 'TLSv1.2'])
  })

for (const [name, client] of [
  ['a wrong key', psk('pump-7', Buffer.alloc(16, 1))],
  ['an identity that nobody has', psk('pump-8')],
  ['an empty identity', psk('')],
  ['an identity whose lookup fails', psk('broken')],
  ['no key at all', { rejectUnauthorized: false }],
  ['TLS 1.3', { ...psk('pump-7'), minVersion: 'TLSv1.3', maxVersion: 'TLSv1.3' }],
] as const)
  test(`refused: ${name}`, async (t) => {
    await assert.rejects(handshake(t, client as tls.ConnectionOptions), { code: 'MESH_TLS_HANDSHAKE' })
  })

test('several at once each have their own identity, and a key that is new counts at once', async (t) => {
  keys.set('press-1', Buffer.alloc(32, 7))
  const all = await Promise.all([
    handshake(t, psk('pump-7')),
    handshake(t, psk('press-1', Buffer.alloc(32, 7))),
    handshake(t, psk('pump-7')),
  ])
  assert.deepEqual(
    all.map(({ facts }) => facts.pskIdentity),
    ['pump-7', 'press-1', 'pump-7'],
  )
})

/** The server's side of a connection that our client makes. */
async function originated(t: TestContext, server: net.Server | tls.Server, key = KEY): Promise<Duplex> {
  server.on('tlsClientError', () => {})
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const raw = net.connect((server.address() as AddressInfo).port, '127.0.0.1')
  raw.on('error', () => {})
  t.after(() => {
    raw.destroy()
    server.close()
  })
  await once(raw, 'connect')
  const o = { clock: systemClock, timeoutMs: 2_000, signal: new AbortController().signal }
  return await originatePsk(raw, { identity: 'pump-7', key }, o)
}

test('as a client: a server that has the key gets what is said', async (t) => {
  const server = tls.createServer({
    ciphers: 'PSK',
    maxVersion: 'TLSv1.2',
    pskCallback: (_socket, identity) => keys.get(identity) ?? null,
  })
  const said = once(server, 'secureConnection').then(async ([socket]) => await once(socket as tls.TLSSocket, 'data'))
  const stream = await originated(t, server)
  stream.write('hello')
  assert.equal(String((await said)[0]), 'hello')
})

const { chainPem, keyPem } = testCa().issue('site', 'broker', { dnsNames: ['localhost'] })
for (const [name, server] of [
  [
    'has another key',
    () => tls.createServer({ ciphers: 'PSK', maxVersion: 'TLSv1.2', pskCallback: () => Buffer.alloc(16) }),
  ],
  ['shows a certificate', () => tls.createServer({ cert: chainPem, key: keyPem })],
  [
    'speaks TLS 1.3 with a certificate alone',
    () => tls.createServer({ cert: chainPem, key: keyPem, minVersion: 'TLSv1.3' }),
  ],
  ['speaks no TLS', () => net.createServer((socket) => socket.on('error', () => {}).end('220 hello\r\n'))],
  ['closes', () => net.createServer((socket) => socket.destroy())],
] as const)
  test(`as a client: a server that ${name} is none`, async (t) => {
    await assert.rejects(originated(t, server()), { code: 'MESH_UPSTREAM_TLS' })
  })
test('as a client: a server that says nothing is waited for as long as is said', async (t) => {
  await assert.rejects(
    originated(
      t,
      net.createServer(() => {}),
    ),
    { code: 'MESH_CONNECT_TIMEOUT' },
  )
})
