import { test } from 'node:test'
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { systemDisk } from '../../../core/os/disk.ts'
import type { MeshError } from '../../../core/errors.ts'
import { openCa, type Ca } from '../../../hub/ca/ca.ts'
import { addRoot, removeOther, signWithNext } from '../../../hub/ca/root-files.ts'
import { SimClock } from '../../helpers/sim-clock.ts'
import { makeCsr } from './make-csr.ts'

const HOUR_MS = 3_600_000
const NOW = Date.parse('2026-11-24T12:00:00Z')
const code =
  (want: MeshError['code']) =>
  (err: unknown): boolean => {
    assert.equal((err as MeshError).code, want, String(err))
    return true
  }

function opened(
  t: { after(fn: () => void): void },
  nowMs = NOW,
): { ca: Ca; folder: string; clock: SimClock; again: (builtAtMs?: number) => Ca } {
  const folder = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'hub-ca-')), 'ca')
  t.after(() => fs.rmSync(path.dirname(folder), { recursive: true }))
  const clock = new SimClock(nowMs)
  const again = (builtAtMs?: number): Ca =>
    openCa({ folder, disk: systemDisk, clock, trustDomain: 'demo.mesh', builtAtMs })
  return { ca: again(), folder, clock, again }
}
const sign = (ca: Ca, ttlSec = 86_400): ReturnType<Ca['sign']> =>
  ca.sign({ csrPem: makeCsr().csrPem, spiffeUri: 'spiffe://demo.mesh/ns/edge/sa/gateway', ttlSec })

test('the first start makes a P-256 root for ten years, its key readable by the owner only', (t) => {
  const { ca, folder } = opened(t)
  const root = new X509Certificate(ca.rootsPem)
  assert.ok(root.ca)
  assert.ok(root.verify(root.publicKey))
  assert.equal(root.publicKey.asymmetricKeyDetails?.namedCurve, 'prime256v1')
  assert.match(root.subject, /O=demo\.mesh/)
  assert.equal(Math.round((root.validToDate.getTime() - NOW) / (365.25 * 86_400_000)), 10)
  assert.equal(fs.statSync(path.join(folder, 'root-key.pem')).mode & 0o777, 0o600)
  assert.equal(fs.statSync(folder).mode & 0o777, 0o700)
  assert.equal(fs.readFileSync(path.join(folder, 'root-cert.pem'), 'utf8'), ca.rootsPem)
})

test('the next start takes the same root', (t) => {
  const { ca, again } = opened(t)
  assert.equal(again().rootsPem, ca.rootsPem)
})

