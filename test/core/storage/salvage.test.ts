import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import Database from 'better-sqlite3'
import { salvageRows, type Salvaged, type SalvagedRow } from '../../../core/storage/salvage.ts'
import { SimClock } from '../../helpers/sim-clock.ts'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'

async function read(file: string): Promise<{ rows: SalvagedRow[]; result: Salvaged }> {
  const rows: SalvagedRow[] = []
  const reader = salvageRows(file, new SimClock())
  for (let next = await reader.next(); ; next = await reader.next()) {
    if (next.done) return { rows, result: next.value }
    rows.push(next.value)
  }
}
function made(t: TestContext, fill: (db: Database.Database) => void): string {
  const dir = temporaryFolder(t)
  const db = new Database(path.join(dir, 'file.db'))
  fill(db)
  db.close()
  return path.join(dir, 'file.db')
}
function zero(file: string, page: number): void {
  const fd = fs.openSync(file, 'r+')
  fs.writeSync(fd, Buffer.alloc(4096), 0, 4096, page * 4096)
  fs.closeSync(fd)
}

test('values of every type come as they were written, long ones over many pages', async (t) => {
  const values = [
    null,
    0,
    1,
    -1,
    127,
    -30_000,
    8_000_000,
    2 ** 40,
    -(2 ** 52),
    1.5,
    'ü'.repeat(5_000),
    Buffer.alloc(100_000, 7),
  ]
  const file = made(t, (db) => {
    db.exec(`CREATE TABLE t (id INTEGER PRIMARY KEY, ${values.map((_, i) => `c${i}`).join(', ')})`)
    db.prepare(`INSERT INTO t VALUES (${['?', ...values.map(() => '?')].join(', ')})`).run(2n ** 60n, ...values)
  })
  const { rows } = await read(file)
  const row = rows.find((one) => one.rowid === 2n ** 60n)
  // SQLite keeps no difference between 1 and 1.0 that a reader of pages could see.
  assert.deepEqual(row?.values, [null, ...values])
})

test('all rows of a table without a row id are found, those between its leaves too, whichever page is the root', async (t) => {
  const file = made(t, (db) => {
    db.exec('CREATE TABLE s (key TEXT PRIMARY KEY, body TEXT) WITHOUT ROWID')
    const insert = db.prepare('INSERT INTO s VALUES (?, ?)')
    db.transaction(() => {
      for (let i = 0; i < 2_000; i++) insert.run(`key-${i}`, 'x'.repeat(i % 2_000))
    })()
  })
  const keysOf = async (): Promise<Set<unknown>> =>
    new Set((await read(file)).rows.filter((one) => one.rowid === undefined).map((one) => one.values[0]))
  assert.equal((await keysOf()).size, 2_000)
  zero(file, 0)
  assert.equal((await keysOf()).size, 2_000, 'the first page has the schema only')
  zero(file, 1)
  const without = await keysOf()
  assert.ok(without.size < 2_000 && without.size > 1_900, `the root of the table held ${2_000 - without.size} rows`)
  assert.equal((await read(file)).result.damagedPages, 2)
})

test('what was deleted does not come back, and what is only in the log does', async (t) => {
  const file = made(t, (db) => {
    db.exec('CREATE TABLE t (id INTEGER PRIMARY KEY, data BLOB)')
    for (let i = 1; i <= 50; i++) db.prepare('INSERT INTO t VALUES (?, ?)').run(i, Buffer.alloc(2_000, i))
    db.exec('DELETE FROM t WHERE id <= 40')
  })
  const idsOf = async (from: string): Promise<bigint[]> =>
    (await read(from)).rows.filter((one) => one.values[1] instanceof Uint8Array).map((one) => one.rowid!)
  assert.deepEqual(await idsOf(file), [41n, 42n, 43n, 44n, 45n, 46n, 47n, 48n, 49n, 50n])
  const db = new Database(file)
  db.pragma('journal_mode = WAL')
  db.prepare('INSERT INTO t VALUES (?, ?)').run(51, Buffer.alloc(2_000))
  for (const suffix of ['', '-wal']) fs.copyFileSync(file + suffix, `${file}.copy${suffix}`)
  db.close()
  assert.ok((await idsOf(`${file}.copy`)).includes(51n))
})

test('of a transaction that was not committed nothing is taken: half of what it moved would be gone', async (t) => {
  const folder = temporaryFolder(t)
  const file = path.join(folder, 'file.db')
  const db = new Database(file)
  db.pragma('journal_mode = WAL')
  db.exec('CREATE TABLE t (key TEXT PRIMARY KEY, body TEXT) WITHOUT ROWID')
  const insert = db.prepare('INSERT INTO t VALUES (?, ?)')
  db.transaction(() => {
    for (let i = 0; i < 60; i += 2) insert.run(`key-${i + 100}`, 'x'.repeat(100))
  })()
  const before = fs.statSync(`${file}-wal`).size
  db.transaction(() => {
    for (let i = 1; i < 60; i += 2) insert.run(`key-${i + 100}`, 'x'.repeat(100))
  })()
  const frames = (fs.statSync(`${file}-wal`).size - before) / (24 + 4096)
  assert.ok(frames > 1, 'a page was split')
  for (let left = 1; left < frames; left++) {
    const copy = path.join(folder, `copy-${left}.db`)
    for (const suffix of ['', '-wal']) fs.copyFileSync(file + suffix, copy + suffix)
    fs.truncateSync(`${copy}-wal`, before + left * (24 + 4096))
    const keys = new Set((await read(copy)).rows.map(({ values }) => values[0]))
    for (let i = 0; i < 60; i += 2) assert.ok(keys.has(`key-${i + 100}`), `key-${i + 100} with ${left} frames`)
  }
  db.close()
})

test('bytes of any kind are read without an error, and to an end', async (t) => {
  const file = made(t, (db) => {
    db.exec('CREATE TABLE t (id INTEGER PRIMARY KEY, data BLOB)')
    for (let i = 1; i <= 20; i++) db.prepare('INSERT INTO t VALUES (?, ?)').run(i, Buffer.alloc(10_000, i))
  })
  const bytes = fs.readFileSync(file)
  let seed = 1
  for (let round = 0; round < 200; round++) {
    const damaged = Buffer.from(bytes)
    for (let i = 0; i < 50; i++) {
      seed = (seed * 48_271) % 2_147_483_647
      damaged[seed % damaged.length] = seed & 0xff
    }
    fs.writeFileSync(file, damaged)
    await read(file)
  }
})
