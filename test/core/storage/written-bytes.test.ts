import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { WrittenBytes } from '../../../core/storage/written-bytes.ts'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'

test('the number that the kernel gives, each time anew', (t) => {
  const file = path.join(temporaryFolder(t), 'io')
  const write = (bytes: string): void =>
    fs.writeFileSync(file, `rchar: 1\nwchar: 2\nwrite_bytes: ${bytes}\ncancelled_write_bytes: 7\n`)
  write('4096')
  const written = new WrittenBytes(file)
  assert.equal(written.read(), 4_096)
  write('123456789012')
  assert.equal(written.read(), 123_456_789_012)
})
test('a kernel that does not count is no error', (t) => {
  assert.equal(new WrittenBytes(path.join(temporaryFolder(t), 'none')).read(), undefined)
  const other = path.join(temporaryFolder(t), 'io')
  fs.writeFileSync(other, 'rchar: 1\n')
  assert.equal(new WrittenBytes(other).read(), undefined)
})
