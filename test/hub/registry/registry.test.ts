import assert from 'node:assert/strict'
import path from 'node:path'
import { openRegistry, type Registry } from '../../../hub/registry/registry.ts'
import { testRegistry } from './on-stores.ts'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'
import { claim, SPIFFE, token } from './first-rows.ts'

testRegistry("hub and command line use the same file at once and see each other's changes", async (hub, open) => {
  await using command = await open()
  await command.addToken(token)
  assert.equal((await hub.token('j1'))?.revokedMs, null)
  assert.equal((await command.revokeToken('j1', 5))?.revokedMs, 5)
  assert.equal((await command.revokeToken('j1', 9))?.revokedMs, 5, 'the first date stays')
  assert.equal((await hub.token('j1'))?.revokedMs, 5)
  assert.equal(await hub.revokeToken('unknown', 5), undefined)
})

testRegistry('a token with maxUses certifies so many keys; the same key may ask again', async (registry) => {
  await registry.addToken({ ...token, maxUses: 2 })
  const uses: string[] = []
  for (const key of ['k1', 'k2', 'k1', 'k3', 'k2']) uses.push(await registry.useToken('j1', key, 1))
  assert.deepEqual(uses, ['counted', 'counted', 'counted', 'used-up', 'counted'])
  assert.equal((await registry.token('j1'))?.uses, 2)
  assert.equal(await registry.useToken('unknown', 'k1', 1), 'used-up')
})

const addTokens = async (registry: Registry, ...nodes: (string | null)[]): Promise<void> => {
  for (const [i, one] of nodes.entries()) await registry.addToken({ ...token, jti: `j${i + 1}`, nodes: one })
}

testRegistry('a device shows its newest certificate, whatever its stream was opened with', async (registry) => {
  await addTokens(registry, '*')
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

testRegistry('a device by its name is as it stands in the list of all', async (registry) => {
  await registry.addToken({ ...token, nodes: 'gw-*' })
  for (const [i, name] of ['gw-1', 'gw-2', 'gw-3'].entries())
    await registry.claimName({ ...claim, name, holder: `key-${i}`, nowMs: 10 + i })
  for (const id of ['one', 'two']) await registry.registerReplica({ id, nowMs: 100, isAlone: false })
  const state = { lastSeenMs: 100, inForce: 'r', inForceMs: 100, refused: undefined }
  await registry.devicesChanged([{ ...state, name: 'gw-1', connectedMs: 70 }], 100, 'one')
  await registry.devicesChanged([{ ...state, name: 'gw-2', connectedMs: 80 }], 100, 'one')
  await registry.devicesChanged([{ ...state, name: 'gw-2', connectedMs: 90 }], 100, 'two')
  const all = await registry.devices()
  assert.deepEqual(
    all.map(({ connectedMs }) => connectedMs),
    [70, 80, null],
  )
  for (const device of all) assert.deepEqual(await registry.device(device.name), device)
  assert.equal(await registry.device("gw-' OR 1=1 --"), undefined)
})

testRegistry('a copy is whole, beside a hub that writes, and a file of SQLite', async (registry) => {
  using stack = new DisposableStack()
  const at = path.join(temporaryFolder({ after: (fn) => stack.defer(fn) }), 'registry.db')
  await registry.addToken(token)
  await registry.claimName(claim)
  await registry.copyTo(`${at}.copy`)
  await using copy = openRegistry(`${at}.copy`)
  assert.deepEqual(
    [await copy.token('j1'), await copy.devices()],
    [await registry.token('j1'), await registry.devices()],
  )
})

testRegistry(
  'certificates that ended long ago are dropped; one knows whether its token was revoked',
  async (registry) => {
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
  },
)
