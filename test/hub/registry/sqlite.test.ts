/** SQLite's own ways: its file, its versions, one task at a time. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import Database from 'better-sqlite3'
import type { MeshError } from '../../../core/errors.ts'
import { openRegistry } from '../../../hub/registry/registry.ts'
import { REPORT } from '../../helpers/control-plane/report.ts'
import { MIGRATIONS } from '../../../hub/registry/schema.ts'
import { openSqlite } from '../../../hub/registry/sqlite.ts'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'
import { claim, SPIFFE } from './first-rows.ts'

function file(t: { after(fn: () => void): void }): string {
  return path.join(temporaryFolder(t), 'registry.db')
}

test('statements beside a transaction come after it, in the order of asking', async () => {
  await using store = openSqlite(':memory:')
  const { promise: isHeld, resolve: go } = Promise.withResolvers<void>()
  const seen: string[] = []
  const insert = "INSERT INTO replicas (id, started_ms, alive_ms) VALUES ('a', 0, 1)"
  const tx = store.transaction(async (own) => {
    await own.run(insert)
    await isHeld
    seen.push('transaction')
  })
  const others = [
    store.all('SELECT 1 FROM replicas').then((rows) => seen.push(`read ${rows.length}`)),
    store.run('DELETE FROM replicas').then((n) => seen.push(`deleted ${n}`)),
  ]
  await new Promise((done) => {
    setImmediate(done)
  })
  assert.deepEqual(seen, [])
  go()
  await Promise.all([tx, ...others])
  assert.deepEqual(seen, ['transaction', 'read 1', 'deleted 1'])
})

test('what was asked for before the end is done before it; after it nothing is', async () => {
  const store = openSqlite(':memory:')
  const done = store.all('SELECT 1')
  await store[Symbol.asyncDispose]()
  assert.equal((await done).length, 1)
  await assert.rejects(store.all('SELECT 1'), { code: 'MESH_STORAGE_FAILED' })
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

test('a report that was written before reports named services is one that names none', async (t) => {
  const at = file(t)
  const version = MIGRATIONS.findIndex((sql) => sql.includes('ADD COLUMN details'))
  const old = new Database(at)
  for (const sql of MIGRATIONS.slice(0, version)) old.exec(sql)
  old.pragma(`user_version = ${version}`)
  old.prepare('INSERT INTO reports VALUES (?, ?, ?, ?, ?)').run('gw-1', 5, 2, 'ab', JSON.stringify(REPORT))
  old.close()
  await using registry = openRegistry(at)
  const [report] = [JSON.parse(JSON.stringify(REPORT)) as unknown]
  assert.deepEqual(await registry.reports.latest('gw-1'), {
    name: 'gw-1',
    atMs: 5,
    restarts: 2,
    expected: 'ab',
    report,
  })
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
