/** Copies and restores that are stopped between any two system calls, by a kill or a power cut. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { replaceAtomically } from '../../../core/os/atomic-write.ts'
import { clearWay } from '../../../core/storage/sqlite-open.ts'
import { CrashFs, Stopped } from '../../helpers/disk/crash-disk.ts'

const FILE = '/state/a.db'
const [OLD, NEW] = [Buffer.from('old '.repeat(10)), Buffer.from('new '.repeat(20))]
async function* parts(bytes: Buffer): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 30) yield bytes.subarray(at, at + 30)
}
function made(files: Readonly<Record<string, Buffer>>): CrashFs {
  const fs = new CrashFs()
  fs.disk.makeFolder('/state', 0o700)
  for (const [name, bytes] of Object.entries(files)) fs.disk.replace(name, bytes, 0o600)
  return fs
}
/** Every state that a stop somewhere in `work` may leave behind. */
async function* crashes(
  files: Readonly<Record<string, Buffer>>,
  work: (fs: CrashFs) => Promise<unknown>,
): AsyncGenerator<{ fs: CrashFs; how: string; done: boolean }> {
  for (let calls = 0; ; calls++) {
    const fs = made(files)
    fs.stopAfter(calls)
    try {
      await work(fs)
    } catch (err) {
      if (!(err instanceof Stopped)) throw err
    }
    const done = !fs.stopped
    yield { fs: fs.killed(), how: `killed after ${calls} calls`, done }
    for (const [i, cut] of fs.powerCuts().entries()) yield { fs: cut, how: `power cut ${i} after ${calls} calls`, done }
    if (done) return
  }
}
const at = (fs: CrashFs, name: string): string | undefined => fs.disk.read(name)?.toString()

test('a file that is replaced is the old one or the whole new one, and the new one once it was said to be there; what is left over is no obstacle', async () => {
  const seen = new Set<string | undefined>()
  for await (const { fs, how, done } of crashes({ [FILE]: OLD }, (fs) =>
    replaceAtomically(FILE, parts(NEW), 0o600, fs.slow),
  )) {
    const found = at(fs, FILE)
    seen.add(found)
    assert.ok(found === NEW.toString() || (found === OLD.toString() && !done), how)
    assert.equal(await replaceAtomically(FILE, parts(NEW), 0o600, fs.slow), NEW.length)
    assert.deepEqual([at(fs, FILE), fs.modeOf(FILE), fs.modeOf(`${FILE}.new`)], [NEW.toString(), 0o600, undefined], how)
  }
  assert.equal(seen.size, 2, 'both were met')
})

test('what comes back from a copy never meets the log of the file that was there; that file is kept', async () => {
  const before = { [FILE]: OLD, [`${FILE}-wal`]: Buffer.from('log'), '/state/copy.db': NEW }
  let restored = 0
  for await (const { fs, how, done } of crashes(before, async (fs) => {
    await clearWay(FILE, '1', fs.slow)
    await replaceAtomically(FILE, parts(NEW), 0o600, fs.slow)
  })) {
    const found = at(fs, FILE)
    assert.equal(at(fs, '/state/copy.db'), NEW.toString(), how)
    if (found === NEW.toString()) {
      restored++
      assert.equal(at(fs, `${FILE}-wal`), undefined, `${how}: it would be applied`)
    } else assert.ok(!done && (found === undefined || found === OLD.toString()), how)
    const kept = [FILE, `${FILE}.damaged-1`].map((name) => at(fs, name))
    assert.ok(kept.includes(OLD.toString()), `${how}: what was damaged is somewhere`)
  }
  assert.ok(restored > 1)
})

test('what is set aside again in the same millisecond takes the place of nothing', async () => {
  const fs = made({ [FILE]: OLD })
  assert.equal(await clearWay(FILE, '1', fs.slow), `${FILE}.damaged-1`)
  assert.equal(await clearWay(FILE, '1', fs.slow), undefined)
  fs.disk.replace(FILE, NEW, 0o600)
  assert.equal(await clearWay(FILE, '1', fs.slow), `${FILE}.damaged-1-2`)
  assert.equal(at(fs, `${FILE}.damaged-1`), OLD.toString())
})

test('a disk that fails leaves nothing beside', async () => {
  const fs = made({ [FILE]: OLD })
  async function* broken(): AsyncGenerator<Uint8Array> {
    yield NEW
    throw new Error('EIO')
  }
  await assert.rejects(replaceAtomically(FILE, broken(), 0o600, fs.slow), /EIO/)
  assert.deepEqual(
    fs.list().filter((n) => n.startsWith(FILE)),
    [FILE],
  )
})
