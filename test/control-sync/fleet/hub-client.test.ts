/** What a device makes of a hub's answers, good and bad. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { ServerResponse } from 'node:http'
import https from 'node:https'
import { once } from 'node:events'
import type net from 'node:net'
import { generateKeyPairSync } from 'node:crypto'
import { askHub } from '../../../control-sync/fleet/hub-client.ts'
import { EnrollmentStore } from '../../../control-sync/fleet/device/enrollment-store.ts'
import { readRenewed } from '../../../control-sync/fleet/device/device-authority.ts'
import { MeshError, type ErrorCode } from '../../../core/errors.ts'
import { hashThumbprint, signEs256, toEs256Jwk } from '../../../core/jwt/sign.ts'
import { systemClock } from '../../../core/os/clock.ts'
import { systemDisk } from '../../../core/os/disk.ts'
import { openCa } from '../../../hub/ca/ca.ts'
import { SimClock } from '../../helpers/sim-clock.ts'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'

type Finally = { after(fn: () => void): void }
async function serve(t: Finally, answer: (res: ServerResponse) => void, clock = systemClock) {
  const ca = openCa({ folder: temporaryFolder(t), disk: systemDisk, clock: systemClock, trustDomain: 'demo.mesh' })
  const { chainPem: cert, keyPem: key } = ca.serverCertificate(['127.0.0.1'])
  const server = https.createServer({ cert, key }, (req, res) => {
    req.resume()
    req.on('end', () => answer(res))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
  const jwk = toEs256Jwk(privateKey)!
  return {
    url: new URL(`https://127.0.0.1:${(server.address() as net.AddressInfo).port}`),
    trust: { rootsPem: ca.rootsPem },
    certificateClock: { nowMs: () => Date.now(), clockIsWrong: false, seen: () => {} },
    findProxy: undefined,
    clock,
    key: { jwk, keyId: hashThumbprint(jwk), sign: (signed: Buffer) => signEs256(signed, privateKey) },
  }
}
const rejects = (work: Promise<unknown>, code: ErrorCode, why: RegExp): Promise<void> =>
  assert.rejects(work, (err) => {
    assert.ok(err instanceof MeshError && err.code === code, String(err))
    assert.match(err.message, why)
    return true
  })

for (const [what, status, body, code, why] of [
  [
    'a code of the device',
    403,
    '{"code":"MESH_DEVICE_PENDING","message":"wait\\u001b[31m"}',
    'MESH_DEVICE_PENDING',
    /refuses: wait \[31m$/,
  ],
  [
    'a code that is not the hub’s to say',
    403,
    '{"code":"MESH_IDENTITY_EXPIRED","message":"x"}',
    'MESH_CONTROL_PROTOCOL',
    /answers 403/,
  ],
  ['a name of Object', 403, '{"code":"MESH_DEVICE_constructor"}', 'MESH_CONTROL_PROTOCOL', /answers 403/],
  ['a failure', 500, '{"code":"MESH_INTERNAL","message":"x"}', 'MESH_CONTROL_UNREACHABLE', /answers 500/],
  ['no JSON', 200, '<html>', 'MESH_CONTROL_PROTOCOL', /no JSON/],
  ['too much', 200, `"${'x'.repeat(300_000)}"`, 'MESH_CONTROL_PROTOCOL', /more than 262144 bytes/],
] as const)
  test(`an answer with ${what}`, async (t) => {
    const o = await serve(t, (res) => {
      res.statusCode = status
      res.end(body)
    })
    await rejects(askHub(o, '/v1/devices/renew', {}), code, why)
  })

test('a hub that does not answer is given up in time, and one that hangs up is unreachable', async (t) => {
  const clock = new SimClock()
  let isAsked = (): void => {}
  const asked = new Promise<void>((resolve) => {
    isAsked = resolve
  })
  const silent = askHub(await serve(t, () => isAsked(), clock), '/v1/devices/renew', {})
  const told = rejects(silent, 'MESH_CONTROL_TIMEOUT', /did not answer within 20000 ms/)
  await asked
  await clock.advance(20_000)
  await told
  await rejects(
    askHub(await serve(t, (res) => res.destroy()), '/v1/devices/renew', {}),
    'MESH_CONTROL_UNREACHABLE',
    /ended the connection/,
  )
})

test('answers that are no certificate', () => {
  for (const body of [
    null,
    [],
    {},
    { certChain: 'x' },
    { certChain: [1], counter: 1, chain: '' },
    { certChain: [], counter: 1.5, chain: '' },
    { certChain: Array.from({ length: 17 }, () => ''), counter: 1, chain: '' },
    { certChain: [], counter: 1, chain: 'x'.repeat(65) },
  ])
    assert.throws(() => readRenewed(body, 'hub'), { code: 'MESH_CONTROL_PROTOCOL' })
})

test('where a device stands outlives a crash at any point: a nonce is on disk before it is sent', (t) => {
  const stateFolder = temporaryFolder(t)
  const open = (): EnrollmentStore => new EnrollmentStore({ disk: systemDisk, stateFolder })
  const { nonce } = open().begin()
  assert.equal(open().begin().nonce, nonce, 'its answer was lost')
  open().answered({ counter: 1, chain: 'c1' })
  assert.deepEqual(open().load(), { counter: 1, chain: 'c1', nonce: undefined })
  const full = {
    ...systemDisk,
    makeFolder: () => {},
    replace: () => {
      throw new Error('full')
    },
  }
  const store = new EnrollmentStore({ disk: full, stateFolder })
  assert.throws(() => store.begin(), { code: 'MESH_STATE_UNUSABLE' })
  store.answered({ counter: 2, chain: 'c2' })
  assert.equal(store.load().counter, 2, 'this process goes on with it')
})