test('a workload certificate: leaf and root, the SPIFFE id alone, critical, two minutes back, both sides of TLS', (t) => {
  const { ca } = opened(t)
  const issued = sign(ca)
  assert.equal(issued.chainPem.length, 2)
  assert.equal(issued.chainPem[1], ca.rootsPem)
  const leaf = new X509Certificate(issued.chainPem[0])
  const root = new X509Certificate(ca.rootsPem)
  assert.ok(leaf.checkIssued(root) && leaf.verify(root.publicKey))
  assert.equal(leaf.subjectAltName, 'URI:spiffe://demo.mesh/ns/edge/sa/gateway')
  assert.equal(leaf.subject ?? '', '')
  assert.equal(leaf.validFromDate.getTime(), NOW - 120_000)
  assert.equal(leaf.validToDate.getTime(), NOW + 24 * HOUR_MS)
  assert.equal(issued.notAfterMs, NOW + 24 * HOUR_MS)
  assert.equal(leaf.serialNumber.toLowerCase(), issued.serial)
  assert.deepEqual(leaf.keyUsage, ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2'])
  assert.equal(leaf.ca, false)
})

test('names in the request are ignored: a CSR that asks for another identity gets its own (istiod does the same)', (t) => {
  const { ca } = opened(t)
  const { csrPem } = makeCsr({ uri: 'spiffe://demo.mesh/ns/istio-system/sa/admin', commonName: 'admin' })
  const leaf = new X509Certificate(
    ca.sign({ csrPem, spiffeUri: 'spiffe://demo.mesh/ns/edge/sa/gateway', ttlSec: 60 }).chainPem[0],
  )
  assert.equal(leaf.subjectAltName, 'URI:spiffe://demo.mesh/ns/edge/sa/gateway')
  assert.equal(leaf.subject ?? '', '')
})

test('a leaf does not outlive the root', (t) => {
  const { ca, clock } = opened(t)
  clock.setWallMs(ca.root.notAfterMs - HOUR_MS)
  assert.equal(sign(ca).notAfterMs, ca.root.notAfterMs)
  clock.setWallMs(ca.root.notAfterMs)
  assert.throws(() => sign(ca), code('MESH_IDENTITY_EXPIRED'))
})

test('a clock that shows less than the build or the root is refused', (t) => {
  const { ca, clock, folder, again } = opened(t)
  clock.setWallMs(NOW - 24 * HOUR_MS)
  assert.throws(() => sign(ca), code('MESH_CLOCK_WRONG'))
  assert.throws(() => again(), code('MESH_CLOCK_WRONG'))
  clock.setWallMs(NOW)
  fs.rmSync(folder, { recursive: true })
  assert.throws(() => again(NOW + 1), code('MESH_CLOCK_WRONG'))
  assert.equal(fs.existsSync(folder), false, 'no root with a wrong date is left behind')
})

test('a root whose key is gone, damaged or of another root stops the hub; it never makes a new one over it', (t) => {
  const { folder, again } = opened(t)
  const key = path.join(folder, 'root-key.pem')
  const before = fs.readFileSync(key)
  fs.writeFileSync(key, before.subarray(0, 100))
  assert.throws(() => again(), code('MESH_CA_DAMAGED'))
  fs.writeFileSync(key, makeCsr().keyPem)
  assert.throws(() => again(), code('MESH_CA_DAMAGED'))
  fs.rmSync(key)
  assert.throws(() => again(), code('MESH_CA_DAMAGED'))
  fs.writeFileSync(key, before)
  again()
})

test('a crash between key and certificate of the first start leaves a key alone: the next start begins anew', (t) => {
  const { folder, again } = opened(t)
  fs.rmSync(path.join(folder, 'root-cert.pem'))
  assert.match(again().rootsPem, /BEGIN CERTIFICATE/)
})

test("the hub's own TLS certificate carries names and addresses", (t) => {
  const { ca } = opened(t)
  const { chainPem, keyPem } = ca.serverCertificate(['hub.demo.mesh', '192.0.2.7', '2001:db8::1'])
  const leaf = new X509Certificate(chainPem)
  assert.equal(leaf.subjectAltName, 'DNS:hub.demo.mesh, IP Address:192.0.2.7, IP Address:2001:DB8:0:0:0:0:0:1')
  assert.ok(leaf.checkHost('hub.demo.mesh') && leaf.checkIP('192.0.2.7') && !leaf.checkHost('other.demo.mesh'))
  assert.match(keyPem, /BEGIN PRIVATE KEY/)
})

test(
  'openssl verifies the chain strictly, for both sides of TLS',
  { skip: !fs.existsSync('/usr/bin/openssl') },
  (t) => {
    const { ca, folder } = opened(t, Date.now())
    fs.writeFileSync(path.join(folder, 'leaf.pem'), sign(ca).chainPem[0])
    for (const purpose of ['sslclient', 'sslserver']) {
      const out = execFileSync(
        'openssl',
        ['verify', '-x509_strict', '-purpose', purpose, '-CAfile', 'root-cert.pem', 'leaf.pem'],
        { cwd: folder, encoding: 'utf8' },
      )
      assert.match(out, /leaf\.pem: OK/)
    }
    const text = execFileSync('openssl', ['x509', '-in', 'leaf.pem', '-noout', '-text'], {
      cwd: folder,
      encoding: 'utf8',
    })
    assert.match(text, /Subject Alternative Name: critical/)
    assert.match(text, /Basic Constraints: critical\s+CA:FALSE/)
  },
)

test('a certificate that is signed after a step says so, though nobody has told the running hub yet', (t) => {
  const { ca, folder } = opened(t)
  const p = { folder, disk: systemDisk, trustDomain: 'demo.mesh', notBeforeMs: NOW - HOUR_MS, nowMs: NOW }
  const first = ca.root
  const second = addRoot(p)
  assert.equal(sign(ca).chainPem[1], first.certificatePem + second.certificatePem)
  assert.equal(ca.reload(), true, 'and whoever asks hears of it')
  assert.equal(ca.reload(), false)
  signWithNext(p)
  const [leaf] = sign(ca).chainPem
  assert.ok(new X509Certificate(leaf).verify(second.certificate.publicKey))
  removeOther(p)
  assert.equal(sign(ca).chainPem[1], second.certificatePem)
  assert.equal(ca.reload(), true)
  // A file that cannot be read keeps nobody from a certificate.
  fs.writeFileSync(path.join(folder, 'root-rotation.json'), 'half')
  assert.equal(sign(ca).chainPem[1], second.certificatePem)
})
