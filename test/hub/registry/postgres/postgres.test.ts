/** The database goes, comes, ends connections and does not answer. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { until } from '../../../scenarios/site.ts'
import { findPostgres, openStore, startPostgres } from './server.ts'

const bin = findPostgres()
const skip = bin === undefined ? "Debian's package postgresql is not installed" : false
const INSERT = 'INSERT INTO replicas (id, started_ms, alive_ms) VALUES (?, 0, 0)'
const KILL = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state LIKE 'idle in%'"
const failed = {
  code: 'MESH_STORAGE_FAILED',
  message: /^the registry of the hub at postgres:\/\/\/d\d+ cannot be used$/,
}

test(
  'a connection that ends within a transaction undoes it, the lock is free, and the store goes on',
  { skip },
  async (t) => {
    const server = await startPostgres(t, bin!)
    const settings = server.settings()
    await using store = await openStore(settings)
    await using other = await openStore(settings)
    const undone = store.transaction(async (tx) => {
      await tx.run(INSERT, 'a')
      await other.all(KILL)
      await tx.run(INSERT, 'b')
    })
    await assert.rejects(undone, failed)
    await other.transaction((tx) => tx.run(INSERT, 'c'))
    assert.deepEqual(await store.all('SELECT id FROM replicas'), [{ id: 'c' }])
  },
)

test(
  'a failed statement undoes its transaction, whoever caught it, and the connection is used again',
  { skip },
  async (t) => {
    const server = await startPostgres(t, bin!)
    await using store = await openStore(server.settings({ maxConnections: 2 }))
    for (let i = 0; i < 5; i++) {
      const refused = store.transaction(async (tx) => {
        await tx.run(INSERT, 'a')
        await tx.run('INSERT INTO nowhere VALUES (?)', 1)
      })
      await assert.rejects(refused, failed)
    }
    assert.deepEqual(await store.all('SELECT id FROM replicas'), [])
  },
)

test(
  'the database is started again: what is asked meanwhile fails, afterwards it is answered, and there was a change',
  { skip },
  async (t) => {
    const server = await startPostgres(t, bin!)
    await using store = await openStore(server.settings())
    await store.run(INSERT, 'a')
    const before = store.revision
    await server.stop('immediate')
    await assert.rejects(store.all('SELECT 1'), failed)
    await assert.rejects(
      store.transaction((tx) => tx.run(INSERT, 'b')),
      failed,
    )
    assert.equal(store.revision, before, 'nobody is asked again while nothing can be known')
    await server.start()
    await until('it is heard of', () => store.revision !== before)
    await until('it answers', () => store.all('SELECT 1').then(Boolean, () => false))
    assert.deepEqual(await store.all('SELECT id FROM replicas'), [{ id: 'a' }])
  },
)

test('hubs that start at once make the tables once; a newer database is refused', { skip }, async (t) => {
  const server = await startPostgres(t, bin!)
  const settings = server.settings()
  const stores = await Promise.all([1, 2, 3].map(() => openStore(settings)))
  for (const store of stores) await store.all('SELECT 1 FROM devices')
  await stores[0]!.run('INSERT INTO meshlet_schema (version) VALUES (?)', 999)
  await assert.rejects(openStore(settings), { code: 'MESH_STORAGE_NEWER' })
  for (const store of stores) await store[Symbol.asyncDispose]()
})

test('who waits for another longer than a statement may take is told so', { skip }, async (t) => {
  const server = await startPostgres(t, bin!)
  const settings = server.settings({ statementMs: 300 })
  await using store = await openStore(settings)
  await using other = await openStore(settings)
  await store.transaction(async () =>
    assert.rejects(
      other.transaction(async () => {}),
      failed,
    ),
  )
  await other.transaction((tx) => tx.run(INSERT, 'a'))
})
