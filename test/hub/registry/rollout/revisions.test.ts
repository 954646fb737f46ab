import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { MeshError } from '../../../../core/errors.ts'
import { KEPT_REVISIONS, type Revisions } from '../../../../hub/registry/rollout/revisions.ts'
import type { FolderRevision, RevisionFile } from '../../../../hub/source/folder.ts'
import { testRegistry } from '../on-stores.ts'

const invalid = (err: unknown): boolean => err instanceof MeshError && err.code === 'MESH_CONFIG_INVALID'
const textOf = (path: string, content: string): string => `# ${path}\n${content}\n`

/** Each file has as many resources as its content has letters. */
function makeRevision(id: string, files: Readonly<Record<string, string>>): FolderRevision {
  return {
    id,
    files: Object.entries(files).map(([path, content]) => ({
      path,
      hash: createHash('sha256').update(textOf(path, content)).digest('hex'),
      content: {
        resources: Array.from(content, (letter, i) => ({
          kind: 'cluster' as const,
          name: `${letter}${i}`,
          value: Buffer.from(letter.repeat(50)),
          file: path,
          line: i + 1,
        })),
        problems: [],
        blocked: [],
      },
    })),
  }
}
async function add(revisions: Revisions, id: string, files: Readonly<Record<string, string>>, nowMs = 1) {
  const readSource = async ({ path }: RevisionFile): Promise<Buffer> => Buffer.from(textOf(path, files[path]!))
  return await revisions.add({ revision: makeRevision(id, files), nowMs, readSource })
}

testRegistry('what is added comes back as it was: resources, sources, counts', async (registry) => {
  const { revisions } = registry
  const files = { 'a.yaml': 'x'.repeat(1_200), '@site=north/b.yaml': 'yz', 'gw-1/c.yaml': '' }
  assert.equal(await add(revisions, 'aaaa1111', files), true)
  assert.equal(await add(revisions, 'aaaa1111', files), false, 'once')
  const loaded = await revisions.load('aaaa1111')
  assert.deepEqual(
    loaded.files.map(({ path, content }) => [path, content.resources.length]),
    [
      ['a.yaml', 1_200],
      ['@site=north/b.yaml', 2],
      ['gw-1/c.yaml', 0],
    ],
  )
  const { resources } = loaded.files[1]!.content
  assert.deepEqual(
    resources.map(({ name, line, file, value }) => [name, line, file, Buffer.from(value).toString()]),
    [
      ['y0', 1, '@site=north/b.yaml', 'y'.repeat(50)],
      ['z1', 2, '@site=north/b.yaml', 'z'.repeat(50)],
    ],
  )
  const [row] = await revisions.list()
  assert.deepEqual([row!.files, row!.resources, row!.takenMs], [3, 1_202, 1])
  const [first] = await revisions.manifest('aaaa1111')
  assert.equal((await revisions.source(first!.source)).toString(), textOf('a.yaml', files['a.yaml']))
})

testRegistry('a revision is found by how its id begins, if that is enough', async (registry) => {
  const { revisions } = registry
  await add(revisions, 'aaaa1111', { 'a.yaml': 'a' })
  await add(revisions, 'aaaa2222', { 'a.yaml': 'b' })
  assert.equal((await revisions.find('aaaa2')).id, 'aaaa2222')
  for (const text of ['aaaa', 'bbbb', 'aaa', '', "' OR 1=1 --"]) await assert.rejects(revisions.find(text), invalid)
  await assert.rejects(revisions.manifest('cccc'), invalid)
})

testRegistry(
  'the last fifty are kept, and those that are used; what only the others had goes with them',
  async (registry) => {
    const { revisions } = registry
    for (let i = 0; i < KEPT_REVISIONS + 10; i++)
      await add(
        revisions,
        `id${i}`,
        { 'same.yaml': 's', 'own.yaml': String.fromCodePoint(0x61 + (i % 26)).repeat(i + 1) },
        i,
      )
    const first = await revisions.manifest('id0')
    assert.equal(await revisions.prune(new Set(['id3'])), 9)
    const left = (await revisions.list()).map(({ id }) => id)
    assert.equal(left.length, KEPT_REVISIONS + 1)
    assert.ok(left.includes('id3') && !left.includes('id0'))
    for (const id of left) assert.equal((await revisions.load(id)).files.length, 2)
    const own = first.find(({ path }) => path === 'own.yaml')!
    await assert.rejects(revisions.source(own.source), /a part of a revision is missing/)
    assert.equal(await revisions.prune(new Set(['id3'])), 0)
  },
)

testRegistry('one whose source is not what was read is not there at all', async (registry) => {
  const { revisions } = registry
  const readSource = async (): Promise<Buffer> => {
    throw new MeshError('MESH_CONFIG_INVALID', 'a.yaml has changed while it was taken')
  }
  await assert.rejects(revisions.add({ revision: makeRevision('dddd', { 'a.yaml': 'a' }), nowMs: 1, readSource }))
  assert.deepEqual(await revisions.list(), [])
})
