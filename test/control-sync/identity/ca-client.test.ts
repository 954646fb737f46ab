/** Certificates from a hub: kinds of keys, lives that it does not give, and a clock that is 400 days behind. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { systemClock } from '../../../core/os/clock.ts'
import type { ControlPlane } from '../../../control-sync/connection/control-plane.ts'
import { createIstioCertificateAuthority, type CertificateWish } from '../../../control-sync/identity/ca-client.ts'
import type { CertificateClock } from '../../../control-sync/connection/verify-server.ts'
import { testCa } from '../../helpers/test-ca.ts'
import { testHub, type TestHub } from '../../hub/start-hub.ts'

const DAY = 86_400_000
const wish: CertificateWish = {
  current: undefined,
  spiffeUri: 'spiffe://demo.mesh/ns/edge/sa/gateway',
  ttlSec: 0,
  key: 'ecdsa-p256',
  certificateRefused: false,
}
class SeenClock implements CertificateClock {
  floor = 0
  nowMs(): number {
    return Math.max(Date.now(), this.floor)
  }
  get clockIsWrong(): boolean {
    return Date.now() + 60_000 < this.floor
  }
  seen(ms: number): void {
    this.floor = Math.max(this.floor, ms)
  }
}
async function control(h: TestHub, over: Partial<ControlPlane> = {}): Promise<ControlPlane> {
  const { token } = await h.hub.createToken({ namespace: 'edge', serviceAccount: 'gateway', nodes: '*' })
  return {
    addresses: [`127.0.0.1:${h.hub.port}`],
    serverName: 'hub.demo.mesh',
    clusterId: 'Kubernetes',
    roots: () => Buffer.from(h.hub.rootsPem),
    token: () => token,
    ...over,
  }
}

for (const [key, type] of [
  ['ecdsa-p256', 'ec'],
  ['rsa-2048', 'rsa'],
] as const)
  test(`a certificate for a key of the kind ${key}`, async (t) => {
    const { identity } = await createIstioCertificateAuthority(
      await control(await testHub(t)),
      systemClock,
    )({ ...wish, key })
    assert.equal(new X509Certificate(identity.chainPem).publicKey.asymmetricKeyType, type)
    assert.equal(identity.spiffeId.uri, wish.spiffeUri)
  })
test('a life above the maximum of the CA: its default is taken, and what was refused is said', async (t) => {
  const h = await testHub(t, 'certificateTtlSec: 600\nmaxCertificateTtlSec: 3600\n')
  const ask = createIstioCertificateAuthority(await control(h), systemClock)
  const granted = await ask({ ...wish, ttlSec: 3600 })
  assert.equal(granted.ttlRefused, undefined)
  assert.ok(granted.identity.notAfterMs > Date.now() + 3_500_000)
  const { identity, ttlRefused } = await ask({ ...wish, ttlSec: 3601 })
  assert.equal(ttlRefused?.code, 'MESH_CERTIFICATE_TTL')
  assert.match(ttlRefused.message, /does not give a certificate the life of 3601 s .*the longest is 3600 s/)
  assert.ok(identity.notAfterMs < Date.now() + 610_000)
})
test('the token is read for each call', async (t) => {
  const h = await testHub(t)
  let reads = 0
  const base = await control(h)
  const ask = createIstioCertificateAuthority(
    {
      ...base,
      token: () => {
        reads++
        return base.token()
      },
    },
    systemClock,
  )
  await ask(wish)
  await ask(wish)
  assert.equal(reads, 2)
})

test("the system's clock is 400 days behind: the control plane is reached, and says how late it is", async (t) => {
  const h = await testHub(t, '', { clock: { ...systemClock, wallMs: () => Date.now() + 400 * DAY } })
  await assert.rejects(
    createIstioCertificateAuthority(await control(h), systemClock)(wish),
    { code: 'MESH_CONTROL_TLS', message: /not yet valid/i },
    "by the system's clock",
  )
  const certificateClock = new SeenClock()
  const { identity } = await createIstioCertificateAuthority(await control(h, { certificateClock }), systemClock)(wish)
  assert.ok(identity.notBeforeMs > Date.now() + 399 * DAY)
  assert.ok(certificateClock.floor > Date.now() + 399 * DAY)
})
for (const clock of ['right', 'wrong'] as const)
  test(`a clock that is ${clock}: a name, a root and an end of life that are wrong stay wrong`, async (t) => {
    const off = clock === 'right' ? 0 : 400 * DAY
    const h = await testHub(t, '', { clock: { ...systemClock, wallMs: () => Date.now() + off } })
    const ask = async (over: Partial<ControlPlane>, floor = off): Promise<unknown> => {
      const certificateClock = new SeenClock()
      certificateClock.floor = Date.now() + floor
      return createIstioCertificateAuthority(await control(h, { certificateClock, ...over }), systemClock)(wish)
    }
    await ask({})
    await assert.rejects(ask({ serverName: 'other.demo.mesh' }), {
      code: 'MESH_CONTROL_NAME',
      message: /is not who it should be: it is for DNS:hub\.demo\.mesh, not for other\.demo\.mesh$/,
    })
    await assert.rejects(ask({ roots: () => Buffer.from(testCa().rootsPem) }), {
      code: 'MESH_CONTROL_TLS',
      message: /not trusted/,
    })
    await assert.rejects(ask({}, 3000 * DAY), { code: 'MESH_CONTROL_TLS', message: /expired at/ })
  })
