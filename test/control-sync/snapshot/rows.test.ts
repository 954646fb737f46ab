/**
 * What the stored configuration costs on flash, which wears by the page: the layout of the file, and what a push
 * writes.
 */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import Database from 'better-sqlite3'
import fs from 'node:fs'
import path from 'node:path'
import { MIGRATIONS, Records } from '../../../control-sync/snapshot/records.ts'
import { savePieces } from '../../../control-sync/snapshot/rows.ts'
import type { RawResource } from '../../../model/snapshot.ts'
import type { SavedChange } from '../../../control-sync/snapshot/types.ts'
import { SqliteFile } from '../../../core/storage/sqlite-file.ts'
import { cluster, SnapshotDisk, timeoutOf, valueOf } from '../../helpers/disk/snapshot-disk.ts'

/** As istiod sends them for a service: a cluster, and a table that names every service. */
const [CLUSTER_BYTES, TABLE_BYTES] = [1_070, 547_000]
const PAGE_BYTES = 4_096

/** Bytes of any sort, that stay what they are only in their place. */
const bytes = (length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => (i * 7) & 255)
const put = (kind: SavedChange['kind'], name: string, length: number): SavedChange => ({
  kind,
  name,
  put: { name, version: '', value: bytes(length) } satisfies RawResource,
  references: {},
})

type File = {
  /** @returns bytes written */
  readonly save: (generation: number, changes: readonly SavedChange[]) => number
  readonly damage: (sql: string) => void
  /** From which to which generation, by age. */
  readonly rows: () => unknown[][]
  readonly inForce: () => ReturnType<Records['read']>
}

function fileOf(t: TestContext): File {
  const file = new SnapshotDisk(t).storage.path
  const open = SqliteFile.open({
    path: file,
    profile: 'strict',
    migrations: MIGRATIONS,
    previous: undefined,
    startFrom: 'file',
    check: 'as read',
    addon: undefined,
    stamp: '1',
    whenDamaged: 'set aside',
  })
  t.after(() => {
    open.close()
  })
  // The log is what a push writes, and shrinks at no moment of its own.
  open.query({ sql: 'PRAGMA wal_autocheckpoint = 0' })
  const logBytes = (): number => fs.statSync(`${file}-wal`).size
  const records = new Records(file, undefined)
  return {
    save: (generation, changes) => {
      const before = logBytes()
      open.commit(
        [
          ...savePieces({ node: 'n', generation, savedAtMs: 1, contactAtMs: 1, changedAtMs: {}, changes }, records),
        ].flat(),
      )
      return logBytes() - before
    },
    damage: (sql) => {
      open.commit([{ sql }])
    },
    rows: () =>
      open
        .query({ sql: 'SELECT from_generation, to_generation FROM record ORDER BY 1' })
        .map((row) => Object.values(row)),
    inForce: () =>
      records.read(open.query({ sql: 'SELECT key, crc, head, value FROM record WHERE to_generation IS NULL' })[0]!),
  }
}

