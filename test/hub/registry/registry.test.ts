import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import Database from 'better-sqlite3'
import type { MeshError } from '../../../core/errors.ts'
import { openRegistry, type OpenRegistry } from '../../../hub/registry/registry.ts'
import { MIGRATIONS } from '../../../hub/registry/schema.ts'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'

const SPIFFE = 'spiffe://demo.mesh/ns/edge/sa/gateway'
const token = {
  jti: 'j1',
  namespace: 'edge',
  serviceAccount: 'gateway',
  createdMs: 1,
  expiresMs: 1_000,
  maxUses: null,
  nodes: '*',
}
const claim = {
  name: 'edge',
  nodeId: 'sidecar~10.0.0.1~edge.edge~edge.svc',
  spiffeUri: SPIFFE,
  ip: '10.0.0.1',
  holder: 'key-1',
  jti: 'j1',
  nowMs: 10,
}

function file(t: { after(fn: () => void): void }): string {
  const folder = temporaryFolder(t)
  return path.join(folder, 'registry.db')
}

test("hub and command line use the same file at once and see each other's changes", async (t) => {
  const at = file(t)
  await using hub = openRegistry(at)
  await using command = openRegistry(at)
  await command.addToken(token)
  assert.equal((await hub.token('j1'))?.revokedMs, null)
  assert.equal((await command.revokeToken('j1', 5))?.revokedMs, 5)
  assert.equal((await command.revokeToken('j1', 9))?.revokedMs, 5, 'the first date stays')
  assert.equal((await hub.token('j1'))?.revokedMs, 5)
  assert.equal(await hub.revokeToken('unknown', 5), undefined)
})

test('a token with maxUses certifies so many keys; the same key may ask again', async () => {
  await using registry = openRegistry(':memory:')
  await registry.addToken({ ...token, maxUses: 2 })
  assert.deepEqual(await Promise.all(['k1', 'k2', 'k1', 'k3', 'k2'].map((key) => registry.useToken('j1', key, 1))), [
    'counted',
    'counted',
    'counted',
    'used-up',
    'counted',
  ])
  assert.equal((await registry.token('j1'))?.uses, 2)
  assert.equal(await registry.useToken('unknown', 'k1', 1), 'used-up')
})

const withTokens = async (...nodes: (string | null)[]): Promise<OpenRegistry> => {
  const registry = openRegistry(':memory:')
  for (const [i, one] of nodes.entries()) await registry.addToken({ ...token, jti: `j${i + 1}`, nodes: one })
  return registry
}

test('a device shows its newest certificate, whatever its stream was opened with', async () => {
  await using registry = await withTokens('*')
  const certificate = {
    serial: 's1',
    spiffeUri: SPIFFE,
    jti: 'j1',
    device: 'key-1',
    ip: '10.0.0.1',
    issuedMs: 1,
    notAfterMs: 500,
  }
  await registry.addCertificate(certificate)
  await registry.addCertificate({ ...certificate, serial: 'x1', device: 'key-2', issuedMs: 9, notAfterMs: 999 })
  await registry.claimName(claim)
  assert.deepEqual(
    (await registry.devices()).map((d) => [d.serial, d.notAfterMs, d.joinedMs, d.lastSeenMs]),
    [['s1', 500, 10, 10]],
  )
  await registry.addCertificate({ ...certificate, serial: 's2', issuedMs: 2, notAfterMs: 900 })
  await registry.claimName({ ...claim, ip: '10.0.0.2', nowMs: 20 })
  assert.deepEqual(
    (await registry.devices()).map((d) => [d.serial, d.notAfterMs, d.joinedMs, d.lastSeenMs, d.lastIp]),
    [['s2', 900, 10, 20, '10.0.0.2']],
  )
})

test('a copy is whole, beside a hub that writes', async (t) => {
  const at = file(t)
  await using registry = openRegistry(at)
  await registry.addToken(token)
  await registry.claimName(claim)
  await registry.copyTo(`${at}.copy`)
  await using copy = openRegistry(`${at}.copy`)
  assert.deepEqual(
    [await copy.token('j1'), await copy.devices()],
    [await registry.token('j1'), await registry.devices()],
  )
})

test('the registry of the version before is taken over', async (t) => {
  const at = file(t)
  const old = new Database(at)
  old.exec(MIGRATIONS[0]!)
  old.pragma('user_version = 1')
  old.exec(`INSERT INTO tokens (jti, namespace, service_account, created_ms, expires_ms) VALUES ('j1', 'edge', 'gateway', 1, 1000);
    INSERT INTO certificates VALUES ('s1', '${SPIFFE}', 'j1', '10.0.0.1', 1, 500);
    INSERT INTO devices VALUES ('edge', 'id', '${SPIFFE}', 1, 1, '10.0.0.1', 's1')`)
  old.close()
  await using registry = openRegistry(at)
  assert.deepEqual([(await registry.token('j1'))?.nodes, (await registry.certificate('s1'))?.device], [null, null])
  assert.equal(await registry.claimName({ ...claim, holder: 'serial:s1' }), undefined, 'it goes on under its name')
  assert.match((await registry.claimName({ ...claim, name: 'other', holder: 'serial:s1' }))!, /stands in no join token/)
})

test('certificates that ended long ago are dropped; one knows whether its token was revoked', async () => {
  await using registry = openRegistry(':memory:')
  await registry.addToken(token)
  await registry.addCertificate({
    serial: 'old',
    spiffeUri: SPIFFE,
    jti: 'j1',
    device: 'k',
    ip: '',
    issuedMs: 0,
    notAfterMs: 1,
  })
  await registry.addCertificate({
    serial: 'new',
    spiffeUri: SPIFFE,
    jti: 'j1',
    device: 'k',
    ip: '',
    issuedMs: 91 * 86_400_000,
    notAfterMs: 1e12,
  })
  assert.equal(await registry.certificate('old'), undefined)
  assert.equal((await registry.certificate('new'))?.revokedMs, null)
  await registry.revokeToken('j1', 7)
  assert.equal((await registry.certificate('new'))?.revokedMs, 7)
})

test('a file of a newer version and a file that is no database are refused with their codes', async (t) => {
  const at = file(t)
  await openRegistry(at)[Symbol.asyncDispose]()
  const raw = fs.readFileSync(at)
  raw.writeUInt32BE(99, 60) // user_version, SQLite file format §1.3.14
  fs.writeFileSync(at, raw)
  const coded =
    (code: MeshError['code']) =>
    (err: unknown): boolean =>
      (err as MeshError).code === code
  assert.throws(() => openRegistry(at), coded('MESH_STORAGE_NEWER'))
  fs.writeFileSync(at, 'not a database, but long enough to be looked at as one'.repeat(20))
  assert.throws(() => openRegistry(at), coded('MESH_STORAGE_FAILED'))
})
