import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { Script } from 'node:vm'
import type { Worker } from 'node:worker_threads'
import { zstdCompressSync } from 'node:zlib'
import type { Bundle, BundlePart } from '../../../core/runtime/bundle.ts'
import { loadAddon } from '../../../core/storage/sqlite-addon.ts'
import { startWorker } from '../../../core/storage/thread-handle.ts'
import { openStorageWith } from '../../../core/storage/worker-storage.ts'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'

const NATIVE = path.resolve(
  import.meta.dirname,
  `../../../node_modules/better-sqlite3/prebuilds/linux-${process.arch}.node`,
)
const native = fs.readFileSync(NATIVE)
/** As in a bundle, behind something else. */
function encoded(t: TestContext, content: Uint8Array): BundlePart {
  const file = path.join(temporaryFolder(t), 'bundle')
  const text = zstdCompressSync(content).toString('base64')
  fs.writeFileSync(file, `before${text}after`)
  const fd = fs.openSync(file, 'r')
  t.after(() => {
    fs.closeSync(fd)
  })
  return { fd, from: 6, length: text.length }
}
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

/** What is mapped from a file that has no name any more. */
const namelessCode = (): boolean => /\/\.meshlet-\S+ \(deleted\)/.test(fs.readFileSync('/proc/self/maps', 'latin1'))

test('what lies beside the bundle is loaded from the descriptor that was looked at, whatever has taken the name since', (t) => {
  const file = path.join(temporaryFolder(t), 'a.node')
  fs.copyFileSync(NATIVE, file)
  const fd = fs.openSync(file, 'r')
  fs.renameSync(file, `${file}.old`)
  fs.writeFileSync(file, 'other code')
  const loaded = loadAddon({ sha256: sha256(native), fd, encoded: encoded(t, Buffer.from('not looked at')) })
  assert.equal(loaded.fd, fd)
  assert.ok('Database' in loaded.binding)
})
test('without it, and with that of another version, it is unpacked into a file without a name', (t) => {
  const other = path.join(temporaryFolder(t), 'other.node')
  fs.writeFileSync(other, 'code of another version')
  const fd = fs.openSync(other, 'r')
  t.after(() => {
    fs.closeSync(fd)
  })
  for (const beside of [undefined, fd]) {
    const loaded = loadAddon({ sha256: sha256(native), fd: beside, encoded: encoded(t, native) })
    assert.ok('Database' in loaded.binding)
    assert.notEqual(loaded.fd, fd)
    assert.match(fs.readlinkSync(`/proc/self/fd/${loaded.fd}`), / \(deleted\)$/)
    assert.equal(fs.fstatSync(loaded.fd).nlink, 0)
    assert.equal(fs.fstatSync(loaded.fd).mode & 0o777, 0o600)
  }
  assert.ok(namelessCode())
  assert.deepEqual(
    fs.readdirSync(os.tmpdir()).filter((name) => name.startsWith(`.meshlet-${process.pid}-`)),
    [],
  )
})
for (const [what, bytes] of [
  ['cut', native.subarray(0, 1000)],
  ['another', Buffer.from('other code')],
] as const) {
  test(`an addon of the bundle that is ${what} is not loaded`, (t) => {
    assert.throws(() => loadAddon({ sha256: sha256(native), fd: undefined, encoded: encoded(t, bytes) }), {
      code: 'MESH_STORAGE_FAILED',
      message: /the bundle is damaged/,
    })
  })
}
test('the storage thread has it before the first file is opened, leaves no code in the state folder, and a second thread does without the bundle', async (t) => {
  const started: Worker[] = []
  const note = (worker: Worker): void => {
    started.push(worker)
  }
  process.on('worker', note)
  t.after(() => {
    process.off('worker', note)
  })
  const state = temporaryFolder(t)
  const bundle: Bundle = {
    version: '0',
    builtAt: '',
    file: '',
    addonSha256: sha256(native),
    script: new Script(''),
    programSha256: '',
    addonBeside: undefined,
    page: undefined,
    encodedAddon: encoded(t, native),
    thread: `import(${JSON.stringify(new URL('../../../core/storage/thread.ts', import.meta.url))})`,
  }
  const openStorage = openStorageWith({ bundle, worker: startWorker(bundle) })
  const options = { path: path.join(state, 'a.db'), profile: 'strict', migrations: ['CREATE TABLE t (k)'] } as const
  await using storage = (await openStorage(options)).storage
  await storage.commit([{ sql: 'INSERT INTO t VALUES (1)' }])
  assert.deepEqual(
    fs.readdirSync(state).filter((name) => !name.startsWith('a.db')),
    [],
  )
  fs.writeFileSync(`/proc/self/fd/${bundle.encodedAddon.fd}`, 'another bundle')
  await started[0]!.terminate()
  assert.equal((await storage.query({ sql: 'SELECT k FROM t' })).length, 1)
  assert.equal(started.length, 2)
})
test('a damaged bundle is told to whoever opens a file', async (t) => {
  const bundle: Bundle = {
    version: '0',
    builtAt: '',
    file: '',
    addonSha256: sha256(native),
    script: new Script(''),
    programSha256: '',
    addonBeside: undefined,
    page: undefined,
    encodedAddon: encoded(t, Buffer.from('other code')),
    thread: `import(${JSON.stringify(new URL('../../../core/storage/thread.ts', import.meta.url))})`,
  }
  const worker = startWorker(bundle)
  await once(worker, 'online')
  await assert.rejects(
    openStorageWith({ bundle, worker })({
      path: path.join(temporaryFolder(t), 'a.db'),
      profile: 'strict',
      migrations: [],
    }),
    { code: 'MESH_STORAGE_FAILED', message: /the bundle is damaged/ },
  )
})
