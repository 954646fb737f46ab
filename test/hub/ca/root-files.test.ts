import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { MeshError, type ErrorCode } from '../../../core/errors.ts'
import { systemDisk, type Disk } from '../../../core/os/disk.ts'
import { addRoot, removeOther, makeRoot, readRoots, ROTATION_FILE, signWithNext } from '../../../hub/ca/root-files.ts'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'

const NOW = Date.UTC(2026, 10, 1)
const made = (t: { after(fn: () => void): void }, disk: Disk = systemDisk) => ({
  folder: temporaryFolder(t),
  disk,
  trustDomain: 'demo.mesh',
  notBeforeMs: NOW,
  nowMs: NOW,
})
const throws = (work: () => unknown, code: ErrorCode): void =>
  assert.throws(work, (err) => err instanceof MeshError && err.code === code)

test('a second root is added, signs, and the first is dropped; files with keys are nobody else’s', (t) => {
  const p = made(t)
  assert.equal(readRoots(p), undefined)
  const first = makeRoot(p)
  const second = addRoot(p)
  assert.equal(fs.statSync(path.join(p.folder, ROTATION_FILE)).mode & 0o777, 0o600)
  const print = () => {
    const { signing, other } = readRoots(p)!
    return [signing.certificatePem, other?.root.certificatePem, other?.state, other?.sinceMs]
  }
  assert.deepEqual(print(), [first.certificatePem, second.certificatePem, 'added', NOW])
  signWithNext({ ...p, nowMs: NOW + 1 })
  assert.deepEqual(print(), [second.certificatePem, first.certificatePem, 'switched', NOW + 1])
  removeOther(p)
  assert.deepEqual(print(), [second.certificatePem, undefined, undefined, undefined])
})

test('a step that is not the next one is refused', (t) => {
  const p = made(t)
  makeRoot(p)
  throws(() => signWithNext(p), 'MESH_CONFIG_INVALID')
  throws(() => removeOther(p), 'MESH_CONFIG_INVALID')
  addRoot(p)
  throws(() => addRoot(p), 'MESH_CONFIG_INVALID')
  signWithNext(p)
  throws(() => signWithNext(p), 'MESH_CONFIG_INVALID')
})

test('a switch that is cut short at any write is finished by the next reader', (t) => {
  for (let writes = 0; ; writes++) {
    let left = Infinity
    const disk: Disk = {
      ...systemDisk,
      replace: (...args) => {
        if (left-- <= 0) throw new Error('EIO')
        systemDisk.replace(...args)
      },
    }
    const p = made(t, disk)
    const [first, second] = [makeRoot(p), addRoot(p)]
    left = writes
    let isDone = true
    try {
      signWithNext(p)
    } catch {
      isDone = false
    }
    left = Infinity
    const { signing, other } = readRoots(p)!
    // Before the first write nothing has happened.
    const expected = writes === 0 ? [first, second] : [second, first]
    assert.deepEqual(
      [signing.certificatePem, other!.root.certificatePem],
      expected.map((root) => root.certificatePem),
      `after ${writes} writes`,
    )
    if (isDone) {
      assert.equal(writes, 4)
      return
    }
  }
})

test('a rotation that cannot be read stops the start instead of forgetting a root', (t) => {
  const p = made(t)
  makeRoot(p)
  fs.writeFileSync(path.join(p.folder, ROTATION_FILE), '{"state":"added"}')
  throws(() => readRoots(p), 'MESH_CA_DAMAGED')
})
