/** Small whole files: what is no file is told, and never waited for. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { systemDisk } from '../../../core/os/disk.ts'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'

test('a pipe that nobody writes to, a device without end and a folder are told, and a file is read', (t) => {
  const folder = temporaryFolder(t)
  const pipe = path.join(folder, 'pipe')
  execFileSync('mkfifo', [pipe])
  // A writer in case that it is read all the same: the test then fails instead of waiting.
  const writer = fs.openSync(pipe, fs.constants.O_RDWR)
  fs.writeSync(writer, 'x')
  fs.symlinkSync(pipe, path.join(folder, 'link'))
  for (const file of [pipe, path.join(folder, 'link'), '/dev/zero'])
    assert.throws(() => systemDisk.read(file), /is a pipe or a device, no file/)
  fs.closeSync(writer)
  assert.throws(() => systemDisk.read(folder), { code: 'EISDIR' })
  assert.equal(systemDisk.read(path.join(folder, 'none')), undefined)
  fs.writeFileSync(path.join(folder, 'file'), 'x')
  assert.equal(systemDisk.read(path.join(folder, 'file'))?.toString(), 'x')
})

test('a trial of writing leaves nothing, also where an earlier one was cut off, and tells what the system says', (t) => {
  const folder = temporaryFolder(t)
  fs.writeFileSync(path.join(folder, '.writable'), '')
  systemDisk.tryWriting(folder)
  assert.deepEqual(fs.readdirSync(folder), [])
  assert.throws(() => systemDisk.tryWriting(path.join(folder, 'none')), { code: 'ENOENT' })
})

test('of damaged files that are set aside the newest three are kept, whatever their stamps', (t) => {
  const folder = temporaryFolder(t)
  const file = path.join(folder, 'identity.json')
  for (const stamp of ['5', '6', '7', '8', '1']) {
    fs.writeFileSync(file, stamp)
    assert.equal(systemDisk.setAside(file, stamp), `${file}.damaged-${stamp}`)
  }
  fs.writeFileSync(path.join(folder, 'other.damaged-1'), '')
  assert.deepEqual(fs.readdirSync(folder).sort(), [
    'identity.json.damaged-1',
    'identity.json.damaged-7',
    'identity.json.damaged-8',
    'other.damaged-1',
  ])
})
