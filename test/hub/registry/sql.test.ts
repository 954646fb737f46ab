import assert from 'node:assert/strict'
import type { Store } from '../../../hub/registry/sql.ts'
import { until } from '../../scenarios/site.ts'
import { testStores } from './on-stores.ts'

const INSERT = "INSERT INTO replicas (id, started_ms, alive_ms) VALUES ('a', 0, ?)"
const readAlive = async (store: Pick<Store, 'all'>): Promise<number | undefined> =>
  (await store.all<{ ms: number }>('SELECT alive_ms AS ms FROM replicas'))[0]?.ms

testStores('a transaction waits for the one before', async (open) => {
  await using store = await open()
  const { promise: isHeld, resolve: go } = Promise.withResolvers<void>()
  const { promise: hasBegun, resolve: begun } = Promise.withResolvers<void>()
  const seen: string[] = []
  const tx = store.transaction(async (own) => {
    await own.run(INSERT, 1)
    begun()
    await isHeld
    seen.push('transaction')
    await own.run('UPDATE replicas SET alive_ms = 2')
  })
  // Connections of PostgreSQL that are opened at once are there in any order.
  await hasBegun
  const others = [
    store.transaction(async (own) => {
      seen.push(`second ${await readAlive(own)}`)
      await own.run('UPDATE replicas SET alive_ms = 3')
    }),
    store.transaction(async (own) => seen.push(`third ${await readAlive(own)}`)),
  ]
  await new Promise((done) => {
    setImmediate(done)
  })
  assert.deepEqual(seen, [])
  go()
  await Promise.all([tx, ...others])
  assert.equal(seen[0], 'transaction')
  assert.ok(seen[1] === 'second 2' || seen[1] === 'third 2', seen.join())
  assert.equal(seen.length, 3)
})

testStores('what throws is undone, with what was a transaction within it, and the next goes on', async (open) => {
  await using store = await open()
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

testStores(
  'the revision is another one once it is committed, not before, here and for others of the file',
  async (open) => {
    await using store = await open()
    await using other = await open()
    const [mine, theirs] = [store.revision, other.revision]
    await store.transaction(async (tx) => {
      await tx.run(INSERT, 1)
      await tx.touch()
      assert.deepEqual([store.revision, other.revision], [mine, theirs])
    })
    assert.notEqual(store.revision, mine)
    await until('the other hears of it', () => other.revision !== theirs)
  },
)

testStores(
  'a statement past its transaction, or beside it from within it, is a defect that waits for nothing',
  async (open) => {
    await using store = await open()
    let late: Pick<Store, 'run'> | undefined
    await store.transaction(async (tx) => {
      late = tx
      await assert.rejects(readAlive(store), { code: 'MESH_INTERNAL', message: /not given to the transaction/ })
    })
    await assert.rejects(late!.run(INSERT, 1), { code: 'MESH_INTERNAL', message: /after the end/ })
  },
)
