import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { tidyDamaged } from '../../../../core/os/files/damaged-files.ts'
import { temporaryFolder } from '../../../helpers/temporary-folder.ts'

const NO_LIMIT = { maxFiles: 100, maxBytes: 1e9 }
const make = (file: string, ...stamps: (number | string)[]): void => {
  for (const stamp of stamps)
    for (const suffix of ['', '-wal']) fs.writeFileSync(`${file}.damaged-${stamp}${suffix}`, Buffer.alloc(50))
}
const left = (file: string): string[] => fs.readdirSync(path.dirname(file)).sort()

test('the newest are kept, with their logs, by number and by bytes; other files are not touched', (t) => {
  const file = path.join(temporaryFolder(t), 'a.db')
  make(file, 1, 2, 3, '3-2', 4)
  for (const name of [file, `${file}-wal`, `${file}x.damaged-1`]) fs.writeFileSync(name, 'x')
  assert.deepEqual(tidyDamaged(file, NO_LIMIT, undefined), { files: 5, bytes: 500, removed: 0 })
  assert.deepEqual(tidyDamaged(file, { maxFiles: 4, maxBytes: 1e9 }, undefined), { files: 4, bytes: 400, removed: 1 })
  assert.deepEqual(tidyDamaged(file, { maxFiles: 4, maxBytes: 299 }, undefined), { files: 2, bytes: 200, removed: 2 })
  assert.deepEqual(left(file), [
    'a.db',
    'a.db-wal',
    'a.db.damaged-3-2',
    'a.db.damaged-3-2-wal',
    'a.db.damaged-4',
    'a.db.damaged-4-wal',
    'a.dbx.damaged-1',
  ])
})

test('what was set aside now stays, whatever its size, also when the clock has gone back', (t) => {
  const file = path.join(temporaryFolder(t), 'a.db')
  make(file, 1, 8, 9)
  assert.deepEqual(tidyDamaged(file, { maxFiles: 2, maxBytes: 10 }, `${file}.damaged-1`), {
    files: 1,
    bytes: 100,
    removed: 2,
  })
  assert.deepEqual(left(file), ['a.db.damaged-1', 'a.db.damaged-1-wal'])
})

test('a folder that cannot be read keeps nobody from opening the file', (t) => {
  const file = path.join(temporaryFolder(t), 'gone', 'a.db')
  assert.deepEqual(tidyDamaged(file, NO_LIMIT, undefined), { files: 0, bytes: 0, removed: 0 })
})