test('a first push writes its bytes and a third more, not a page of its own for what is larger than a quarter of one', (t) => {
  const { save } = fileOf(t)
  const written = save(
    1,
    Array.from({ length: 500 }, (_, i) =>
      put('cluster', `outbound|80||svc-${i}.shop.svc.cluster.local`, CLUSTER_BYTES),
    ),
  )
  assert.ok(written < 500 * CLUSTER_BYTES * 1.5, `${written} bytes for ${500 * CLUSTER_BYTES}`)
})
test('a table that is replaced is written once: the version before stays where it is', (t) => {
  const { save } = fileOf(t)
  save(1, [put('route', '80', TABLE_BYTES)])
  for (const generation of [2, 3, 200, 70_000]) {
    const written = save(generation, [put('route', '80', TABLE_BYTES + generation)])
    assert.ok(written < (TABLE_BYTES + generation) * 1.2, `generation ${generation}: ${written} bytes`)
  }
})
test('a table that is taken back is not written again; nor one that goes to and fro', (t) => {
  const { save, rows, inForce } = fileOf(t)
  const table = (fill: number, version = 'u'): SavedChange => ({
    kind: 'route',
    name: '80',
    references: {},
    put: { name: '80', version, value: bytes(TABLE_BYTES).fill(fill, 1_000, 200_000) },
  })
  save(1, [table(1)])
  save(2, [table(2)])
  assert.deepEqual(rows(), [
    [1, 2],
    [2, null],
  ])
  for (const [generation, fill] of [
    [3, 1],
    [4, 2],
    [5, 1],
  ] as const) {
    const written = save(generation, [table(fill, 'v')])
    assert.ok(written <= 20 * (PAGE_BYTES + 24), `${written} bytes`)
  }
  // Both sound, each the one that it should be.
  assert.deepEqual(rows(), [
    [1, null],
    [2, 5],
  ])
  assert.equal(inForce()?.raw.value[1_000], 1)
})
test('bytes that a worn cell has changed since are not taken back into force: they are written anew', (t) => {
  const { save, damage, rows, inForce } = fileOf(t)
  const table = (fill: number): SavedChange => ({
    kind: 'route',
    name: '80',
    references: {},
    put: { name: '80', version: '', value: bytes(10_000).fill(fill) },
  })
  save(1, [table(1)])
  save(2, [table(2)])
  damage('UPDATE record SET value = zeroblob(10000) WHERE from_generation = 1')
  save(3, [table(1)])
  assert.deepEqual(rows(), [
    [2, 3],
    [3, null],
  ])
  assert.ok(inForce(), 'it is read')
})
test('an endpoint that changes writes a handful of pages among a thousand', (t) => {
  const { save } = fileOf(t)
  save(
    1,
    Array.from({ length: 1_000 }, (_, i) => put('endpoint', `outbound|80||svc-${i}.shop.svc.cluster.local`, 496)),
  )
  save(2, [put('endpoint', 'outbound|80||svc-500.shop.svc.cluster.local', 400)])
  const written = save(3, [put('endpoint', 'outbound|80||svc-500.shop.svc.cluster.local', 420)])
  assert.ok(written <= 10 * (PAGE_BYTES + 24), `${written} bytes`)
})

/** As schema 3 was at first: in one tree, which has no row ids. */
const OLDER = MIGRATIONS[2]!.replace(
  /CREATE TABLE record \(.*/,
  'CREATE TABLE record (key TEXT NOT NULL, from_generation INTEGER NOT NULL, to_generation INTEGER, crc INTEGER, head TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (key, from_generation)) WITHOUT ROWID;',
)

test('a file of the older layout goes on: what it has serves, is replaced, and serves in its version before when that is damaged', async (t) => {
  const disk = new SnapshotDisk(t)
  const { storage } = await disk.storage.open({
    path: disk.storage.path,
    profile: 'strict',
    migrations: [MIGRATIONS[0]!, MIGRATIONS[1]!, OLDER],
  })
  await storage[Symbol.asyncDispose]()
  for (const timeout of ['1s', '2s']) {
    await using run = await disk.run()
    await run.applier.apply([cluster('a', timeout), cluster('b')])
    assert.equal(run.applier.storageError, undefined)
  }
  const db = new Database(disk.storage.path)
  assert.match(
    (db.prepare("SELECT sql FROM sqlite_schema WHERE name = 'record'").get() as { sql: string }).sql,
    /WITHOUT ROWID/,
  )
  db.exec(
    "DROP TRIGGER record_changed; UPDATE record SET value = x'00' WHERE key = 'cluster a' AND to_generation IS NULL",
  )
  db.close()
  await using again = await disk.run()
  assert.deepEqual(
    [again.damaged, timeoutOf(again.applier, 'a'), again.applier.snapshot.resources.cluster.size],
    [['cluster a'], valueOf(cluster('a', '1s')), 2],
  )
  assert.deepEqual(
    fs.readdirSync(path.dirname(disk.storage.path)).filter((n) => n.includes('damaged')),
    [],
  )
})
