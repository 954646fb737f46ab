/** What may happen between a caller's being let in and the certificate that it is given. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { silentLog } from '../../../core/log.ts'
import { Metrics } from '../../../core/metrics.ts'
import { systemDisk } from '../../../core/os/disk.ts'
import type { Caller } from '../../../hub/api/authenticate.ts'
import { Budgets } from '../../../hub/api/budgets.ts'
import { createCertificateService } from '../../../hub/api/certificate-service.ts'
import { openCa } from '../../../hub/ca/ca.ts'
import { openRegistry } from '../../../hub/registry/registry.ts'
import { parseSpiffeId } from '../../../model/identity.ts'
import { SimClock } from '../../helpers/sim-clock.ts'
import { makeCsr } from '../ca/make-csr.ts'

const URI = 'spiffe://demo.mesh/ns/edge/sa/gateway'
const who = { namespace: 'edge', serviceAccount: 'gateway', spiffeId: parseSpiffeId(URI)!, endsMs: Infinity }
const byToken: Caller = { ...who, by: 'token', jti: 'j1' }

function made() {
  const [registry, clock, metrics] = [openRegistry(':memory:'), new SimClock(), new Metrics()]
  const disk = { ...systemDisk, read: () => undefined, makeFolder: () => {}, replace: () => {} }
  const ca = openCa({ folder: '/ca', disk, clock, trustDomain: 'demo.mesh' })
  const limits = { maxCertificatesPerHour: 100, maxJoinsPerHour: 100, maxSubscribedBytes: 1, maxReportsPerMinute: 60 }
  const budgets = new Budgets({ limits, clock, metrics })
  const ttl = { certificateTtlSec: 600, maxCertificateTtlSec: 600 }
  const service = createCertificateService({ ca, registry, clock, metrics, budgets, log: silentLog, ...ttl })
  const create = (caller: Caller) =>
    service.create(caller, { csrPem: makeCsr().csrPem, validitySec: 0, impersonates: false }, '10.0.0.1')
  const addToken = (maxUses: number | null) =>
    registry.addToken({ ...who, jti: 'j1', createdMs: 0, expiresMs: 1e15, nodes: '*', maxUses })
  const add = (serial: string, device: string) =>
    registry.addCertificate({ serial, spiffeUri: URI, jti: null, device, ip: '', issuedMs: 0, notAfterMs: 1e15 })
  return { registry, clock, create, addToken, add }
}

test('of many that show one token at once, only so many get a certificate as it is for', async () => {
  const m = made()
  await m.addToken(3)
  const done = await Promise.allSettled(Array.from({ length: 8 }, () => m.create(byToken)))
  assert.equal(done.filter((one) => one.status === 'fulfilled').length, 3)
  assert.equal((await m.registry.token('j1'))?.uses, 3)
})

test('who was let in and is revoked before the certificate is written gets none', async () => {
  const m = made()
  await m.add('s1', 'key-1')
  const caller: Caller = { ...who, by: 'certificate', serial: 's1', jti: undefined, device: 'key-1' }
  const [revoked, asked] = [m.registry.enrollments.revokeCertificates('key-1', 5), m.create(caller)]
  await assert.rejects(asked, { code: 'MESH_CONTROL_UNAUTHENTICATED' })
  assert.equal(await revoked, 1)
  assert.equal(await m.registry.newestSerial('key-1'), 's1')

  await m.addToken(null)
  await Promise.all([
    m.registry.revokeToken('j1', 5),
    assert.rejects(m.create(byToken), { code: 'MESH_TOKEN_INVALID' }),
  ])
  assert.equal((await m.registry.token('j1'))?.uses, 0)
})
