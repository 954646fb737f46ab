import { test } from 'node:test'
import assert from 'node:assert/strict'
import { generateKeyPairSync, X509Certificate } from 'node:crypto'
import { systemDisk } from '../../../core/os/disk.ts'
import type { MeshError } from '../../../core/errors.ts'
import { createAuthenticator } from '../../../hub/api/authenticate.ts'
import { openCa } from '../../../hub/ca/ca.ts'
import { signLeaf, type Root } from '../../../hub/ca/root.ts'
import { openRegistry } from '../../../hub/registry/registry.ts'
import { Tokens } from '../../../hub/tokens.ts'
import { SimClock } from '../../helpers/sim-clock.ts'

const MINE = 'spiffe://demo.mesh/ns/edge/sa/gateway'

async function made() {
  const clock = new SimClock()
  const disk = { ...systemDisk, read: () => undefined, makeFolder: () => {}, replace: () => {} }
  const open = () => openCa({ folder: '/ca', disk, clock, trustDomain: 'demo.mesh' })
  const [ca, registry] = [open(), openRegistry(':memory:')]
  const tokens = new Tokens({
    key: generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey,
    registry,
    clock,
    trustDomain: 'demo.mesh',
  })
  const leaf = (root: Root, ...uris: string[]): Buffer => {
    const nowMs = clock.wallMs()
    const { pem } = signLeaf(root, {
      publicKey: generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).publicKey,
      altNames: uris.map((value) => ({ kind: 'uri', value }) as const),
      notBeforeMs: nowMs - 60_000,
      notAfterMs: nowMs + 60_000,
    })
    return new X509Certificate(pem).raw
  }
  const enter = async (certificate: Buffer): Promise<Buffer> => {
    const { serialNumber, validToDate } = new X509Certificate(certificate)
    await registry.addCertificate({
      serial: serialNumber.toLowerCase(),
      spiffeUri: MINE,
      jti: null,
      device: 'key-1',
      ip: '',
      issuedMs: clock.wallMs(),
      notAfterMs: validToDate.getTime(),
    })
    return certificate
  }
  const authenticate = createAuthenticator({ ca, tokens, registry, clock })
  return {
    ca,
    other: open(),
    clock,
    leaf,
    enter,
    authenticate,
    token: (await tokens.create({ namespace: 'edge', serviceAccount: 'other', nodes: '*', ttlSec: 600 })).token,
  }
}

test('a certificate of the CA is its SPIFFE id', async () => {
  const { ca, leaf, enter, authenticate } = await made()
  const caller = await authenticate({ certificate: await enter(leaf(ca.root, MINE)), authorization: [] })
  assert.deepEqual(
    [caller.by, caller.spiffeId.uri, caller.namespace, caller.serviceAccount],
    ['certificate', MINE, 'edge', 'gateway'],
  )
})

for (const [name, make, words] of [
  ['of another CA with the same names', (m) => m.leaf(m.other.root, MINE), /not one of this hub/],
  [
    'of the CA for another trust domain',
    (m) => m.leaf(m.ca.root, 'spiffe://other.mesh/ns/edge/sa/gateway'),
    /no workload/,
  ],
  ['with two identities', (m) => m.leaf(m.ca.root, MINE, 'spiffe://demo.mesh/ns/x/sa/y'), /no workload/],
  ["with an id that is none of Istio's", (m) => m.leaf(m.ca.root, 'spiffe://demo.mesh/edge'), /no workload/],
  ['without an id', (m) => m.leaf(m.ca.root), /no workload/],
  [
    'that does not stand in the registry, as after its loss',
    (m) => m.leaf(m.ca.root, MINE),
    /does not stand in the registry.*join again/,
  ],
  ['that is the root itself', (m) => m.ca.root.certificate.raw, /no workload|valid/],
] as const satisfies readonly (readonly [string, (m: Awaited<ReturnType<typeof made>>) => Buffer, RegExp])[]) {
  test(`a certificate ${name} is refused, whatever TLS thought of it; a token beside it still counts`, async () => {
    const m = await made()
    const certificate = make(m)
    await assert.rejects(
      () => m.authenticate({ certificate, authorization: [] }),
      (err: MeshError) => {
        assert.equal(err.code, 'MESH_CONTROL_UNAUTHENTICATED')
        assert.match(err.message, words)
        return true
      },
    )
    assert.equal(
      (await m.authenticate({ certificate, authorization: [`Bearer ${m.token}`] })).spiffeId.uri,
      'spiffe://demo.mesh/ns/edge/sa/other',
    )
  })
}

test('a certificate counts only between its dates', async () => {
  const { ca, clock, leaf, enter, authenticate } = await made()
  const certificate = await enter(leaf(ca.root, MINE))
  clock.setWallMs(clock.wallMs() - 61_000)
  await assert.rejects(() => authenticate({ certificate, authorization: [] }), /not valid at this time/)
  clock.setWallMs(clock.wallMs() + 61_000 + 60_000)
  await assert.rejects(() => authenticate({ certificate, authorization: [] }), /not valid at this time/)
})

test('the authorization header: Bearer in any case; several, other schemes and endless ones do not count', async () => {
  const { authenticate, token } = await made()
  assert.equal((await authenticate({ certificate: undefined, authorization: [`bearer  ${token}`] })).by, 'token')
  for (const authorization of [
    [],
    [token],
    [`Basic ${token}`],
    [`Bearer ${token}`, `Bearer ${token}`],
    [`Bearer ${token} x`],
    ['Bearer '],
    [`Bearer ${' '.repeat(1_000_000)}x`],
  ]) {
    await assert.rejects(
      () => authenticate({ certificate: undefined, authorization }),
      (err: MeshError) => err.code === 'MESH_CONTROL_UNAUTHENTICATED',
    )
  }
})
