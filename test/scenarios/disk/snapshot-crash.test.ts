/**
 * A process that is killed between any two system calls while it saves, copies, restores or seals the stored
 * configuration: the next one always starts, with a whole snapshot.
 */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { silentLog } from '../../../core/log.ts'
import { Metrics } from '../../../core/metrics.ts'
import { openStorageWith } from '../../../core/storage/worker-storage.ts'
import { openSnapshotStore } from '../../../control-sync/snapshot/store.ts'
import { CrashImages, hasCompiler } from '../../helpers/disk/crash-images.ts'
import { KEY, savedAs } from './snapshot-crash-child.ts'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'

const openStorage = openStorageWith({ bundle: undefined })
type Look = {
  readonly generation: number
  readonly told: string | undefined
  readonly promised: number
  readonly names: readonly string[]
}

async function storeIn(folder: string, sealed: boolean): ReturnType<typeof openSnapshotStore> {
  return await openSnapshotStore({
    openStorage,
    path: path.join(folder, 'snapshot.db'),
    node: 'n',
    sealer: sealed ? KEY : undefined,
    log: silentLog,
    metrics: new Metrics(),
  })
}
/** Starts from a picture, and goes on as if nothing had been. */
async function look(image: string, sealed: boolean): Promise<Look> {
  const promised = fs.existsSync(path.join(image, 'notes'))
    ? Number(fs.readFileSync(path.join(image, 'notes'), 'utf8').trim().split(/\s/).at(-1))
    : 0
  const { store, stored } = await storeIn(image, sealed)
  await using _store = store
  const generation = stored?.generation ?? 0
  const values = [...(stored?.snapshot.resources.cluster.values() ?? [])].map(
    ({ value }) => Buffer.from(value).toString().split(' ')[0],
  )
  assert.deepEqual(
    values,
    generation === 0 ? [] : Array.from({ length: 12 }, () => String(generation)),
    `${image}: a mix`,
  )
  assert.deepEqual([stored?.damaged ?? [], stored?.snapshot.savedAtMs ?? 0], [[], generation * 1_000], image)
  const names = fs
    .readdirSync(image)
    .filter((name) => !name.includes('.damaged-') && fs.readFileSync(path.join(image, name)).includes('a-secret-name'))
  await store.save(savedAs(generation + 1))
  await store.copy(0)
  assert.deepEqual(
    [store.damage.length > 1, fs.readdirSync(image).filter((name) => name.endsWith('.new'))],
    [false, []],
    image,
  )
  return { generation, told: store.damage[0]?.message, promised, names }
}

async function prepared(t: TestContext, generations: number): Promise<{ folder: string; crashes: CrashImages }> {
  const base = temporaryFolder(t)
  const folder = path.join(base, 'state')
  fs.mkdirSync(folder)
  for (let generation = 1; generation <= generations; generation++) {
    const { store } = await storeIn(folder, false)
    await store.save(savedAs(generation))
    if (generation === 1) await store.copy(0)
    await store[Symbol.asyncDispose]()
  }
  return { folder, crashes: new CrashImages(base) }
}
const CHILD = path.join(import.meta.dirname, 'snapshot-crash-child.ts')
const really = hasCompiler ? {} : { skip: 'needs cc' }

test('a first start, saves and copies: what was promised is there, or one more (needs cc)', really, async (t) => {
  const { folder, crashes } = await prepared(t, 0)
  const images = crashes.of(CHILD, folder, ['plain'])
  assert.ok(images.length > 50, `${images.length} pictures`)
  for (const image of images) {
    const { generation, told, promised } = await look(image, false)
    assert.ok(generation === promised || generation === promised + 1, `${image}: ${generation} after ${promised}`)
    assert.equal(told, undefined, image)
  }
})
test('saves and copies over what is there: what was promised is there, or one more (needs cc)', really, async (t) => {
  const { folder, crashes } = await prepared(t, 2)
  for (const image of crashes.of(CHILD, folder, ['plain'])) {
    const { generation, told, promised } = await look(image, false)
    assert.ok([Math.max(2, promised), promised + 1].includes(generation), `${image}: ${generation} after ${promised}`)
    assert.equal(told, undefined, image)
  }
})
test(
  'a restore from the copy: the copy, told until it has taken its place, then what was promised, or one more (needs cc)',
  really,
  async (t) => {
    const { folder, crashes } = await prepared(t, 2)
    const file = path.join(folder, 'snapshot.db')
    fs.writeFileSync(file, fs.readFileSync(file).fill(0, 4096))
    const seen = new Set<string>()
    for (const image of crashes.of(CHILD, folder, ['plain'])) {
      const hasFile = fs.existsSync(path.join(image, 'snapshot.db'))
      const isDamaged =
        hasFile &&
        fs
          .readFileSync(path.join(image, 'snapshot.db'))
          .subarray(4096)
          .every((byte) => byte === 0)
      const { generation, told, promised } = await look(image, false)
      assert.ok([Math.max(1, promised), promised + 1].includes(generation), `${image}: ${generation} after ${promised}`)
      assert.equal(told !== undefined, !hasFile || isDamaged, image)
      if (told !== undefined)
        assert.match(told, /^what serves is a copy of the configuration, last changed 1970-01-01T00:00:01.000Z/)
      seen.add(told?.split(': ').at(-1)?.replace(/\/\S+/g, '') ?? 'not told')
    }
    assert.equal(seen.size, 3, [...seen].join(', '))
  },
)
test(
  'sealing what was plain, in file and copy: nothing is lost, and the start after has left nothing in clear (needs cc)',
  really,
  async (t) => {
    const { folder, crashes } = await prepared(t, 2)
    const images = crashes.of(CHILD, folder, ['sealed'])
    for (const image of images) {
      const { generation, told, promised, names } = await look(image, true)
      assert.ok([Math.max(2, promised), promised + 1].includes(generation), `${image}: ${generation} after ${promised}`)
      assert.deepEqual([told, names], [undefined, []], image)
    }
    t.diagnostic(`${images.length} pictures`)
  },
)
