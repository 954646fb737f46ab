/** Whose a node name is, and who may have it next. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import path from 'node:path'
import Database from 'better-sqlite3'
import type { MeshError } from '../../../core/errors.ts'
import { openRegistry, type Registry } from '../../../hub/registry/registry.ts'
import { testRegistry } from './on-stores.ts'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'
import { claim, SPIFFE, token } from './first-rows.ts'

function file(t: { after(fn: () => void): void }): string {
  const folder = temporaryFolder(t)
  return path.join(folder, 'registry.db')
}

const addTokens = async (registry: Registry, ...nodes: (string | null)[]): Promise<void> => {
  for (const [i, one] of nodes.entries()) await registry.addToken({ ...token, jti: `j${i + 1}`, nodes: one })
}

testRegistry(
  "a name that is another identity's is refused and nothing of it changes, until it is forgotten",
  async (registry) => {
    await addTokens(registry, '*', '*')
    const other = {
      ...claim,
      spiffeUri: 'spiffe://demo.mesh/ns/cloud/sa/gateway',
      holder: 'key-2',
      jti: 'j2',
      nowMs: 20,
    }
    assert.equal(await registry.claimName(claim), undefined)
    assert.match((await registry.claimName(other))!, /^belongs to spiffe:\/\/demo\.mesh\/ns\/edge\/sa\/gateway$/)
    assert.equal((await registry.devices())[0]?.lastSeenMs, 10)
    assert.equal(await registry.forgetDevice('edge'), true)
    assert.equal(await registry.forgetDevice('edge'), false)
    assert.equal(await registry.claimName(other), undefined)
  },
)

testRegistry('a name is never had by coming first: the token says which names it is for', async (registry) => {
  await addTokens(registry, 'gw-1', 'gw-*', null)
  assert.match((await registry.claimName({ ...claim, name: 'gw-2' }))!, /not one that the join token is for \(gw-1\)/)
  assert.match((await registry.claimName({ ...claim, name: 'edge', jti: 'j2' }))!, /not one that the join token is for/)
  assert.match(
    (await registry.claimName({ ...claim, name: 'gw-9', jti: 'j3' }))!,
    /stands in no join token/,
    'a token of an older hub',
  )
  assert.match(
    (await registry.claimName({ ...claim, name: 'gw-9', jti: undefined }))!,
    /stands in no join token/,
    'no token is known',
  )
  assert.deepEqual(await registry.devices(), [])
  assert.equal(await registry.claimName({ ...claim, name: 'gw-1' }), undefined)
})

testRegistry(
  'of a pattern, each device has one name and each name one device; a token for just that name moves it',
  async (registry) => {
    await addTokens(registry, 'gw-*', 'gw-1')
    assert.equal(await registry.claimName({ ...claim, name: 'gw-1' }), undefined)
    assert.equal(await registry.claimName({ ...claim, name: 'gw-1', nowMs: 11 }), undefined, 'the same device again')
    assert.match(
      (await registry.claimName({ ...claim, name: 'gw-1', holder: 'key-2' }))!,
      /another device of this identity/,
    )
    assert.match((await registry.claimName({ ...claim, name: 'gw-2' }))!, /is another than gw-1/)
    assert.equal(
      await registry.claimName({ ...claim, name: 'gw-1', holder: 'key-2', jti: 'j2' }),
      undefined,
      'installed anew, with a token for gw-1',
    )
    assert.match((await registry.claimName({ ...claim, name: 'gw-1' }))!, /another device/, 'and the old one is out')
    for (const name of ['gw-3', 'gw-4'])
      assert.equal(
        await registry.claimName({ ...claim, name, holder: 'token:j1' }),
        undefined,
        'a client without certificates may be several nodes',
      )
    assert.equal(
      await registry.claimName({ ...claim, name: 'gw-3', holder: 'key-3' }),
      undefined,
      'a device that has its certificate now',
    )
    assert.match(
      (await registry.claimName({ ...claim, name: 'gw-3', holder: 'token:j1' }))!,
      /another device/,
      'from then on the token alone is not enough',
    )
  },
)

testRegistry(
  'of a pattern, a device whose certificate has run out comes back with a new key and the same token; before, and with another token, nobody',
  async (registry) => {
    await addTokens(registry, 'gw-*', 'gw-*')
    await registry.addCertificate({
      serial: 's1',
      spiffeUri: SPIFFE,
      jti: 'j1',
      device: 'key-1',
      ip: '',
      issuedMs: 1,
      notAfterMs: 500,
    })
    assert.equal(await registry.claimName({ ...claim, name: 'gw-1' }), undefined)
    assert.match((await registry.claimName({ ...claim, name: 'gw-1', holder: 'key-2', nowMs: 499 }))!, /another device/)
    assert.match(
      (await registry.claimName({ ...claim, name: 'gw-1', holder: 'key-2', jti: 'j2', nowMs: 500 }))!,
      /another device/,
    )
    assert.equal(await registry.claimName({ ...claim, name: 'gw-1', holder: 'key-2', nowMs: 500 }), undefined)
  },
)

testRegistry('a name that a device had before names were bound stays its own', async (registry) => {
  await addTokens(registry, '*', null)
  await registry.claimName(claim)
  await registry.exclusively((tx) => tx.forgetDevice('none'))
  assert.match((await registry.claimName({ ...claim, holder: 'serial:1', jti: 'j2' }))!, /stands in no join token/)
  assert.equal(await registry.claimName({ ...claim, jti: 'j2' }), undefined)
})

test('while nothing can be written a device has its name as before, and nobody gets a new one', async (t) => {
  const at = file(t)
  await using registry = openRegistry(at)
  await registry.addToken(token)
  await registry.addToken({ ...token, jti: 'exact', nodes: 'edge' })
  assert.equal(await registry.claimName(claim), undefined)
  registry.serving()
  const holder = new Database(at)
  holder.exec('BEGIN IMMEDIATE')
  assert.equal(await registry.claimName({ ...claim, nowMs: 99 }), undefined)
  for (const other of [
    { name: 'other', holder: 'key-2' },
    { holder: 'key-2' },
    { holder: 'key-2', jti: 'exact' },
    { spiffeUri: `${SPIFFE}-2` },
  ]) {
    await assert.rejects(
      registry.claimName({ ...claim, ...other }),
      (err: MeshError) => err.code === 'MESH_STORAGE_FAILED',
    )
  }
  holder.close()
})

testRegistry('of devices that claim one free name at once, one has it', async (registry) => {
  await addTokens(registry, '*')
  const holders = ['key-1', 'key-2', 'key-3']
  const why = await Promise.all(holders.map((holder) => registry.claimName({ ...claim, holder })))
  // Which of them is first, the connections of the pool decide.
  const having = holders.filter((_, i) => why[i] === undefined)
  assert.deepEqual(having, [await registry.holderOf('edge')])
})
