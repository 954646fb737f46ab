import { test } from 'node:test'
import assert from 'node:assert/strict'
import { status, type ServiceError } from '@grpc/grpc-js'
import { generateKeyPairSync, X509Certificate } from 'node:crypto'
import tls from 'node:tls'
import { systemClock } from '../../../core/os/clock.ts'
import { systemDisk } from '../../../core/os/disk.ts'
import { openCa } from '../../../hub/ca/ca.ts'
import { testCa } from '../../helpers/test-ca.ts'
import { makeCsr } from '../ca/make-csr.ts'
import { bearer, certify, join, testHub } from '../start-hub.ts'

const gateway = { namespace: 'edge', serviceAccount: 'gateway', nodes: '*' }
const csr = (): string => makeCsr().csrPem
const fails = (call: Promise<unknown>, code: status, words: RegExp): Promise<void> =>
  assert.rejects(call, (err: ServiceError) => {
    assert.equal(status[err.code], status[code], err.details)
    assert.match(err.details, words)
    return true
  })

test('a token gives a certificate for its workload, leaf and root, for a day', async (t) => {
  const h = await testHub(t)
  const { certChain } = await certify(h.client(), bearer((await h.hub.createToken(gateway)).token), { csr: csr() })
  assert.equal(certChain.length, 2)
  assert.equal(certChain[1], h.hub.rootsPem)
  const leaf = new X509Certificate(certChain[0]!)
  assert.equal(leaf.subjectAltName, 'URI:spiffe://demo.mesh/ns/edge/sa/gateway')
  assert.ok(Math.abs(leaf.validToDate.getTime() - Date.now() - 86_400_000) < 60_000)
})

test('a certificate of the hub renews itself without a token, as the same identity, with another key', async (t) => {
  const h = await testHub(t)
  const first = await join(h, (await h.hub.createToken(gateway)).token)
  const { certChain } = await certify(h.client(first), bearer(), {
    csr: makeCsr({ uri: 'spiffe://demo.mesh/ns/cloud/sa/other' }).csrPem,
    validityDuration: 600n,
  })
  const leaf = new X509Certificate(certChain[0]!)
  assert.equal(leaf.subjectAltName, 'URI:spiffe://demo.mesh/ns/edge/sa/gateway')
  assert.ok(leaf.validToDate.getTime() - Date.now() <= 600_000)
})

test('an old token beside a valid certificate does no harm', async (t) => {
  const h = await testHub(t)
  const shown = await join(h, (await h.hub.createToken(gateway)).token)
  await certify(h.client(shown), bearer('rubbish'), { csr: csr() })
})

test('nothing, rubbish and a revoked token are UNAUTHENTICATED with code and remedy', async (t) => {
  const h = await testHub(t)
  const { token, jti } = await h.hub.createToken(gateway)
  await fails(certify(h.client(), bearer(), { csr: csr() }), status.UNAUTHENTICATED, /MESH_CONTROL_UNAUTHENTICATED/)
  await fails(
    certify(h.client(), bearer('rubbish'), { csr: csr() }),
    status.UNAUTHENTICATED,
    /MESH_TOKEN_INVALID.*token create/,
  )
  await h.hub.registry.revokeToken(jti, Date.now())
  await fails(certify(h.client(), bearer(token), { csr: csr() }), status.UNAUTHENTICATED, /revoked/)
  assert.equal(h.metrics.total('mesh_hub_certificates_refused_total'), 3)
  assert.ok(!JSON.stringify(h.lines).includes(token), 'no token in the log')
})

test('a certificate that somebody made with the same names proves nothing', async (t) => {
  const h = await testHub(t)
  const forged = testCa('demo.mesh').issue('edge', 'gateway')
  const selfMade = { keyPem: forged.keyPem, chainPem: forged.chainPem + forged.rootsPem }
  await fails(
    certify(h.client(selfMade), bearer(), { csr: csr() }),
    status.UNAUTHENTICATED,
    /MESH_CONTROL_UNAUTHENTICATED/,
  )
  // With a token the connection works all the same: a device whose certificate ended has to be able to join again.
  await certify(h.client(selfMade), bearer((await h.hub.createToken(gateway)).token), { csr: csr() })
})

