import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import {
  readChunks,
  isDamage,
  isUnreadable,
  readSize,
  SqliteFile,
  nameSuspicion,
} from '../../../core/storage/sqlite-file.ts'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'
import { ALL, how, insert, TABLE } from './rig.ts'

const fileOf = (t: TestContext): string => path.join(temporaryFolder(t), 'a.db')
const keys = (file: SqliteFile): unknown[] => file.query(ALL).map((r) => r['k'])
const codeOf = (fn: () => unknown): unknown => {
  try {
    fn()
  } catch (thrown) {
    return (thrown as { code?: unknown }).code
  }
  return assert.fail('nothing was thrown')
}
/** A page in the middle of the file is overwritten. */
function damage(file: string): void {
  const bytes = fs.readFileSync(file)
  fs.writeFileSync(file, bytes.fill(0x5a, 4096, 8192))
}
function filled(file: string): void {
  const made = SqliteFile.open(how(file))
  made.commit(Array.from({ length: 50 }, (_, k) => insert(k, new Uint8Array(500))))
  made.close()
}

test('a file is made for its owner only, with what the profile asks of the disk', (t) => {
  for (const [profile, synchronous] of [
    ['strict', 2],
    ['balanced', 1],
    ['eco', 1],
  ] as const) {
    const file = fileOf(t)
    const made = SqliteFile.open(how(file, { profile }))
    const asked = (pragma: string): unknown => Object.values(made.query({ sql: `PRAGMA ${pragma}` })[0]!)[0]
    assert.equal(fs.statSync(file).mode & 0o777, 0o600)
    assert.deepEqual(
      [asked('synchronous'), asked('journal_mode'), asked('locking_mode')],
      [synchronous, 'wal', 'exclusive'],
    )
    made.close()
  }
})

test('a commit is all or nothing, and the file goes on after one that failed', (t) => {
  const made = SqliteFile.open(how(fileOf(t)))
  made.commit([insert(1), insert(2)])
  assert.match(String(codeOf(() => made.commit([insert(3), insert(1)]))), /^SQLITE_CONSTRAINT/)
  assert.match(String(codeOf(() => made.commit([insert(4), { sql: 'nonsense' }]))), /^SQLITE_ERROR/)
  made.commit([insert(5)])
  assert.deepEqual(keys(made), [1, 2, 5])
  made.close()
})

test('statements are taken one by one: what makes them may fail half way, and nothing is left', (t) => {
  const made = SqliteFile.open(how(fileOf(t)))
  const failing = function* () {
    yield insert(1)
    throw new Error('half way')
  }
  assert.throws(() => made.commit(failing()), /half way/)
  assert.deepEqual(keys(made), [])
  made.close()
})

test('more statements than are kept prepared', (t) => {
  const made = SqliteFile.open(how(fileOf(t)))
  made.commit(Array.from({ length: 250 }, (_, k) => ({ sql: `INSERT INTO t VALUES (${k}, 'x')` })))
  assert.equal(keys(made).length, 250)
  made.close()
})

test('migrations that are new run once, in order; a file that is ahead of them is refused', (t) => {
  const file = fileOf(t)
  const second = 'CREATE TABLE u (v TEXT); INSERT INTO u VALUES (1)'
  SqliteFile.open(how(file)).close()
  for (let i = 0; i < 2; i++) {
    const made = SqliteFile.open(how(file, { migrations: [TABLE, second] }))
    assert.deepEqual(
      [made.query({ sql: 'SELECT count(*) AS n FROM u' })[0]!['n'], made.query({ sql: 'PRAGMA user_version' })[0]],
      [1, { user_version: 2 }],
    )
    made.close()
  }
  assert.equal(
    codeOf(() => SqliteFile.open(how(file))),
    'MESH_STORAGE_NEWER',
  )
  assert.throws(() => SqliteFile.open(how(file, { migrations: [TABLE, second, 'nonsense'] })))
  const before = SqliteFile.open(how(file, { migrations: [TABLE, second] }))
  assert.deepEqual(
    before.query({ sql: 'PRAGMA user_version' }),
    [{ user_version: 2 }],
    'a migration that fails leaves no trace',
  )
  before.close()
})

test('damage is found at the start where the whole file is checked, else when it is read; then the next start checks', (t) => {
  const file = fileOf(t)
  filled(file)
  damage(file)
  assert.ok(isDamage(captured(() => SqliteFile.open(how(file)))))
  const made = SqliteFile.open(how(file, { check: 'as read' }))
  assert.equal(fs.existsSync(nameSuspicion(file)), false)
  assert.ok(isDamage(captured(() => made.query({ sql: 'SELECT sum(length(v)) FROM t' }))))
  made.close()
  assert.equal(fs.statSync(nameSuspicion(file)).mode & 0o777, 0o600)
  assert.ok(isDamage(captured(() => SqliteFile.open(how(file, { check: 'as read' })))))
})

test('a file under suspicion that is well is under suspicion no more', (t) => {
  const file = fileOf(t)
  filled(file)
  fs.writeFileSync(nameSuspicion(file), '')
  SqliteFile.open(how(file, { check: 'as read' })).close()
  assert.equal(fs.existsSync(nameSuspicion(file)), false)
})

test('an error that is no damage puts nothing under suspicion', (t) => {
  const file = fileOf(t)
  const made = SqliteFile.open(how(file))
  assert.throws(() => made.query({ sql: 'nonsense' }))
  made.close()
  assert.equal(fs.existsSync(nameSuspicion(file)), false)
})

test('a copy holds everything that was committed, is for its owner only and may be made again', async (t) => {
  const file = fileOf(t)
  const copy = `${file}.copy`
  const made = SqliteFile.open(how(file))
  for (const k of [1, 2]) {
    made.commit([insert(k)])
    assert.equal(await made.copyTo(copy), fs.statSync(copy).size)
  }
  made.close()
  assert.equal(fs.statSync(copy).mode & 0o777, 0o600)
  const read = SqliteFile.open(how(copy))
  assert.deepEqual(keys(read), [1, 2])
  read.close()
})

test('a file is read in pieces, to its end', async (t) => {
  const file = fileOf(t)
  const bytes = Buffer.alloc(600 * 1024, 'abc')
  fs.writeFileSync(file, bytes)
  const fd = fs.openSync(file, 'r')
  const pieces: Buffer[] = []
  for await (const piece of readChunks(fd)) pieces.push(Buffer.from(piece))
  fs.closeSync(fd)
  assert.equal(pieces.length, 3)
  assert.ok(Buffer.concat(pieces).equals(bytes))
})

test('what counts as damage, and what as a disk that does not give its bytes back', () => {
  const of = (code: string | undefined): [boolean, boolean] => [isDamage({ code }), isUnreadable({ code })]
  assert.deepEqual(
    [
      'SQLITE_CORRUPT',
      'SQLITE_CORRUPT_INDEX',
      'SQLITE_NOTADB',
      'EIO',
      'SQLITE_IOERR_READ',
      'SQLITE_FULL',
      undefined,
    ].map(of),
    [
      [true, true],
      [true, true],
      [true, true],
      [false, true],
      [false, true],
      [false, false],
      [false, false],
    ],
  )
})

test('a file that is not there has no size', (t) => {
  const file = fileOf(t)
  assert.equal(readSize(file), 0)
  fs.writeFileSync(file, 'abc')
  assert.equal(readSize(file), 3)
})

function captured(fn: () => unknown): unknown {
  try {
    fn()
  } catch (thrown) {
    return thrown
  }
  return undefined
}
