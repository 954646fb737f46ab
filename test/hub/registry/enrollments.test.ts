import { testRegistry } from './on-stores.ts'
import assert from 'node:assert/strict'
import type { MeshError } from '../../../core/errors.ts'
import { KEY_HOLDER } from '../../../hub/registry/enrollments.ts'
import type { Registry } from '../../../hub/registry/registry.ts'

const SPIFFE = 'spiffe://demo.mesh/ns/edge/sa/gateway'
const gw1 = {
  name: 'gw-1',
  keyId: 'k1',
  namespace: 'edge',
  serviceAccount: 'gateway',
  jti: 'j1',
  labels: { site: 'north' },
  address: '10.0.0.1',
}
const claim = {
  name: 'gw-1',
  nodeId: 'id',
  spiffeUri: SPIFFE,
  ip: '10.0.0.1',
  holder: `${KEY_HOLDER}k1`,
  jti: undefined,
  nowMs: 10,
}
const certificate = (serial: string, device: string) => ({
  serial,
  spiffeUri: SPIFFE,
  jti: null,
  device,
  ip: '',
  issuedMs: 1,
  notAfterMs: 1_000,
})

testRegistry(
  'a name belongs to the key: neither a token for just that name nor another key has it',
  async (registry) => {
    const token = { jti: 'j1', namespace: 'edge', serviceAccount: 'gateway', createdMs: 1, expiresMs: 9, maxUses: null }
    await registry.addToken({ ...token, nodes: 'gw-1' })
    await registry.enrollments.enroll(gw1, 5)
    assert.equal(await registry.claimName(claim), undefined)
    assert.match(
      (await registry.claimName({ ...claim, holder: 'token:j1', jti: 'j1' }))!,
      /device with a key of its own/,
    )
    assert.match((await registry.claimName({ ...claim, holder: `${KEY_HOLDER}k2` }))!, /device with a key of its own/)
    assert.match((await registry.claimName({ ...claim, name: 'gw-2' }))!, /not the one that the device joined with/)
    assert.deepEqual(await registry.devicesOfToken('j1'), ['gw-1'])
  },
)

testRegistry(
  'a new key for a name ends the one before: its certificates are revoked, its streams lose the name',
  async (registry) => {
    await registry.enrollments.enroll(gw1, 5)
    await registry.claimName(claim)
    await registry.addCertificate(certificate('s1', `${KEY_HOLDER}k1`))
    const before = registry.revision
    await registry.enrollments.enroll({ ...gw1, keyId: 'k2' }, 20)
    assert.notEqual(registry.revision, before, 'the hub looks at its streams')
    assert.equal((await registry.certificate('s1'))?.revokedMs, 20)
    assert.equal(await registry.enrollments.byKey('k1'), undefined)
    assert.equal(await registry.claimName({ ...claim, holder: `${KEY_HOLDER}k2` }), undefined)
    assert.match((await registry.lostName(claim))!, /device with a key of its own/)
  },
)

testRegistry(
  'revoked and suspended devices have no name until an operator approves, and then begin a new chain',
  async (registry) => {
    await registry.enrollments.enroll(gw1, 5)
    await registry.enrollments.renewed('gw-1', {
      counter: 7,
      chain: 'c7',
      previousChain: 'c6',
      nonce: 'n',
      address: '10.0.0.2',
      nowMs: 6,
      notAfterMs: 100,
    })
    await registry.enrollments.revoke('gw-1', 8)
    assert.match((await registry.claimName(claim))!, /is revoked: meshlet-hub device approve/)
    await registry.enrollments.resume('gw-1', 9)
    const { state, counter, resync, revokedMs, labels } = (await registry.enrollments.byName('gw-1'))!
    assert.deepEqual([state, counter, resync, revokedMs, labels], ['active', 7, true, null, { site: 'north' }])
    assert.equal(await registry.claimName(claim), undefined)
    assert.equal(await registry.forgetDevice('gw-1'), true)
    assert.equal(await registry.enrollments.byName('gw-1'), undefined)
  },
)

