/** Saver and store together, over real SQLite with commits that can fail, and a clock under the test's hand. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import Database from 'better-sqlite3'
import { cluster, load, SnapshotDisk as Disk, timeoutOf, valueOf } from '../../helpers/disk/snapshot-disk.ts'

const HOUR_MS = 3_600_000

test('the messages of one push are written once, when nothing more has come for half a second', async (t) => {
  const disk = new Disk(t)
  await using run = await disk.run()
  for (const one of [cluster('a'), cluster('b'), load('a'), load('b')]) {
    await run.applier.apply([one])
    await disk.clock.advance(100)
  }
  assert.equal(disk.writes, 0)
  await disk.pass(400)
  assert.equal(disk.writes, 1)
  assert.equal(run.applier.storageError, undefined)
})

test('what has not changed writes nothing', async (t) => {
  const disk = new Disk(t)
  await using run = await disk.run()
  await run.applier.apply([cluster('a')])
  await disk.pass(1_000)
  for (let i = 0; i < 3; i++) {
    await run.applier.apply([cluster('a')])
    await disk.pass(10_000)
  }
  assert.equal(disk.writes, 1)
})

test('changes without end are written every five seconds', async (t) => {
  const disk = new Disk(t)
  await using run = await disk.run()
  for (let i = 0; i < 40; i++) {
    await run.applier.apply([cluster('a', `${i + 1}s`)])
    await disk.pass(250)
  }
  assert.ok(disk.writes >= 1 && disk.writes <= 3, `${disk.writes} writes in ten seconds`)
})

test('a disk that is full: said so, served on, tried again, and then nothing is missing', async (t) => {
  const disk = new Disk(t)
  {
    await using run = await disk.run()
    disk.storage.faults = [{ when: 'before', code: 'MESH_STORAGE_FULL' }]
    await run.applier.apply([cluster('a', '1s')])
    await run.applier.apply([cluster('b')])
    await disk.pass(1_000)
    assert.equal(run.applier.storageError?.code, 'MESH_STORAGE_FULL')
    assert.equal(run.applier.snapshot.resources.cluster.size, 2)
    await run.applier.apply([cluster('a', '2s')])
    await disk.pass(31_000)
    assert.equal(run.applier.storageError, undefined)
  }
  await using again = await disk.run()
  assert.deepEqual([...again.applier.snapshot.resources.cluster.keys()].sort(), ['a', 'b'])
  assert.equal(
    timeoutOf(again.applier, 'a'),
    valueOf(cluster('a', '2s')),
    'the newer version, not the one of the failed write',
  )
})

test('what was not yet written is written at the end of the run', async (t) => {
  const disk = new Disk(t)
  {
    await using run = await disk.run()
    await run.applier.apply([cluster('a')])
  }
  await using again = await disk.run()
  assert.deepEqual([...again.applier.snapshot.resources.cluster.keys()], ['a'])
  assert.equal(again.applier.stale, true)
})

test('a run that ends on a full disk leaves nothing behind that waits', async (t) => {
  const disk = new Disk(t)
  {
    await using run = await disk.run()
    disk.storage.faults = [{ when: 'before', code: 'MESH_STORAGE_FULL' }]
    await run.applier.apply([cluster('a')])
  }
  assert.equal(disk.clock.pendingTimers, 0)
})

test('a resource whose bytes have changed on the disk is served in its version before, or not at all, and named', async (t) => {
  const disk = new Disk(t)
  {
    await using run = await disk.run()
    await run.applier.apply([cluster('a', '1s'), cluster('new')])
    await disk.pass(1_000)
    await run.applier.apply([cluster('a', '2s')])
    await disk.pass(1_000)
  }
  const db = new Database(disk.storage.path)
  db.exec(`UPDATE record SET value = x'00' || substr(value, 2) WHERE to_generation IS NULL`)
  db.close()
  await using again = await disk.run()
  assert.deepEqual([...again.damaged].sort(), ['cluster a', 'cluster new'])
  assert.equal(timeoutOf(again.applier, 'a'), valueOf(cluster('a', '1s')))
  assert.equal(again.applier.snapshot.resources.cluster.has('new'), false)
})

test('a file of the first schema is read and moved forward', async (t) => {
  const disk = new Disk(t)
  const { name, value } = cluster('old').put[0]!
  const db = new Database(disk.storage.path)
  db.exec(`CREATE TABLE resource (kind TEXT NOT NULL, name TEXT NOT NULL, from_generation INTEGER NOT NULL, to_generation INTEGER, hash TEXT NOT NULL, version TEXT NOT NULL, refs TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (kind, name, from_generation)) WITHOUT ROWID;
    CREATE INDEX resource_ended ON resource (to_generation) WHERE to_generation IS NOT NULL; CREATE TABLE state (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID; PRAGMA user_version = 1`)
  db.prepare('INSERT INTO resource VALUES (?, ?, 1, NULL, ?, ?, ?, ?)').run('cluster', name, 'h', '', '{}', value)
  db.exec(`INSERT INTO state VALUES ('node', 'n'), ('generation', '1')`)
  db.close()
  await using run = await disk.run()
  assert.deepEqual([...run.applier.snapshot.resources.cluster.keys()], ['old'])
  assert.deepEqual(run.damaged, [])
})

test('the time of the last contact and of the last change of a kind outlive the run', async (t) => {
  const disk = new Disk(t)
  const start = disk.clock.wallMs()
  {
    await using run = await disk.run()
    await run.applier.apply([cluster('a')])
    await disk.pass(HOUR_MS)
    await run.applier.apply([load('a')])
    await disk.pass(2 * HOUR_MS)
    // Nothing new, but the control plane is there.
    await run.applier.apply([load('a')])
  }
  const written = disk.writes
  await using again = await disk.run()
  assert.equal(again.applier.contactAtMs, start + 3 * HOUR_MS)
  assert.deepEqual(again.applier.changedAtMs, { cluster: start, endpoint: start + HOUR_MS })
  assert.equal(written, 3, 'two changes, and the contact at the end')
})

test('a control plane that was heard of and sent nothing leaves no snapshot: an empty one would have the next run ready with nothing', async (t) => {
  const disk = new Disk(t)
  {
    await using run = await disk.run()
    await run.applier.apply([])
    await disk.pass(2 * HOUR_MS)
    assert.equal(typeof run.applier.contactAtMs, 'number')
  }
  assert.equal(disk.writes, 0)
  // As an earlier meshlet left it.
  const db = new Database(disk.storage.path)
  db.exec(
    "INSERT INTO state (key, value) VALUES ('node', 'n'), ('generation', '0'), ('saved_at_ms', '0'), ('contact_at_ms', '1')",
  )
  db.close()
  await using again = await disk.run()
  assert.deepEqual([again.stored, again.damage], [false, []])
})

test('what another node left is not served and does not stay', async (t) => {
  const disk = new Disk(t)
  {
    await using run = await disk.run()
    await run.applier.apply([cluster('a')])
  }
  {
    await using other = await disk.run('m')
    assert.equal(other.applier.snapshot.resources.cluster.size, 0)
    await other.applier.apply([cluster('b')])
  }
  await using again = await disk.run('m')
  assert.deepEqual([...again.applier.snapshot.resources.cluster.keys()], ['b'])
})
