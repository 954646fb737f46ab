import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import Database from 'better-sqlite3'
import type { MeshError } from '../../../core/errors.ts'
import { Registry } from '../../../hub/registry/registry.ts'
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

test("hub and command line use the same file at once and see each other's changes", (t) => {
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
  assert.deepEqual(
    ['k1', 'k2', 'k1', 'k3', 'k2'].map((key) => registry.useToken('j1', key, 1)),
    ['counted', 'counted', 'counted', 'used-up', 'counted'],
  )
  assert.equal(registry.token('j1')?.uses, 2)
  assert.equal(registry.useToken('unknown', 'k1', 1), 'used-up')
})

const withTokens = (...nodes: (string | null)[]): Registry => {
  const registry = new Registry(':memory:')
  for (const [i, one] of nodes.entries()) registry.addToken({ ...token, jti: `j${i + 1}`, nodes: one })
  return registry
}

test("a name that is another identity's is refused and nothing of it changes, until it is forgotten", () => {
  using registry = withTokens('*', '*')
  const other = { ...claim, spiffeUri: 'spiffe://demo.mesh/ns/cloud/sa/gateway', holder: 'key-2', jti: 'j2', nowMs: 20 }
  assert.equal(registry.claimName(claim), undefined)
  assert.match(registry.claimName(other)!, /^belongs to spiffe:\/\/demo\.mesh\/ns\/edge\/sa\/gateway$/)
  assert.equal(registry.devices()[0]?.lastSeenMs, 10)
  assert.equal(registry.forgetDevice('edge'), true)
  assert.equal(registry.forgetDevice('edge'), false)
  assert.equal(registry.claimName(other), undefined)
})

test('a name is never had by coming first: the token says which names it is for', () => {
  using registry = withTokens('gw-1', 'gw-*', null)
  assert.match(registry.claimName({ ...claim, name: 'gw-2' })!, /not one that the join token is for \(gw-1\)/)
  assert.match(registry.claimName({ ...claim, name: 'edge', jti: 'j2' })!, /not one that the join token is for/)
  assert.match(
    registry.claimName({ ...claim, name: 'gw-9', jti: 'j3' })!,
    /stands in no join token/,
    'a token of an older hub',
  )
  assert.match(
    registry.claimName({ ...claim, name: 'gw-9', jti: undefined })!,
    /stands in no join token/,
    'no token is known',
  )
  assert.deepEqual(registry.devices(), [])
  assert.equal(registry.claimName({ ...claim, name: 'gw-1' }), undefined)
})

test('of a pattern, each device has one name and each name one device; a token for just that name moves it', () => {
  using registry = withTokens('gw-*', 'gw-1')
  assert.equal(registry.claimName({ ...claim, name: 'gw-1' }), undefined)
  assert.equal(registry.claimName({ ...claim, name: 'gw-1', nowMs: 11 }), undefined, 'the same device again')
  assert.match(registry.claimName({ ...claim, name: 'gw-1', holder: 'key-2' })!, /another device of this identity/)
  assert.match(registry.claimName({ ...claim, name: 'gw-2' })!, /is another than gw-1/)
  assert.equal(
    registry.claimName({ ...claim, name: 'gw-1', holder: 'key-2', jti: 'j2' }),
    undefined,
    'installed anew, with a token for gw-1',
  )
  assert.match(registry.claimName({ ...claim, name: 'gw-1' })!, /another device/, 'and the old one is out')
  for (const name of ['gw-3', 'gw-4'])
    assert.equal(
      registry.claimName({ ...claim, name, holder: 'token:j1' }),
      undefined,
      'a client without certificates may be several nodes',
    )
  assert.equal(
    registry.claimName({ ...claim, name: 'gw-3', holder: 'key-3' }),
    undefined,
    'a device that has its certificate now',
  )
  assert.match(
    registry.claimName({ ...claim, name: 'gw-3', holder: 'token:j1' })!,
    /another device/,
    'from then on the token alone is not enough',
  )
})

test('of a pattern, a device whose certificate has run out comes back with a new key and the same token; before, and with another token, nobody', () => {
  using registry = withTokens('gw-*', 'gw-*')
  registry.addCertificate({
    serial: 's1',
    spiffeUri: SPIFFE,
    jti: 'j1',
    device: 'key-1',
    ip: '',
    issuedMs: 1,
    notAfterMs: 500,
  })
  assert.equal(registry.claimName({ ...claim, name: 'gw-1' }), undefined)
  assert.match(registry.claimName({ ...claim, name: 'gw-1', holder: 'key-2', nowMs: 499 })!, /another device/)
  assert.match(
    registry.claimName({ ...claim, name: 'gw-1', holder: 'key-2', jti: 'j2', nowMs: 500 })!,
    /another device/,
  )
  assert.equal(registry.claimName({ ...claim, name: 'gw-1', holder: 'key-2', nowMs: 500 }), undefined)
})

