import { test } from 'node:test'
import assert from 'node:assert/strict'
import { openSqlite } from '../../../hub/registry/sqlite.ts'
import type { Store } from '../../../hub/registry/sql.ts'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'

const INSERT = 'INSERT INTO hub (only, alive_ms) VALUES (1, ?)'
const readAlive = async (store: Pick<Store, 'all'>): Promise<number | undefined> =>
  (await store.all<{ ms: number }>('SELECT alive_ms AS ms FROM hub'))[0]?.ms

test('what another task asks for in the middle of a transaction comes after it, in the order of asking', async () => {
  await using store = openSqlite(':memory:')
  const { promise: isHeld, resolve: go } = Promise.withResolvers<void>()
  const seen: string[] = []
  const tx = store.transaction(async (own) => {
    await own.run(INSERT, 1)
    await isHeld
    seen.push('transaction')
    await own.run('UPDATE hub SET alive_ms = 2')
  })
  const others = [
    readAlive(store).then((ms) => seen.push(`read ${ms}`)),
    store.run('UPDATE hub SET alive_ms = 3').then(() => seen.push('write')),
    store.transaction(async (own) => seen.push(`next ${await readAlive(own)}`)),
  ]
  await new Promise((done) => {
    setImmediate(done)
  })
  assert.deepEqual(seen, [])
  go()
  await Promise.all([tx, ...others])
  assert.deepEqual(seen, ['transaction', 'read 2', 'write', 'next 3'])
})

test('what throws is undone, with what was a transaction within it, and the next goes on', async () => {
  await using store = openSqlite(':memory:')
  const before = store.revision
  await assert.rejects(
    store.transaction(async (tx) => {
      await tx.transaction((own) => own.run(INSERT, 1))
      await tx.touch()
      throw new Error('no')
    }),
    /^Error: no$/,
  )
  assert.deepEqual([await readAlive(store), store.revision], [undefined, before])
  await store.transaction((tx) => tx.run(INSERT, 2))
  assert.equal(await readAlive(store), 2)
})

test('the revision is another one once it is committed, not before, here and for others of the file', async (t) => {
  const file = `${temporaryFolder(t)}/r.db`
  await using store = openSqlite(file)
  await using other = openSqlite(file)
  const [mine, theirs] = [store.revision, other.revision]
  await store.transaction(async (tx) => {
    await tx.run(INSERT, 1)
    await tx.touch()
    assert.deepEqual([store.revision, other.revision], [mine, theirs])
  })
  assert.notEqual(store.revision, mine)
  assert.notEqual(other.revision, theirs)
})

test('a statement past its transaction, or beside it from within it, is a defect that waits for nothing', async () => {
  await using store = openSqlite(':memory:')
  let late: Pick<Store, 'run'> | undefined
  await store.transaction(async (tx) => {
    late = tx
    await assert.rejects(readAlive(store), { code: 'MESH_INTERNAL', message: /not given to the transaction/ })
  })
  await assert.rejects(late!.run(INSERT, 1), { code: 'MESH_INTERNAL', message: /after the end/ })
})

test('what was asked for before the end is done before it; after it nothing is', async () => {
  const store = openSqlite(':memory:')
  const done = store.run(INSERT, 1)
  await store[Symbol.asyncDispose]()
  assert.equal(await done, 1)
  await assert.rejects(readAlive(store), { code: 'MESH_STORAGE_FAILED' })
})
