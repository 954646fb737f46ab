import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { SqliteFile, type OpenFile } from '../../../core/storage/sqlite-file.ts'
import { openSqlite } from '../../../core/storage/sqlite-open.ts'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'
import { ALL, how as anyFile, insert } from './rig.ts'

const STAMP = 's'
const how = (file: string, over: Partial<OpenFile> = {}): OpenFile =>
  anyFile(file, { stamp: STAMP, tellsLoss: true, ...over })

/** As after a kill, which leaves the log; then the file itself is lost. */
function leaveLogAlone(t: TestContext): string {
  const folder = temporaryFolder(t)
  const [used, file] = [path.join(folder, 'used.db'), path.join(folder, 'a.db')]
  const before = SqliteFile.open(how(used))
  before.commit([insert(1, new Uint8Array(10))])
  for (const suffix of ['-wal', '.used']) fs.copyFileSync(used + suffix, file + suffix)
  before.close()
  return file
}

test('a log without its file is set aside for whoever can salvage from it', async (t) => {
  const file = leaveLogAlone(t)
  const { opened, source, setAside, lost } = await openSqlite(how(file))
  t.after(() => opened.close())
  assert.deepEqual([source, setAside, lost], ['nothing', `${file}.damaged-${STAMP}`, 'file'])
  assert.ok(fs.existsSync(`${setAside}-wal`))
  assert.deepEqual(opened.query(ALL), [])
})

test('a log without its file is no damaged file where a copy takes its place', async (t) => {
  const file = leaveLogAlone(t)
  const previous = `${file}.previous`
  const copy = SqliteFile.open(how(previous))
  copy.commit([insert(7, new Uint8Array(10))])
  copy.close()
  const { opened, source, setAside } = await openSqlite(how(file, { previous }))
  t.after(() => opened.close())
  assert.deepEqual([source, setAside], ['previous', undefined])
  assert.deepEqual(
    opened.query(ALL).map((row) => row['k']),
    [7],
  )
})