test('a name that a device had before names were bound stays its own', () => {
  using registry = withTokens('*', null)
  registry.claimName(claim)
  registry.exclusively(() => registry.forgetDevice('none'))
  assert.match(registry.claimName({ ...claim, holder: 'serial:1', jti: 'j2' })!, /stands in no join token/)
  assert.equal(registry.claimName({ ...claim, jti: 'j2' }), undefined)
})

test('a device shows its newest certificate, whatever its stream was opened with', () => {
  using registry = withTokens('*')
  const certificate = {
    serial: 's1',
    spiffeUri: SPIFFE,
    jti: 'j1',
    device: 'key-1',
    ip: '10.0.0.1',
    issuedMs: 1,
    notAfterMs: 500,
  }
  registry.addCertificate(certificate)
  registry.addCertificate({ ...certificate, serial: 'x1', device: 'key-2', issuedMs: 9, notAfterMs: 999 })
  registry.claimName(claim)
  assert.deepEqual(
    registry.devices().map((d) => [d.serial, d.notAfterMs, d.joinedMs, d.lastSeenMs]),
    [['s1', 500, 10, 10]],
  )
  registry.addCertificate({ ...certificate, serial: 's2', issuedMs: 2, notAfterMs: 900 })
  registry.claimName({ ...claim, ip: '10.0.0.2', nowMs: 20 })
  assert.deepEqual(
    registry.devices().map((d) => [d.serial, d.notAfterMs, d.joinedMs, d.lastSeenMs, d.lastIp]),
    [['s2', 900, 10, 20, '10.0.0.2']],
  )
})

test('while nothing can be written a device has its name as before, and nobody gets a new one', (t) => {
  const at = file(t)
  using registry = new Registry(at)
  registry.addToken(token)
  registry.addToken({ ...token, jti: 'exact', nodes: 'edge' })
  assert.equal(registry.claimName(claim), undefined)
  registry.serving()
  const holder = new Database(at)
  holder.exec('BEGIN IMMEDIATE')
  assert.equal(registry.claimName({ ...claim, nowMs: 99 }), undefined)
  for (const other of [
    { name: 'other', holder: 'key-2' },
    { holder: 'key-2' },
    { holder: 'key-2', jti: 'exact' },
    { spiffeUri: `${SPIFFE}-2` },
  ]) {
    assert.throws(
      () => registry.claimName({ ...claim, ...other }),
      (err: MeshError) => err.code === 'MESH_STORAGE_FAILED',
    )
  }
  holder.close()
})

test('a copy is whole, beside a hub that writes', (t) => {
  const at = file(t)
  using registry = new Registry(at)
  registry.addToken(token)
  registry.claimName(claim)
  registry.copyTo(`${at}.copy`)
  using copy = new Registry(`${at}.copy`)
  assert.deepEqual([copy.token('j1'), copy.devices()], [registry.token('j1'), registry.devices()])
})

test('the registry of the version before is taken over', (t) => {
  const at = file(t)
  const old = new Database(at)
  old.exec(MIGRATIONS[0]!)
  old.pragma('user_version = 1')
  old.exec(`INSERT INTO tokens (jti, namespace, service_account, created_ms, expires_ms) VALUES ('j1', 'edge', 'gateway', 1, 1000);
    INSERT INTO certificates VALUES ('s1', '${SPIFFE}', 'j1', '10.0.0.1', 1, 500);
    INSERT INTO devices VALUES ('edge', 'id', '${SPIFFE}', 1, 1, '10.0.0.1', 's1')`)
  old.close()
  using registry = new Registry(at)
  assert.deepEqual([registry.token('j1')?.nodes, registry.certificate('s1')?.device], [null, null])
  assert.equal(registry.claimName({ ...claim, holder: 'serial:s1' }), undefined, 'it goes on under its name')
  assert.match(registry.claimName({ ...claim, name: 'other', holder: 'serial:s1' })!, /stands in no join token/)
})

test('certificates that ended long ago are dropped; one knows whether its token was revoked', () => {
  using registry = new Registry(':memory:')
  registry.addToken(token)
  registry.addCertificate({
    serial: 'old',
    spiffeUri: SPIFFE,
    jti: 'j1',
    device: 'k',
    ip: '',
    issuedMs: 0,
    notAfterMs: 1,
  })
  registry.addCertificate({
    serial: 'new',
    spiffeUri: SPIFFE,
    jti: 'j1',
    device: 'k',
    ip: '',
    issuedMs: 91 * 86_400_000,
    notAfterMs: 1e12,
  })
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
  const coded =
    (code: MeshError['code']) =>
    (err: unknown): boolean =>
      (err as MeshError).code === code
  assert.throws(() => new Registry(at), coded('MESH_STORAGE_NEWER'))
  fs.writeFileSync(at, 'not a database, but long enough to be looked at as one'.repeat(20))
  assert.throws(() => new Registry(at), coded('MESH_STORAGE_FAILED'))
})
