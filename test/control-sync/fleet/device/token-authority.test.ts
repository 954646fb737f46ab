/** A device between its hub, which gives tokens, and the control plane, whose CA takes them. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import https from 'node:https'
import type net from 'node:net'
import { generateKeyPairSync } from 'node:crypto'
import { create } from '@bufbuild/protobuf'
import type { handleUnaryCall } from '@grpc/grpc-js'
import { EnrollmentStore } from '../../../../control-sync/fleet/device/enrollment-store.ts'
import { askHub } from '../../../../control-sync/fleet/hub-client.ts'
import { createTokenAuthority } from '../../../../control-sync/fleet/device/token-authority.ts'
import { MeshError, type ErrorCode } from '../../../../core/errors.ts'
import { hashThumbprint, signEs256, toEs256Jwk } from '../../../../core/jwt/sign.ts'
import { systemClock } from '../../../../core/os/clock.ts'
import { systemDisk } from '../../../../core/os/disk.ts'
import {
  IstioCertificateResponseSchema,
  type IstioCertificateRequest,
  type IstioCertificateResponse,
} from '../../../../proto/gen/istio/v1/auth/ca_pb.ts'
import { openCa, type Ca } from '../../../../hub/ca/ca.ts'
import { temporaryFolder } from '../../../helpers/temporary-folder.ts'
import { CA_NAME, startCaServer, WISH } from '../../identity/ca-server.ts'

type Finally = { after(fn: () => void): void }
/** Signs for whoever asks, and says what they showed. */
async function startCa(t: Finally, ca: Ca) {
  const shown: string[] = []
  const createCertificate: handleUnaryCall<IstioCertificateRequest, IstioCertificateResponse> = (call, done) => {
    shown.push(String(call.metadata.get('authorization')[0] ?? 'a certificate'))
    const { chainPem } = ca.sign({ csrPem: call.request.csr, spiffeUri: WISH.spiffeUri, ttlSec: 3_600 })
    done(null, create(IstioCertificateResponseSchema, { certChain: [...chainPem] }))
  }
  const own = { ...ca.serverCertificate([CA_NAME]), rootsPem: ca.rootsPem }
  const port = await startCaServer(t, own, createCertificate)
  return { port, shown }
}

type Answer = { readonly status: number; readonly body: object }

/** @param answers of the hub, one after the other; none left: it hangs up */
async function start(t: Finally, answers: Answer[]) {
  const trustDomain = 'cluster.local'
  const ca = openCa({ folder: temporaryFolder(t), disk: systemDisk, clock: systemClock, trustDomain })
  const { port, shown } = await startCa(t, ca)
  const own = ca.serverCertificate(['localhost'])
  const hub = https.createServer({ cert: own.chainPem, key: own.keyPem }, (req, res) => {
    req.resume()
    req.on('end', () => {
      const next = answers.shift()
      if (next) res.writeHead(next.status, { connection: 'close' }).end(JSON.stringify(next.body))
      else req.socket.destroy()
    })
  })
  hub.listen(0, '127.0.0.1')
  await once(hub, 'listening')
  t.after(() => {
    hub.closeAllConnections()
    hub.close()
  })
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
  const jwk = toEs256Jwk(privateKey)!
  const key = { jwk, keyId: hashThumbprint(jwk), sign: (signed: Buffer) => signEs256(signed, privateKey) }
  const enrollment = new EnrollmentStore({ disk: systemDisk, stateFolder: temporaryFolder(t) })
  const certificateClock = { nowMs: () => Date.now(), clockIsWrong: false, seen: () => {} }
  const url = new URL(`https://localhost:${(hub.address() as net.AddressInfo).port}`)
  const trust = { rootsPem: ca.rootsPem }
  const way = { addresses: [`127.0.0.1:${port}`], serverName: CA_NAME }
  const authority = createTokenAuthority({
    enrollment,
    learnRoots: () => {},
    clock: systemClock,
    ask: async (at: string, claims: object) => {
      const o = { url, trust, key, clock: systemClock, certificateClock, findProxy: undefined }
      return { body: (await askHub(o, at, claims)).body, host: url.host }
    },
    control: {
      get addresses() {
        return way.addresses
      },
      get serverName() {
        return way.serverName
      },
      clusterId: 'Kubernetes',
      roots: () => Buffer.from(ca.rootsPem),
      token: () => 'a join token',
    },
  })
  return { authority, enrollment, shown, way }
}
const given = (n: number, ttlSec = 600): Answer => ({
  status: 200,
  body: { certChain: [], counter: n, chain: `c${n}`, control: { token: `token-${n}`, ttlSec } },
})
const fails = (work: Promise<unknown>, code: ErrorCode): Promise<void> =>
  assert.rejects(work, (err) => err instanceof MeshError && (err.code === code || assert.fail(String(err))))

test('the token of the hub opens the CA, once more within its life, and is a step of the chain', async (t) => {
  const { authority, enrollment, shown } = await start(t, [given(1), given(2)])
  const { identity } = await authority(WISH)
  assert.equal(identity.spiffeId.uri, WISH.spiffeUri)
  await authority({ ...WISH, current: identity })
  assert.deepEqual(shown, ['Bearer token-1', 'Bearer token-1'], 'also beside a certificate')
  assert.deepEqual(enrollment.load(), { counter: 1, chain: 'c1', nonce: undefined })
})

test('a control plane that is another since a reload is the one that certifies', async (t) => {
  const { authority, shown, way } = await start(t, [given(1)])
  const there = { ...way }
  Object.assign(way, { addresses: ['127.0.0.1:1'], serverName: 'nobody' })
  await fails(authority(WISH), 'MESH_CONTROL_UNREACHABLE')
  Object.assign(way, there)
  await authority(WISH)
  assert.deepEqual(shown, ['Bearer token-1'])
})

test('a token that is about to end is not shown again', async (t) => {
  const { authority, shown } = await start(t, [given(1, 10), given(2)])
  await authority(WISH)
  await authority(WISH)
  assert.deepEqual(shown, ['Bearer token-1', 'Bearer token-2'])
})

test('while the hub is away the certificate at hand renews itself', async (t) => {
  const { authority, shown } = await start(t, [given(1, 10)])
  const { identity } = await authority(WISH)
  await authority({ ...WISH, current: identity })
  assert.deepEqual(shown, ['Bearer token-1', 'a certificate'])
  await fails(authority(WISH), 'MESH_CONTROL_UNREACHABLE')
  await fails(authority({ ...WISH, current: identity, certificateRefused: true }), 'MESH_CONTROL_UNREACHABLE')
})

test('what the hub says of the device counts, whatever certificate it has', async (t) => {
  const revoked = { status: 403, body: { code: 'MESH_DEVICE_REVOKED', message: 'no more' } }
  const { authority, shown } = await start(t, [given(1, 10), revoked])
  const { identity } = await authority(WISH)
  await fails(authority({ ...WISH, current: identity }), 'MESH_DEVICE_REVOKED')
  assert.deepEqual(shown, ['Bearer token-1'])
})

for (const [what, control] of Object.entries({
  'no token': undefined,
  'a token that is none': { token: 'a b', ttlSec: 600 },
  'a token without a life': { token: 'a' },
}))
  test(`an answer with ${what} is no answer, and no step of the chain`, async (t) => {
    const { body } = given(1)
    const { authority, enrollment, shown } = await start(t, [{ status: 200, body: { ...body, control } }])
    await fails(authority(WISH), 'MESH_CONTROL_PROTOCOL')
    assert.deepEqual([shown, enrollment.load().counter], [[], 0])
  })