test('a certificate that ends while its connection is open is refused on the next call', async (t) => {
  let aheadMs = 0
  const h = await testHub(t, '', { clock: { ...systemClock, wallMs: () => systemClock.wallMs() + aheadMs } })
  const client = h.client(await join(h, (await h.hub.createToken(gateway)).token))
  await certify(client, bearer(), { csr: csr() })
  aheadMs = 86_400_000
  await fails(certify(client, bearer(), { csr: csr() }), status.UNAUTHENTICATED, /not valid at this time/)
})

test("a leaf of the hub's own CA without SPIFFE id, as its server certificate is, is no workload", async (t) => {
  const h = await testHub(t)
  const server = openCa({
    folder: `${h.folder}/state/ca`,
    disk: systemDisk,
    clock: systemClock,
    trustDomain: 'demo.mesh',
  }).serverCertificate(['hub.demo.mesh'])
  await fails(certify(h.client(server), bearer(), { csr: csr() }), status.UNAUTHENTICATED, /no workload/)
})

test('revoking a token stops the renewals of what joined with it, also after a renewal', async (t) => {
  const h = await testHub(t)
  const { token, jti } = await h.hub.createToken(gateway)
  const first = await join(h, token)
  const keys = makeCsr()
  const { certChain } = await certify(h.client(first), bearer(), { csr: keys.csrPem })
  await h.hub.registry.revokeToken(jti, Date.now())
  await fails(certify(h.client(first), bearer(), { csr: csr() }), status.UNAUTHENTICATED, /revoked/)
  await fails(
    certify(h.client({ keyPem: keys.keyPem, chainPem: certChain[0]! }), bearer(), { csr: csr() }),
    status.UNAUTHENTICATED,
    /revoked/,
  )
})

test('a token with one use certifies one key; the same key may ask again after a lost answer', async (t) => {
  const h = await testHub(t)
  const { token } = await h.hub.createToken({ ...gateway, maxUses: 1 })
  const keys = generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
  await join(h, token, keys)
  await join(h, token, keys)
  await fails(join(h, token), status.PERMISSION_DENIED, /MESH_CONTROL_FORBIDDEN.*as many keys/)
})

test('what the request may not ask: a bad CSR, a life above the maximum, to be somebody else', async (t) => {
  const h = await testHub(t, 'maxCertificateTtlSec: 90000\n')
  const auth = bearer((await h.hub.createToken(gateway)).token)
  await fails(certify(h.client(), auth, { csr: 'no csr' }), status.INVALID_ARGUMENT, /MESH_MALFORMED_INPUT/)
  await fails(certify(h.client(), auth, { csr: csr(), validityDuration: 90_001n }), status.INVALID_ARGUMENT, /90000 s/)
  await fails(
    certify(h.client(), auth, { csr: csr(), metadata: { ImpersonatedIdentity: 'spiffe://demo.mesh/ns/x/sa/y' } }),
    status.PERMISSION_DENIED,
    /ImpersonatedIdentity/,
  )
  for (const validityDuration of [0n, -5n])
    assert.equal((await certify(h.client(), auth, { csr: csr(), validityDuration })).certChain.length, 2)
})

test('the port speaks TLS 1.2 and up, shows the configured name, and asks for a certificate without insisting', async (t) => {
  const h = await testHub(t)
  const socket = tls.connect({
    port: h.hub.port,
    host: '127.0.0.1',
    ca: h.hub.rootsPem,
    servername: 'hub.demo.mesh',
    ALPNProtocols: ['h2'],
  })
  await new Promise((resolve, reject) => {
    socket.once('secureConnect', resolve)
    socket.once('error', reject)
  })
  assert.equal(socket.authorized, true)
  assert.equal(socket.alpnProtocol, 'h2')
  socket.destroy()
  const old = tls.connect({
    port: h.hub.port,
    host: '127.0.0.1',
    ca: h.hub.rootsPem,
    servername: 'hub.demo.mesh',
    maxVersion: 'TLSv1.1',
    minVersion: 'TLSv1',
  })
  await assert.rejects(
    new Promise((resolve, reject) => {
      old.once('secureConnect', resolve)
      old.once('error', reject)
    }),
  )
})