testRegistry('only what is good is revoked, and one may be left out', async (registry) => {
  for (const serial of ['s1', 's2', 's3']) await registry.addCertificate(certificate(serial, 'key:k1'))
  await registry.addCertificate(certificate('x', 'key:k2'))
  assert.equal(await registry.enrollments.revokeCertificates('key:k1', 50, 's3'), 2)
  assert.equal(await registry.enrollments.revokeCertificates('key:k1', 60), 1, 'those of before keep their date')
  assert.deepEqual(
    (await Promise.all(['s1', 's3', 'x'].map((serial) => registry.certificate(serial)))).map((c) => c?.revokedMs),
    [50, 60, null],
  )
  assert.equal(await registry.enrollments.revokeCertificates('key:k2', 2_000), 0, 'one that has ended')
})

testRegistry(
  'who waits is bounded, asking twice changes nothing, and a name that somebody waits for is not taken over',
  async (registry) => {
    const ask = (n: number, keyId = `k${n}`, within: Registry = registry): Promise<void> =>
      within.enrollments.ask({ ...gw1, name: `gw-${n}`, keyId, why: 'because', askedMs: n })
    await registry.exclusively(async (tx) => {
      for (let n = 0; n < 10_000; n++) await ask(n, `k${n}`, tx)
    })
    await assert.rejects(ask(10_000), (err: MeshError) => err.code === 'MESH_CONTROL_SLOW_DOWN')
    await registry.enrollments.forget('gw-9')
    await ask(1, 'thief')
    assert.equal((await registry.enrollments.request({ name: 'gw-1' }))?.keyId, 'k1')
    assert.equal((await registry.enrollments.request({ keyId: 'k3' }))?.name, 'gw-3')
    await registry.enrollments.enroll({ ...gw1, keyId: 'k1' }, 5)
    assert.equal(await registry.enrollments.request({ name: 'gw-1' }), undefined)
  },
)

testRegistry('what a name says is data: quotes, semicolons and long texts come back as they were', async (registry) => {
  const name = `x'; DROP TABLE enrollments; --"`
  await registry.enrollments.enroll({ ...gw1, name, labels: { "a'b": `"` } }, 5)
  assert.deepEqual((await registry.enrollments.byName(name))?.labels, { "a'b": `"` })
  await registry.audit.add({
    atMs: 1,
    actor: name,
    event: 'device.joined',
    subject: name,
    address: '',
    detail: 'd'.repeat(999),
  })
  assert.deepEqual(
    (await registry.audit.list({ subject: name, most: 5 })).map((r) => [r.actor, r.detail.length]),
    [[name, 500]],
  )
})

testRegistry('pages go from who waits to who has joined, of the namespaces that are asked for', async (registry) => {
  const { enrollments } = registry
  const of = (name: string, namespace: string) => ({ ...gw1, name, namespace, keyId: `k-${name}` })
  for (const name of ['w1', 'w2', 'w3']) await enrollments.ask({ ...of(name, 'edge'), why: '', askedMs: 1 })
  await enrollments.ask({ ...of('w4', 'lab'), why: '', askedMs: 1 })
  for (const name of ['a1', 'a2', 'a3']) await enrollments.enroll(of(name, 'edge'), 1)
  await enrollments.enroll(of('a4', 'lab'), 1)
  const read = async (offset: number, limit: number, namespaces?: readonly string[]): Promise<string> => {
    const { total, waiting, enrolled } = await enrollments.page({ namespaces, offset, limit })
    return [total, ...waiting.map(({ name }) => name), ...enrolled.map(({ name }) => name)].join(' ')
  }
  assert.equal(await read(0, 100), '8 w1 w2 w3 w4 a1 a2 a3 a4')
  assert.equal(await read(0, Number.MAX_SAFE_INTEGER), '8 w1 w2 w3 w4 a1 a2 a3 a4')
  assert.equal(await read(2, 4), '8 w3 w4 a1 a2')
  assert.equal(await read(4, 2), '8 a1 a2')
  assert.equal(await read(7, 5), '8 a4')
  assert.equal(await read(9, 5), '8')
  assert.equal(await read(2, 2, ['edge']), '6 w3 a1')
  assert.equal(await read(0, 9, ['lab', 'edge']), '8 w1 w2 w3 w4 a1 a2 a3 a4')
  assert.equal(await read(0, 9, ['lab']), '2 w4 a4')
  assert.equal(await read(0, 9, []), '0')
})
