/** What the mark and the log beside a file say about losses that SQLite does not see. */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import Database from 'better-sqlite3'
import { findLoss, mark, nameMark } from '../../../core/storage/sqlite-loss.ts'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'

const FRAME = 24 + 4096
const HEADER = 32

/** As a kill leaves it: eight commits in the log, behind the rest of an earlier and longer round. */
function killed(t: TestContext, marked = ''): { file: string; log: string; frames: number } {
  const made = path.join(temporaryFolder(t), 'made.db')
  const db = new Database(made)
  db.pragma('journal_mode = WAL')
  db.exec('CREATE TABLE t (x)')
  for (let i = 0; i < 30; i++) db.prepare('INSERT INTO t VALUES (?)').run('x'.repeat(3_000))
  db.pragma('wal_checkpoint(RESTART)')
  const first = db.prepare('INSERT INTO t VALUES (?)')
  for (let i = 0; i < 8; i++) first.run('y'.repeat(100))
  const file = path.join(path.dirname(made), 'file.db')
  for (const suffix of ['', '-wal']) fs.copyFileSync(made + suffix, file + suffix)
  mark(file, 'open', 'strict')
  if (marked !== '') fs.writeFileSync(nameMark(file), `open ${marked}\n`)
  db.close()
  const log = fs.readFileSync(`${file}-wal`)
  let frames = 0
  while (log.compare(log, HEADER + frames * FRAME + 8, HEADER + frames * FRAME + 16, 16, 24) === 0) frames++
  assert.ok(frames >= 8 && frames < 30, `${frames} frames`)
  return { file, log: `${file}-wal`, frames }
}
function change(log: string, at: number, bytes: Buffer | 'flip'): void {
  const data = fs.readFileSync(log)
  if (bytes === 'flip') data[at]! ^= 1
  else data.set(bytes, at)
  fs.writeFileSync(log, data)
}

test('what a kill leaves is no loss, nor is a file that nobody has marked', (t) => {
  const { file } = killed(t)
  assert.equal(findLoss(file, 'strict'), undefined)
  fs.rmSync(nameMark(file))
  fs.rmSync(file)
  assert.equal(findLoss(file, 'strict'), undefined)
})

test('a file or a log that is gone or empty', (t) => {
  for (const [suffix, loss] of [
    ['', 'file'],
    ['-wal', 'log'],
  ] as const)
    for (const how of ['gone', 'empty'] as const) {
      const { file } = killed(t)
      if (how === 'gone') fs.rmSync(file + suffix)
      else fs.truncateSync(file + suffix)
      assert.equal(findLoss(file, 'strict'), loss, `${suffix} ${how}`)
    }
  const { file, log } = killed(t)
  mark(file, 'closing', 'strict')
  assert.equal(findLoss(file, 'strict'), undefined)
  mark(file, 'closed', 'strict')
  fs.rmSync(log)
  assert.equal(findLoss(file, 'strict'), undefined, 'an orderly end leaves no log')
})

test('a flipped bit is seen wherever it is: in the header, in a salt, a checksum or a page, and in the last frame, too', (t) => {
  const { file, log, frames } = killed(t)
  const whole = fs.readFileSync(log)
  for (let frame = 0; frame < frames; frame++)
    for (const at of [0, 4, 8, 12, 16, 20, 24, 2_000, FRAME - 1]) {
      change(log, HEADER + frame * FRAME + at, 'flip')
      const seen = findLoss(file, 'strict')
      assert.equal(seen, frame === frames - 1 ? 'log end' : 'broken log', `frame ${frame}, byte ${at}`)
      fs.writeFileSync(log, whole)
    }
  for (const at of [0, 3, 5, 9, 13, 17, 21, 25, 31]) {
    change(log, at, 'flip')
    assert.equal(findLoss(file, 'strict'), 'broken log', `byte ${at} of the header`)
    fs.writeFileSync(log, whole)
  }
})

test('after a power cut the last transaction may be there in part, more may not', (t) => {
  const { file, log, frames } = killed(t, 'another-boot strict')
  const whole = fs.readFileSync(log)
  change(log, HEADER + (frames - 1) * FRAME + 500, Buffer.alloc(600))
  assert.equal(findLoss(file, 'strict'), 'log end')
  fs.writeFileSync(log, whole)
  change(log, HEADER + (frames - 3) * FRAME + 500, Buffer.alloc(600))
  assert.equal(findLoss(file, 'strict'), 'broken log')
})

test('after a power cut a hole in a log that is not synced is no damage; the mark says how it was written', (t) => {
  for (const [marked, profile, loss] of [
    ['another-boot balanced', 'strict', 'unsynced'],
    ['another-boot eco', 'strict', 'unsynced'],
    ['another-boot strict', 'balanced', 'broken log'],
    // Of an earlier version, which wrote no profile.
    ['another-boot', 'balanced', 'unsynced'],
    ['another-boot', 'strict', 'broken log'],
    // A kill tears one frame, whatever is synced.
    ['', 'balanced', 'broken log'],
  ] as const) {
    const { file, log, frames } = killed(t, marked)
    const whole = fs.readFileSync(log)
    change(log, HEADER + (frames - 4) * FRAME + 500, Buffer.alloc(600))
    assert.equal(findLoss(file, profile), loss, `${marked}, ${profile}`)
    fs.writeFileSync(log, whole)
    change(log, 24, 'flip')
    assert.equal(findLoss(file, profile), 'broken log', 'the header is synced before anything follows')
  }
})

test('a log that is cut within a frame', (t) => {
  const { file, log, frames } = killed(t)
  fs.truncateSync(log, HEADER + (frames - 4) * FRAME + 100)
  assert.equal(findLoss(file, 'strict'), 'log end')
})
