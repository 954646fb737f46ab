import { test } from 'node:test'
import assert from 'node:assert/strict'
import { EnrollmentStore } from '../../../../control-sync/fleet/device/enrollment-store.ts'
import { systemDisk } from '../../../../core/os/disk.ts'
import { temporaryFolder } from '../../../helpers/temporary-folder.ts'

test('a disk that cannot be read is not one that says nothing: the chain does not begin anew', (t) => {
  const stateFolder = temporaryFolder(t)
  const read = { fails: false }
  const disk = {
    ...systemDisk,
    read: (file: string) => {
      if (read.fails) throw Object.assign(new Error('EIO'), { code: 'EIO' })
      return systemDisk.read(file)
    },
  }
  const store = new EnrollmentStore({ disk, stateFolder })
  assert.equal(store.load().counter, 0, 'none has been written')
  store.answered({ counter: 3, chain: 'c' })
  read.fails = true
  assert.throws(() => store.load(), { code: 'MESH_STATE_UNUSABLE' })
  assert.throws(() => store.begin(), { code: 'MESH_STATE_UNUSABLE' })
  read.fails = false
  assert.deepEqual([store.load().counter, store.begin().chain], [3, 'c'])
})
