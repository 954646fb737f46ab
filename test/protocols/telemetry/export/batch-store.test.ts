/** What collectors do not take lies on disk: over an outage, over a restart, within bounds. */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { MeshError } from '../../../../core/errors.ts'
import type { OpenStorage, Storage } from '../../../../core/storage/storage.ts'
import { FaultyStorage } from '../../../helpers/disk/faulty-storage.ts'
import { temporaryFolder } from '../../../helpers/temporary-folder.ts'
import { MIN_FREE_BYTES } from '../../../../protocols/telemetry/export/batch-store.ts'
import { BUSY, Rig, TAKEN } from './collectors.ts'

type Disk = { readonly file: string; readonly storage: FaultyStorage; freeBytes: number; maxBytes: number }
function diskOf(t: TestContext): Disk {
  const file = path.join(temporaryFolder(t), 'telemetry.db')
  return { file, storage: new FaultyStorage(file), freeBytes: 1e12, maxBytes: 1e6 }
}
function rigOn(disk: Disk): Rig {
  const { file, storage, maxBytes } = disk
  const freeBytes = (): number => disk.freeBytes
  return new Rig({ openStorage: storage.open, path: file, hasFile: fs.existsSync(file), maxBytes, freeBytes })
}
/** Until the storage has nothing to do. */
async function passed(r: Rig, disk: Disk, ms: number): Promise<void> {
  await r.pass(ms)
  do await new Promise((resolve) => setTimeout(resolve, 5))
  while (disk.storage.busy > 0)
  await r.pass(0)
}
const stored = (r: Rig): number => r.metrics.total('mesh_telemetry_stored_bytes')

test('an outage and a restart lose nothing; the file is private', async (t) => {
  const disk = diskOf(t)
  const first = rigOn(disk)
  first.answer = () => BUSY
  first.send('a', 'b')
  await passed(first, disk, 5_000)
  assert.ok(stored(first) > 0)
  assert.equal(fs.statSync(disk.file).mode & 0o077, 0)
  first.send('c')
  await first.exporter[Symbol.asyncDispose]()

  const second = rigOn(disk)
  await passed(second, disk, 0)
  second.send('d')
  await passed(second, disk, 5_000)
  await passed(second, disk, 5_000)
  assert.deepEqual(
    second.posts.map((_, i) => second.names(i)),
    [['a', 'b'], ['c'], ['d']],
  )
  assert.deepEqual([second.sent, stored(second)], [4, 0])
  await second.exporter[Symbol.asyncDispose]()
})

test('while it lasts, full requests go to disk and not into memory', async (t) => {
  const disk = diskOf(t)
  const r = rigOn(disk)
  r.answer = () => BUSY
  r.send('first')
  await passed(r, disk, 5_000)
  for (let round = 0; round < 12; round++) {
    r.send(...Array.from({ length: 256 }, (_, i) => i))
    await passed(r, disk, 0)
  }
  assert.equal(r.dropped('full') + r.dropped('disk'), 0)
  r.answer = () => TAKEN
  await passed(r, disk, 60_000)
  await passed(r, disk, 60_000)
  assert.equal(r.sent, 1 + 12 * 256)
  await r.exporter[Symbol.asyncDispose]()
})

test('the oldest make room, and are counted', async (t) => {
  const disk = diskOf(t)
  const bytes = 256 * 4 + 1
  disk.maxBytes = 3 * bytes
  const r = rigOn(disk)
  r.answer = () => BUSY
  for (let round = 0; round < 6; round++) {
    r.send(...Array.from({ length: 256 }, () => round))
    await passed(r, disk, 0)
  }
  assert.deepEqual([stored(r), r.dropped('disk')], [3 * bytes, 3 * 256])
  const before = r.posts.length
  r.answer = () => TAKEN
  await passed(r, disk, 60_000)
  assert.deepEqual([r.names(before)[0], r.sent], ['3', 3 * 256])
  await r.exporter[Symbol.asyncDispose]()
})

for (const [what, damage] of [
  ['the disk is full', (disk: Disk) => void (disk.freeBytes = MIN_FREE_BYTES - 1)],
  [
    'commits fail',
    (disk: Disk) => void (disk.storage.faults = Array(9).fill({ when: 'before', code: 'MESH_STORAGE_FULL' })),
  ],
] as const)
  test(`${what}: what waits stays in memory`, async (t) => {
    const disk = diskOf(t)
    damage(disk)
    const r = rigOn(disk)
    r.answer = () => BUSY
    r.send('a')
    await passed(r, disk, 5_000)
    assert.deepEqual([stored(r), r.dropped('disk')], [0, 0])
    r.answer = () => TAKEN
    await passed(r, disk, 60_000)
    assert.deepEqual([r.names(1), r.sent], [['a'], 1])
    await r.exporter[Symbol.asyncDispose]()
  })

test('a file that is no database is set aside, and what comes is kept', async (t) => {
  const disk = diskOf(t)
  fs.writeFileSync(disk.file, 'x'.repeat(5_000))
  const r = rigOn(disk)
  r.answer = () => BUSY
  r.send('a')
  await passed(r, disk, 5_000)
  assert.ok(stored(r) > 0)
  await r.exporter[Symbol.asyncDispose]()
})

test('what the disk does not give back is counted once, and does not come back after a restart', async (t) => {
  const disk = diskOf(t)
  const openStorage: OpenStorage = async (options) => {
    const opened = await disk.storage.open(options)
    const { storage } = opened
    const query: Storage['query'] = async (asked) => {
      if (asked.sql.startsWith('SELECT body')) throw new MeshError('MESH_STORAGE_DAMAGED', 'a page is damaged')
      return storage.query(asked)
    }
    const commit: Storage['commit'] = (statements) => storage.commit(statements)
    return {
      ...opened,
      storage: { query, commit, [Symbol.asyncDispose]: () => storage[Symbol.asyncDispose]() } as Storage,
    }
  }
  const freeBytes = (): number => disk.freeBytes
  const r = new Rig({ openStorage, path: disk.file, hasFile: false, maxBytes: disk.maxBytes, freeBytes })
  r.answer = () => BUSY
  r.send('a')
  await passed(r, disk, 5_000)
  assert.ok(stored(r) > 0)
  await passed(r, disk, 60_000)
  assert.deepEqual([stored(r), r.dropped('disk')], [0, 1])
  await r.exporter[Symbol.asyncDispose]()
  const second = rigOn(disk)
  await passed(second, disk, 0)
  assert.equal(stored(second), 0)
  await second.exporter[Symbol.asyncDispose]()
})
