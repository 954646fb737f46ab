/** Two hubs on one PostgreSQL: any of them serves any device, and what one takes away the other takes away. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { status } from '@grpc/grpc-js'
import { systemDisk } from '../../core/os/disk.ts'
import { readHubId } from '../../hub/open-state.ts'
import { CLUSTER } from '../../hub/source/resources.ts'
import { until } from '../scenarios/site.ts'
import { findPostgres, startPostgres } from './registry/postgres/server.ts'
import { bearer, certify, DeltaStream, join, testHub, type TestHub } from './start-hub.ts'
import { makeCsr } from './ca/make-csr.ts'

const bin = findPostgres()
const skip = bin === undefined ? "Debian's package postgresql is not installed" : false
const gateway = { namespace: 'edge', serviceAccount: 'gateway' }
type Finally = { after(fn: () => void | Promise<void>): void }

async function startTwo(t: Finally): Promise<{ a: TestHub; b: TestHub; store: string }> {
  const server = await startPostgres(t, bin!)
  const store = `store: {url: "${server.settings().url}"}\n`
  const a = await testHub(t, store)
  const b = await testHub(t, store, {}, (folder) => {
    fs.mkdirSync(`${folder}/state`, { mode: 0o700 })
    fs.cpSync(`${a.folder}/state/ca`, `${folder}/state/ca`, { recursive: true })
  })
  const load = { cluster_name: 'c', endpoints: [] }
  const cluster = { '@type': CLUSTER, name: 'c', type: 'STATIC', connect_timeout: '1s', load_assignment: load }
  // A hub that has never had a revision takes nothing away.
  for (const h of [a, b]) h.write('cluster.json', JSON.stringify({ resources: [cluster] }))
  return { a, b, store }
}
const open = async (h: TestHub, shown: { keyPem: string; chainPem: string }, id: string): Promise<DeltaStream> => {
  const stream = new DeltaStream(h.client(shown))
  stream.ask({ node: { id }, typeUrl: CLUSTER })
  await stream.next()
  return stream
}

test(
  'a device joins at one and has its stream at the other; revoked at one, its stream at the other ends',
  { skip },
  async (t) => {
    const { a, b } = await startTwo(t)
    const { token, jti } = await a.hub.createToken({ ...gateway, nodes: 'gw-*', maxUses: 2 })
    const stays = await join(b, (await b.hub.createToken({ ...gateway, nodes: 'ok-1' })).token)
    const [one, two] = [await join(a, token), await join(b, token)]
    await assert.rejects(certify(b.client(), bearer(token), { csr: makeCsr().csrPem }), {
      code: status.PERMISSION_DENIED,
    })
    const [atB, atA, other] = [await open(b, one, 'gw-1'), await open(a, two, 'gw-2'), await open(b, stays, 'ok-1')]
    const connected = async (h: TestHub): Promise<string[]> =>
      (await h.hub.registry.devices()).filter((d) => d.connectedMs !== null).map((d) => d.name)
    await until('both show all', async () => (await connected(a)).length === 3 && (await connected(b)).length === 3)
    await a.hub.registry.revokeToken(jti, Date.now())
    assert.equal((await atB.error()).code, status.UNAUTHENTICATED)
    assert.equal((await atA.error()).code, status.UNAUTHENTICATED)
    await until('only one is left', async () => (await connected(a)).join() === 'ok-1')
    other.ask({ typeUrl: CLUSTER, resourceNamesSubscribe: ['none'] })
    let removed: readonly string[] = []
    while (removed.length === 0) ({ removedResources: removed } = await other.next())
    assert.deepEqual(removed, ['none'], 'it is served on')
  },
)

test('a hub without the keys of the others makes none of its own and does not start', { skip }, async (t) => {
  const { store } = await startTwo(t)
  await assert.rejects(testHub(t, store), { code: 'MESH_CA_DAMAGED', message: /copy the folder ca/ })
  const other = await testHub(t)
  const withKeys = (folder: string): void => {
    fs.mkdirSync(`${folder}/state`, { mode: 0o700 })
    fs.cpSync(`${other.folder}/state/ca`, `${folder}/state/ca`, { recursive: true })
  }
  await assert.rejects(testHub(t, store, {}, withKeys), { code: 'MESH_CA_DAMAGED', message: /belongs to a token-key/ })
})

test('a hub whose folder ca is gone does not make another CA for the registry that it has', async (t) => {
  const first = await testHub(t)
  const withoutKeys = (folder: string): void => {
    fs.mkdirSync(`${folder}/state`, { mode: 0o700 })
    fs.copyFileSync(`${first.folder}/copy`, `${folder}/state/registry.db`)
  }
  await first.hub.registry.copyTo(`${first.folder}/copy`)
  await assert.rejects(testHub(t, '', {}, withoutKeys), { code: 'MESH_CA_DAMAGED', message: /restore a backup/ })
})

test('a hub among several is the same over its restarts, and alone it needs no name', () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'hub-id-'))
  const store = { url: 'postgres:///x?host=/run', maxConnections: 2, statementMs: 100 }
  const first = readHubId({ state: folder, store }, systemDisk)
  assert.deepEqual(readHubId({ state: folder, store }, systemDisk), first)
  assert.equal(fs.statSync(`${folder}/hub-id`).mode & 0o777, 0o600)
  fs.writeFileSync(`${folder}/hub-id`, "x' OR 1=1")
  assert.match(readHubId({ state: folder, store }, systemDisk)!.id, /^[0-9a-f-]{36}$/)
  assert.equal(readHubId({ state: folder, store: undefined }, systemDisk), undefined)
  fs.rmSync(folder, { recursive: true })
})
