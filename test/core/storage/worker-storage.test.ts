import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { systemClock } from '../../../core/os/clock.ts'
import { openStorageWith } from '../../../core/storage/worker-storage.ts'
import type { DurabilityProfile, Opened } from '../../../core/storage/storage.ts'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'
import { ALL, insert, TABLE } from './rig.ts'

const open = (dir: string, migrations = [TABLE], profile: DurabilityProfile = 'strict'): Promise<Opened> =>
  openStorageWith({ bundle: undefined })({ path: path.join(dir, 'a.db'), profile, migrations })

test('what was committed is there after closing and opening again; the file is for its owner only', async (t) => {
  const dir = temporaryFolder(t)
  {
    await using storage = (await open(dir)).storage
    await storage.commit([insert(1), insert(2)])
  }
  await using storage = (await open(dir)).storage
  assert.deepEqual(
    (await storage.query(ALL)).map((r) => r['k']),
    [1, 2],
  )
  assert.equal(fs.statSync(path.join(dir, 'a.db')).mode & 0o777, 0o600)
})
test('a commit is all or nothing, and one that fails takes nobody with it', async (t) => {
  await using storage = (await open(temporaryFolder(t))).storage
  const results = await Promise.allSettled([
    storage.commit([insert(1)]),
    storage.commit([insert(2), insert(2)]),
    storage.commit([insert(3)]),
  ])
  assert.deepEqual(
    results.map((r) => r.status),
    ['fulfilled', 'rejected', 'fulfilled'],
  )
  assert.equal((results[1] as PromiseRejectedResult).reason.code, 'MESH_STORAGE_FAILED')
  assert.deepEqual(
    (await storage.query(ALL)).map((r) => r['k']),
    [1, 3],
  )
})
test('commits that wait for a running one go together', async (t) => {
  await using storage = (await open(temporaryFolder(t))).storage
  await Promise.all(Array.from({ length: 500 }, (_, k) => storage.commit([insert(k)])))
  assert.ok(storage.stats.commits < 50, `${storage.stats.commits} transactions for 500 commits`)
  assert.equal((await storage.query(ALL)).length, 500)
})
test('a commit in pieces is all or nothing, lets others have turns and other commits pass, and keeps the bytes that it was given', async (t) => {
  let nowMs = 0
  const dir = temporaryFolder(t)
  const slow = { ...systemClock, monotonicMs: () => (nowMs += 10) }
  await using storage = (
    await openStorageWith({ bundle: undefined, clock: slow })({
      path: path.join(dir, 'a.db'),
      profile: 'strict',
      migrations: [TABLE],
    })
  ).storage
  const turns: number[] = []
  let turnsBeforeLast = 0
  const bytes = new Uint8Array(100_000)
  const pieces = function* (last: number) {
    for (let k = 10; k <= last; k++) {
      turnsBeforeLast = turns.length
      yield [insert(k, bytes.fill(k))]
      setImmediate(() => turns.push(k))
    }
  }
  const whole = storage.commitInPieces(pieces(19))
  assert.equal(turns.length, 0)
  await storage.commit([insert(1)])
  await whole
  assert.ok(turnsBeforeLast >= 8, `${turnsBeforeLast} turns of others between ten pieces`)
  const rows = await storage.query({ sql: 'SELECT k, v FROM t WHERE k >= 10 ORDER BY k' })
  assert.deepEqual(
    rows.map((r) => [r['k'], (r['v'] as Uint8Array).every((b) => b === r['k'])]),
    Array.from({ length: 10 }, (_, i) => [10 + i, true]),
  )
  await assert.rejects(storage.commitInPieces([[insert(20)], [insert(21)], [insert(20)]]), {
    code: 'MESH_STORAGE_FAILED',
  })
  const torn = function* () {
    yield [insert(30)]
    throw new Error('no more')
  }
  await assert.rejects(storage.commitInPieces(torn()), /no more/)
  const first = storage.commitInPieces(pieces(10))
  await assert.rejects(storage.commitInPieces([[insert(40)]]), /one commit in pieces at a time/)
  await assert.rejects(first, { code: 'MESH_STORAGE_FAILED' })
  await storage.commitInPieces([[], [insert(50)], []])
  await storage.commitInPieces([])
  assert.deepEqual(
    (await storage.query(ALL)).map((r) => r['k']),
    [1, ...Array.from({ length: 10 }, (_, i) => 10 + i), 50],
  )
})
test('a commit in pieces whose storage is closed between two of them is refused as a whole', async (t) => {
  const dir = temporaryFolder(t)
  const slow = { ...systemClock, monotonicMs: () => performance.now() * 1_000 }
  const { storage } = await openStorageWith({ bundle: undefined, clock: slow })({
    path: path.join(dir, 'a.db'),
    profile: 'strict',
    migrations: [TABLE],
  })
  const refused = assert.rejects(
    storage.commitInPieces(Array.from({ length: 200 }, (_, k) => [insert(k, new Uint8Array(10_000))])),
    { code: 'MESH_STORAGE_FAILED', message: /is closed/ },
  )
  await storage[Symbol.asyncDispose]()
  await refused
  await using again = (await open(dir)).storage
  assert.deepEqual(await again.query(ALL), [])
})
test('values by name, shared by statements that stand together', async (t) => {
  await using storage = (await open(temporaryFolder(t))).storage
  const params = { k: 7, v: Uint8Array.of(1, 2, 3), unused: null }
  await storage.commit([
    { sql: 'INSERT INTO t VALUES (@k, @v)', params },
    { sql: 'UPDATE t SET k = 8 WHERE v = @v AND k = @k', params },
  ])
  assert.deepEqual(await storage.query({ sql: 'SELECT k, v FROM t WHERE k = @k', params: { k: 8 } }), [
    { k: 8, v: Uint8Array.of(1, 2, 3) },
  ])
})
test('a damaged file is set aside under a name that says so, and an empty one serves', async (t) => {
  const dir = temporaryFolder(t)
  {
    await using storage = (await open(dir)).storage
    await storage.commit(Array.from({ length: 2_000 }, (_, k) => insert(k, new Uint8Array(100))))
  }
  const file = path.join(dir, 'a.db')
  const bytes = fs.readFileSync(file)
  bytes.fill(0x5a, 4096, 40_960)
  fs.writeFileSync(file, bytes)
  const { storage, setAside } = await open(dir)
  await using owned = storage
  assert.match(setAside ?? '', /a\.db\.damaged-\d+$/)
  assert.ok(fs.readFileSync(setAside!).equals(bytes))
  assert.deepEqual(await owned.query(ALL), [])
})
test('a file that is no database at all is set aside too', async (t) => {
  const dir = temporaryFolder(t)
  fs.writeFileSync(
    path.join(dir, 'a.db'),
    'certainly not a database, but long enough to have a header of one hundred bytes; '.repeat(3),
  )
  const { storage, setAside } = await open(dir)
  await using _ = storage
  assert.ok(setAside)
})
test('migrations run once and in order; a file of a newer version is refused and left alone', async (t) => {
  const dir = temporaryFolder(t)
  const second = 'ALTER TABLE t ADD COLUMN w'
  {
    await using storage = (await open(dir)).storage
    await storage.commit([insert(1)])
  }
  {
    await using storage = (await open(dir, [TABLE, second])).storage
    await storage.commit([{ sql: 'UPDATE t SET w = 1' }])
  }
  await assert.rejects(open(dir), { code: 'MESH_STORAGE_NEWER' })
  await using storage = (await open(dir, [TABLE, second])).storage
  assert.deepEqual(
    (await storage.query({ sql: 'SELECT w FROM t' })).map((r) => r['w']),
    [1],
  )
})
test('a full file says MESH_STORAGE_FULL, keeps what it has and goes on when there is room', async (t) => {
  await using storage = (await open(temporaryFolder(t))).storage
  await storage.commit([insert(1)])
  await storage.query({ sql: 'PRAGMA max_page_count = 20' })
  await assert.rejects(storage.commit([insert(2, new Uint8Array(500_000))]), { code: 'MESH_STORAGE_FULL' })
  assert.deepEqual(
    (await storage.query(ALL)).map((r) => r['k']),
    [1],
  )
  await storage.commit([insert(3)])
})
test('a folder that is not there is an error, not a hang', async () => {
  await assert.rejects(open('/nonexistent/meshlet'), { code: 'MESH_STORAGE_FAILED' })
})
test('strict waits for the disk: synchronous is FULL, and NORMAL otherwise', async (t) => {
  for (const [profile, level] of [
    ['strict', 2],
    ['balanced', 1],
  ] as const) {
    await using storage = (await open(temporaryFolder(t), [TABLE], profile)).storage
    assert.equal((await storage.query({ sql: 'PRAGMA synchronous' }))[0]!['synchronous'], level)
  }
})
