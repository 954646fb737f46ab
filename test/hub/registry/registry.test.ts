import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import type { MeshError } from '../../../agent/core/errors.ts'
import { Registry } from '../../../hub/registry/registry.ts'

const SPIFFE = 'spiffe://demo.mesh/ns/edge/sa/gateway'
const token = { jti: 'j1', namespace: 'edge', serviceAccount: 'gateway', createdMs: 1, expiresMs: 1_000, maxUses: null }
const seen = { name: 'edge', nodeId: 'sidecar~10.0.0.1~edge.edge~edge.svc', spiffeUri: SPIFFE, ip: '10.0.0.1', serial: undefined, nowMs: 10 }

function file(t: { after(fn: () => void): void }): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'hub-registry-'))
  t.after(() => fs.rmSync(folder, { recursive: true }))
  return path.join(folder, 'registry.db')
}

test('hub and command line use the same file at once and see each other\'s changes', (t) => {
  const at = file(t)
  using hub = new Registry(at)
  using command = new Registry(at)
  command.addToken(token)
  assert.equal(hub.token('j1')?.revokedMs, null)
  assert.equal(command.revokeToken('j1', 5)?.revokedMs, 5)
  assert.equal(command.revokeToken('j1', 9)?.revokedMs, 5, 'the first date stays')
  assert.equal(hub.token('j1')?.revokedMs, 5)
  assert.equal(hub.revokeToken('unknown', 5), undefined)
})

test('a token with maxUses certifies so many keys; the same key may ask again', () => {
  using registry = new Registry(':memory:')
  registry.addToken({ ...token, maxUses: 2 })
  assert.deepEqual(['k1', 'k2', 'k1', 'k3', 'k2'].map((key) => registry.useToken('j1', key, 1)), ['counted', 'counted', 'counted', 'used-up', 'counted'])
  assert.equal(registry.token('j1')?.uses, 2)
  assert.equal(registry.useToken('unknown', 'k1', 1), 'used-up')
})

test('the first identity that uses a node name keeps it, until it is forgotten', () => {
  using registry = new Registry(':memory:')
  const other = { ...seen, spiffeUri: 'spiffe://demo.mesh/ns/cloud/sa/gateway', nowMs: 20 }
  assert.equal(registry.deviceSeen(seen), SPIFFE)
  assert.equal(registry.deviceSeen(other), SPIFFE)
  assert.equal(registry.devices()[0]?.lastSeenMs, 10, 'the other changed nothing')
  assert.equal(registry.forgetDevice('edge'), true)
  assert.equal(registry.forgetDevice('edge'), false)
  assert.equal(registry.deviceSeen(other), other.spiffeUri)
})

test('a device shows the certificate it came with, or the newest of its identity and address', () => {
  using registry = new Registry(':memory:')
  const certificate = { serial: 's1', spiffeUri: SPIFFE, jti: null, ip: '10.0.0.1', issuedMs: 1, notAfterMs: 500 }
  registry.addCertificate(certificate)
  registry.deviceSeen(seen)
  assert.deepEqual(registry.devices().map((d) => [d.serial, d.notAfterMs, d.joinedMs, d.lastSeenMs]), [['s1', 500, 10, 10]])
  registry.addCertificate({ ...certificate, serial: 's2', issuedMs: 2, notAfterMs: 900 })
  registry.deviceSeen({ ...seen, serial: 's2', ip: '10.0.0.2', nowMs: 20 })
  assert.deepEqual(registry.devices().map((d) => [d.serial, d.notAfterMs, d.joinedMs, d.lastSeenMs, d.lastIp]), [['s2', 900, 10, 20, '10.0.0.2']])
})

test('one identity cannot fill the registry with node names: the oldest go', () => {
  using registry = new Registry(':memory:')
  for (let i = 0; i < 1_010; i++) registry.deviceSeen({ ...seen, name: `n${i}`, nowMs: i })
  const names = registry.devices().map((d) => d.name)
  assert.equal(names.length, 1_000)
  assert.ok(!names.includes('n9') && names.includes('n10'))
})

test('certificates that ended long ago are dropped; one knows whether its token was revoked', () => {
  using registry = new Registry(':memory:')
  registry.addToken(token)
  registry.addCertificate({ serial: 'old', spiffeUri: SPIFFE, jti: 'j1', ip: '', issuedMs: 0, notAfterMs: 1 })
  registry.addCertificate({ serial: 'new', spiffeUri: SPIFFE, jti: 'j1', ip: '', issuedMs: 91 * 86_400_000, notAfterMs: 1e12 })
  assert.equal(registry.certificate('old'), undefined)
  assert.equal(registry.certificate('new')?.revokedMs, null)
  registry.revokeToken('j1', 7)
  assert.equal(registry.certificate('new')?.revokedMs, 7)
})

test('a file of a newer version and a file that is no database are refused with their codes', (t) => {
  const at = file(t)
  new Registry(at)[Symbol.dispose]()
  const raw = fs.readFileSync(at)
  raw.writeUInt32BE(99, 60) // user_version, SQLite file format §1.3.14
  fs.writeFileSync(at, raw)
  const coded = (code: MeshError['code']) => (err: unknown): boolean => (err as MeshError).code === code
  assert.throws(() => new Registry(at), coded('MESH_STORAGE_NEWER'))
  fs.writeFileSync(at, 'not a database, but long enough to be looked at as one'.repeat(20))
  assert.throws(() => new Registry(at), coded('MESH_STORAGE_FAILED'))
})
