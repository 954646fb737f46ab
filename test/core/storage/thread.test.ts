import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import type { Worker } from 'node:worker_threads'
import { openStorageWith } from '../../../core/storage/worker-storage.ts'
import type { DurabilityProfile, OpenStorage } from '../../../core/storage/storage.ts'
import { settle, SimClock } from '../../helpers/sim-clock.ts'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'
import { ALL, insert, TABLE } from './rig.ts'

/** Storage threads that were started since; the last one is the one that works. */
function threads(t: TestContext): Worker[] {
  const started: Worker[] = []
  const note = (worker: Worker): void => {
    started.push(worker)
  }
  process.on('worker', note)
  t.after(() => {
    process.off('worker', note)
  })
  return started
}
const storageOf = (_dir: string, clock?: SimClock): OpenStorage =>
  openStorageWith({ bundle: undefined, ...(clock ? { clock } : {}) })
const optionsOf = (dir: string, profile: DurabilityProfile = 'strict', name = 'a.db') => ({
  path: path.join(dir, name),
  profile,
  migrations: [TABLE],
})

test('a thread that dies refuses all that waits, of every file; the next commit finds another, with everything that was committed', async (t) => {
  const dir = temporaryFolder(t)
  const started = threads(t)
  const openStorage = storageOf(dir)
  await using a = (await openStorage(optionsOf(dir))).storage
  await using b = (await openStorage(optionsOf(dir, 'balanced', 'b.db'))).storage
  await a.commit([insert(1)])
  const asked = Promise.allSettled([a.commit([insert(2)]), a.query(ALL), b.commit([insert(2)])])
  await started[0]!.terminate()
  for (const r of await asked) if (r.status === 'rejected') assert.equal(r.reason.code, 'MESH_STORAGE_FAILED')
  assert.equal((await asked)[1].status, 'rejected')
  await a.commit([insert(3)])
  assert.deepEqual(
    (await a.query(ALL)).map((r) => r['k']).filter((k) => k !== 2),
    [1, 3],
  )
  await b.commit([insert(4)])
  assert.ok((await b.query(ALL)).some((r) => r['k'] === 4))
  assert.equal(started.length, 2)
})
test('a thread that dies between two pieces of a commit takes the whole of it along', async (t) => {
  const dir = temporaryFolder(t)
  const started = threads(t)
  const clock = new SimClock()
  // Every look at the clock finds that it is somebody else's turn.
  Object.defineProperty(clock, 'monotonicMs', { value: () => performance.now() * 1_000 })
  await using storage = (await storageOf(dir, clock)(optionsOf(dir))).storage
  let isDead = false
  const pieces = function* () {
    for (let k = 0; k < 5; k++) {
      yield [insert(k)]
      if (k !== 2) continue
      void started[0]!.terminate().then(() => {
        isDead = true
      })
      while (!isDead) yield []
    }
  }
  await assert.rejects(storage.commitInPieces(pieces()), {
    code: 'MESH_STORAGE_FAILED',
    message: /3 of 5 pieces of a commit are lost/,
  })
  assert.deepEqual(await storage.query(ALL), [])
  await storage.commitInPieces([[insert(1)], [insert(2)]])
  assert.deepEqual(
    (await storage.query(ALL)).map((r) => r['k']),
    [1, 2],
  )
  assert.equal(started.length, 2)
})
test('what a burst left is collected in the thread once nothing has come for a while', async (t) => {
  const dir = temporaryFolder(t)
  const started = threads(t)
  await using storage = (await storageOf(dir)(optionsOf(dir))).storage
  const usedBytes = async (): Promise<number> => (await started[0]!.getHeapStatistics()).used_heap_size
  // No number of bytes: how much is there to collect is V8's affair.
  const fallsBy = async (share: number): Promise<void> => {
    for (let most = await usedBytes(), now = most; now > most * (1 - share); now = await usedBytes()) {
      most = Math.max(most, now)
      await new Promise((resolve) => {
        setTimeout(resolve, 50)
      })
    }
  }
  await storage.commitInPieces(
    Array.from({ length: 20 }, (_, piece) =>
      Array.from({ length: 500 }, (_, k) => insert(piece * 500 + k, 'x'.repeat(50))),
    ),
  )
  await fallsBy(0.2)
})
test('a thread that dies while nobody waits is not missed', async (t) => {
  const dir = temporaryFolder(t)
  const started = threads(t)
  await using storage = (await storageOf(dir)(optionsOf(dir))).storage
  await storage.commit([insert(1)])
  await started[0]!.terminate()
  await storage.commit([insert(2)])
  assert.deepEqual(
    (await storage.query(ALL)).map((r) => r['k']),
    [1, 2],
  )
})
test('after the thread has died a damaged file is not replaced by an empty one under its users', async (t) => {
  const dir = temporaryFolder(t)
  const started = threads(t)
  const openStorage = storageOf(dir)
  const { storage } = await openStorage(optionsOf(dir))
  await storage.commit(Array.from({ length: 500 }, (_, k) => insert(k, new Uint8Array(500))))
  await storage.query({ sql: 'PRAGMA wal_checkpoint(TRUNCATE)' })
  await started[0]!.terminate()
  const bytes = fs.readFileSync(path.join(dir, 'a.db'))
  fs.writeFileSync(path.join(dir, 'a.db'), bytes.fill(0x5a, 4096))
  await assert.rejects(storage.commit([insert(1000)]), { code: 'MESH_STORAGE_DAMAGED' })
  assert.deepEqual(
    fs.readdirSync(dir).filter((name) => name.includes('damaged')),
    [],
  )
  await storage[Symbol.asyncDispose]()
  const again = await openStorage(optionsOf(dir))
  assert.ok(again.setAside)
  await again.storage[Symbol.asyncDispose]()
})
test('after the thread has died a file that is gone is not replaced by an empty one either', async (t) => {
  const dir = temporaryFolder(t)
  const started = threads(t)
  const { storage } = await storageOf(dir)(optionsOf(dir))
  await storage.commit([insert(1)])
  await started[0]!.terminate()
  fs.rmSync(path.join(dir, 'a.db'))
  await assert.rejects(storage.commit([insert(2)]), { code: 'MESH_STORAGE_DAMAGED' })
  assert.equal(fs.existsSync(path.join(dir, 'a.db')), false)
  await storage[Symbol.asyncDispose]()
})
test('damage that a query meets makes the next start look at the whole file, however large it is', async (t) => {
  const dir = temporaryFolder(t)
  const openStorage = storageOf(dir)
  const first = (await openStorage(optionsOf(dir, 'balanced'))).storage
  for (let i = 0; i < 70; i++) await first.commit([insert(i, new Uint8Array(1024 * 1024))])
  await first.commit([{ sql: 'CREATE INDEX i ON t (k, v)' }])
  await first[Symbol.asyncDispose]()
  const fd = fs.openSync(path.join(dir, 'a.db'), 'r+')
  const bytes = fs.fstatSync(fd).size
  assert.ok(bytes > 64 * 1024 * 1024)
  fs.writeSync(fd, Buffer.alloc(4096, 0x5a), 0, 4096, 4096)
  fs.closeSync(fd)
  const second = await openStorage(optionsOf(dir, 'balanced'))
  assert.equal(second.setAside, undefined)
  await assert.rejects(second.storage.query(ALL), { code: 'MESH_STORAGE_DAMAGED' })
  await second.storage[Symbol.asyncDispose]()
  const third = await openStorage(optionsOf(dir, 'balanced'))
  assert.ok(third.setAside)
  assert.deepEqual(await third.storage.query(ALL), [])
  await third.storage[Symbol.asyncDispose]()
  assert.deepEqual(
    fs.readdirSync(dir).filter((name) => name.endsWith('.suspect')),
    [],
  )
})
test('a copy is whole, waits for what was asked before and keeps other files waiting for nothing; it is closed after it', async (t) => {
  const dir = temporaryFolder(t)
  const openStorage = storageOf(dir)
  const { storage } = await openStorage(optionsOf(dir))
  await using other = (await openStorage(optionsOf(dir, 'strict', 'b.db'))).storage
  await storage.commit(Array.from({ length: 2_000 }, (_, k) => insert(k, new Uint8Array(10_000))))
  const order: string[] = []
  const to = path.join(dir, 'copy.db')
  const copying = storage.copyTo(to).then((bytes) => {
    order.push('copied')
    return bytes
  })
  await assert.rejects(storage.copyTo(to), { code: 'MESH_STORAGE_FAILED' })
  const same = storage.commit([insert(3_000)]).then(() => {
    order.push('same file')
  })
  await other.commit([insert(1)])
  order.push('other file')
  const closing = storage[Symbol.asyncDispose]().then(() => {
    order.push('closed')
  })
  const bytes = await copying
  await Promise.all([same, closing])
  assert.deepEqual(order, ['other file', 'copied', 'same file', 'closed'])
  assert.equal(fs.statSync(to).size, bytes)
  assert.equal(fs.statSync(to).mode & 0o777, 0o600)
  assert.deepEqual(
    fs.readdirSync(dir).filter((name) => name.startsWith('copy')),
    ['copy.db'],
  )
  const copy = await openStorage(optionsOf(dir, 'strict', 'copy.db'))
  assert.equal((await copy.storage.query({ sql: 'SELECT count(*) AS n FROM t' }))[0]!['n'], 2_000)
  await copy.storage[Symbol.asyncDispose]()
})
test('a file that was copied is still locked against another process', async (t) => {
  const dir = temporaryFolder(t)
  await using storage = (await storageOf(dir)(optionsOf(dir))).storage
  const other = (): string =>
    spawnSync(
      process.execPath,
      [
        '--input-type=module',
        '-e',
        `import D from 'better-sqlite3'; try { new D(process.argv[1], { timeout: 0 }).exec('SELECT * FROM t; INSERT INTO t VALUES (7, 7)'); console.log('in') } catch (err) { console.log(err.code) }`,
        path.join(dir, 'a.db'),
      ],
      { encoding: 'utf8' },
    ).stdout.trim()
  await storage.commit([insert(1)])
  assert.equal(other(), 'SQLITE_BUSY')
  for (let i = 0; i < 2; i++) await storage.copyTo(path.join(dir, 'copy.db'))
  assert.equal(other(), 'SQLITE_BUSY')
})
test('a file whose pages are not in order is not copied; the copy that is there stays', async (t) => {
  const dir = temporaryFolder(t)
  const openStorage = storageOf(dir)
  const options = { ...optionsOf(dir), check: 'as read' } as const
  const first = (await openStorage(options)).storage
  await first.commit(Array.from({ length: 2_000 }, (_, k) => insert(k, new Uint8Array(100))))
  await first.copyTo(path.join(dir, 'copy.db'))
  await first[Symbol.asyncDispose]()
  const good = fs.readFileSync(path.join(dir, 'copy.db'))
  fs.writeFileSync(path.join(dir, 'a.db'), fs.readFileSync(path.join(dir, 'a.db')).fill(0, 5 * 4096, 9 * 4096))
  const { storage } = await openStorage(options)
  await assert.rejects(storage.copyTo(path.join(dir, 'copy.db')), { code: 'MESH_STORAGE_DAMAGED' })
  assert.deepEqual(fs.readFileSync(path.join(dir, 'copy.db')), good)
  await storage[Symbol.asyncDispose]()
  const again = await openStorage({ ...options, previous: path.join(dir, 'copy.db') })
  assert.deepEqual(
    [again.source, again.previous, (await again.storage.query(ALL)).length],
    ['previous', 'there', 2_000],
    'the next start has looked at the whole file',
  )
  await again.storage[Symbol.asyncDispose]()
})
test('a thread that dies fails the copy, and the file goes on', async (t) => {
  const dir = temporaryFolder(t)
  const started = threads(t)
  await using storage = (await storageOf(dir)(optionsOf(dir))).storage
  await storage.commit([insert(1)])
  const copying = storage.copyTo(path.join(dir, 'copy.db'))
  void started[0]!.terminate()
  await assert.rejects(copying, { code: 'MESH_STORAGE_FAILED' })
  await storage.commit([insert(2)])
  await storage.copyTo(path.join(dir, 'copy.db'))
})
test('eco waits a second for company, and not for reads or at the end', async (t) => {
  const dir = temporaryFolder(t)
  const clock = new SimClock()
  const { storage } = await storageOf(dir, clock)(optionsOf(dir, 'eco'))
  let isDone = false
  const one = storage.commit([insert(1)]).then(() => {
    isDone = true
  })
  await clock.advance(999)
  await settle()
  assert.equal(isDone, false)
  assert.equal(storage.stats.waiting, 1)
  await clock.advance(1)
  await one
  assert.equal(storage.stats.fsyncs, 0)
  const two = storage.commit([insert(2)])
  assert.deepEqual(
    (await storage.query(ALL)).map((r) => r['k']),
    [1, 2],
  )
  await two
  const three = storage.commit([insert(3)])
  await storage[Symbol.asyncDispose]()
  await three
})
test('only one process at a time has the file', async (t) => {
  const dir = temporaryFolder(t)
  const { storage } = await storageOf(dir)(optionsOf(dir))
  await storage.commit([insert(1)])
  await assert.rejects(storageOf(dir)(optionsOf(dir)), { code: 'MESH_STATE_IN_USE' })
  await storage.commit([insert(2)])
  await storage[Symbol.asyncDispose]()
})
test('a view of a large buffer is stored as what it shows, and stays usable', async (t) => {
  const dir = temporaryFolder(t)
  await using storage = (await storageOf(dir)(optionsOf(dir))).storage
  const large = Buffer.alloc(1_000_000, 'y')
  const view = large.subarray(10, 14)
  view.write('abcd')
  await storage.commit([insert(1, view)])
  assert.equal(view.toString(), 'abcd')
  const [row] = await storage.query({ sql: 'SELECT v FROM t' })
  assert.equal(Buffer.from(row!['v'] as Uint8Array).toString(), 'abcd')
})
test('a closed storage refuses, and closing twice is one closing', async (t) => {
  const dir = temporaryFolder(t)
  const { storage } = await storageOf(dir)(optionsOf(dir))
  const last = storage.commit([insert(1)])
  await Promise.all([storage[Symbol.asyncDispose](), storage[Symbol.asyncDispose]()])
  await last
  await assert.rejects(storage.commit([insert(2)]), { code: 'MESH_STORAGE_FAILED' })
  await assert.rejects(storage.query(ALL), { code: 'MESH_STORAGE_FAILED' })
})
