import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { MeshError } from '../../../core/errors.ts'
import { ResourcesFolder, type FolderFound } from '../../../hub/source/folder.ts'
import { SimClock } from '../../helpers/sim-clock.ts'
import { BILLS, object, ORDERS } from '../istio/cases/case.ts'
import { makeCluster, makeRoutes } from './resource-files.ts'

type Finally = { after(fn: () => void): void }

function makeFolder(t: Finally) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'hub-folder-'))
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }))
  const clock = new SimClock()
  const found: FolderFound[] = []
  const write = (name: string, text: string): void => {
    fs.mkdirSync(path.dirname(path.join(folder, name)), { recursive: true })
    fs.writeFileSync(path.join(folder, name), text)
  }
  const open = async (): Promise<void> => {
    const opened = await ResourcesFolder.open({ folder, clock, onFound: (one) => found.push(one) })
    t.after(() => opened[Symbol.dispose]())
  }
  /** Reading a file takes turns, and what a mistake is, a thread finds out. */
  const passes = async (ms: number, until: () => boolean = () => true): Promise<void> => {
    for (let at = 0; at < ms; at += 100) await clock.advance(100)
    for (let i = 0; i < 4_000 && !until(); i++) {
      await clock.advance(20)
      await new Promise((resolve) => {
        setTimeout(resolve, 5)
      })
    }
  }
  return { folder, clock, found, write, open, passes }
}
const BILLS_CLUSTER = 'outbound|80||bills.shop.svc.cluster.local'
const idOf = (found: FolderFound | undefined): string | undefined =>
  found?.kind === 'revision' ? found.revision.id : undefined
const problemsOf = (found: FolderFound | undefined): readonly string[] =>
  found?.kind === 'invalid' ? found.problems : []

test('what stands in the folder is one revision, with the same id wherever the same files stand', async (t) => {
  const [one, two] = [makeFolder(t), makeFolder(t)]
  for (const { write } of [one, two]) {
    write('shared.yaml', makeCluster('everybody'))
    write('@site=north/north.yaml', makeCluster('north'))
    write('edge/own.yaml', makeCluster('mine'))
    write('notes.txt', 'no resource file')
    write('.git/config.yaml', 'nobody reads this')
  }
  await one.open()
  await two.open()
  assert.equal(one.found.length, 1)
  assert.match(idOf(one.found[0]) ?? '', /^[0-9a-f]{16}$/)
  assert.equal(idOf(one.found[0]), idOf(two.found[0]))
  const [found] = one.found
  assert.deepEqual(found?.kind === 'revision' && found.revision.files.map(({ path: file }) => file), [
    '@site=north/north.yaml',
    'edge/own.yaml',
    'shared.yaml',
  ])
})

test('several files that are written one after the other are one revision', async (t) => {
  const { write, open, found, passes } = makeFolder(t)
  write('a.yaml', makeCluster('a'))
  await open()
  write('a.yaml', makeCluster('a', '3s'))
  await passes(200)
  write('b.yaml', makeCluster('b'))
  await passes(200)
  write('edge/c.yaml', makeCluster('c'))
  await passes(6_000, () => found.length > 1)
  assert.equal(found.length, 2)
  assert.deepEqual(found[1]?.kind === 'revision' && found[1].revision.files.length, 3)
})

test('a removed file, and a device folder that is made or removed, are changes like any other', async (t) => {
  const { folder, write, open, found, passes } = makeFolder(t)
  write('a.yaml', makeCluster('a'))
  await open()
  write('edge/own.yaml', makeCluster('mine'))
  await passes(6_000, () => found.length > 1)
  fs.rmSync(path.join(folder, 'edge'), { recursive: true })
  await passes(6_000, () => found.length > 2)
  assert.equal(idOf(found[2]), idOf(found[0]))
  fs.rmSync(path.join(folder, 'a.yaml'))
  await passes(10_000, () => found.length > 3)
  assert.equal(found[3]?.kind, 'revision')
})

for (const [what, files, problem] of [
  ['a mistake in a field', { 'edge/a.yaml': makeCluster('a', 'soon') }, /edge\/a\.yaml line \d+: .*connect_timeout/],
  ['a file that is no YAML', { 'a.yaml': '{{{' }, /a\.yaml line 1/],
  [
    'a resource that stands twice',
    { 'a.yaml': makeCluster('a'), 'b.yaml': makeCluster('a') },
    /b\.yaml.*stands in a\.yaml/,
  ],
  [
    'a cluster that exists nowhere',
    { 'a.yaml': makeRoutes('web', 'nowhere') },
    /a\.yaml line \d+: route "web" names the cluster "nowhere"/,
  ],
  [
    'one object of Istio twice, in two files',
    { 'a.yaml': BILLS, 'b.yaml': ORDERS + BILLS },
    /^b\.yaml line 16: ServiceEntry shop\/bills, name: stands in a\.yaml line 2 already/,
  ],
  [
    'one object of Istio twice, in one file of a folder of labels',
    { 'a.yaml': BILLS, '@site=north/b.yaml': BILLS + ORDERS + BILLS },
    /^@site=north\/b\.yaml line \d+: ServiceEntry shop\/bills, name: stands in @site=north\/b\.yaml line 2 already/,
  ],
  [
    'a cluster beside the ServiceEntry that becomes it',
    { 'a.yaml': BILLS, 'raw.yaml': makeCluster(BILLS_CLUSTER) },
    /^raw\.yaml line 2: cluster "outbound\|80\|\|bills.*", name: a\.yaml line 2, ServiceEntry shop\/bills, is compiled to it/,
  ],
  [
    'a cluster beside the DestinationRule whose subset it is',
    {
      'device/a.yaml': BILLS + object('DestinationRule', 'shop', 'bills', 'host: bills\nsubsets: [{name: v1}]'),
      'device/raw.yaml': makeCluster(BILLS_CLUSTER.replace('||', '|v1|')),
    },
    /^device\/raw\.yaml line 2: cluster "outbound\|80\|v1\|bills.*device\/a\.yaml line 12, DestinationRule shop\/bills, is compiled/,
  ],
  [
    'Istio YAML that is too large',
    { 'a.yaml': `${BILLS}# ${'x'.repeat(1024 * 1024)}\n` },
    /^a\.yaml line 1: has 1048\d{3} bytes, and 1048576 are read of a file of this kind/,
  ],
  ['a folder of no labels', { '@north/a.yaml': makeCluster('a') }, /@north\/: expected @KEY=VALUE/],
  ['a label that cannot be', { '@site=no th/a.yaml': makeCluster('a') }, /@site=no th\/: "no th" is no value/],
] as const)
  test(`no revision, and why: ${what}`, async (t) => {
    const { write, open, found } = makeFolder(t)
    for (const [name, text] of Object.entries(files)) write(name, text)
    await open()
    assert.equal(found[0]?.kind, 'invalid')
    assert.match(problemsOf(found[0]).join('\n'), problem)
  })

for (const [what, files] of [
  ['of a device', { 'a.yaml': BILLS, 'edge/raw.yaml': makeCluster(BILLS_CLUSTER) }],
  ['of labels', { 'a.yaml': BILLS, '@site=north/raw.yaml': makeCluster(BILLS_CLUSTER) }],
  ['that has another port', { 'a.yaml': BILLS, 'raw.yaml': makeCluster(BILLS_CLUSTER.replace('80', '81')) }],
  ['that has another subset', { 'a.yaml': BILLS, 'raw.yaml': makeCluster(BILLS_CLUSTER.replace('||', '|v1|')) }],
  ['with one object for all and one for a device', { 'a.yaml': BILLS, 'edge/a.yaml': BILLS }],
] as const)
  test(`a revision: a resource beside Istio YAML ${what}`, async (t) => {
    const { write, open, found } = makeFolder(t)
    for (const [name, text] of Object.entries(files)) write(name, text)
    await open()
    assert.deepEqual(problemsOf(found[0]), [])
  })

test('a cluster that some device or label has is not missing', async (t) => {
  const { write, open, found } = makeFolder(t)
  write('shared.yaml', makeRoutes('web', 'local'))
  write('edge/own.yaml', makeCluster('local'))
  await open()
  assert.equal(found[0]?.kind, 'revision')
})

test('a mistake is told, and its correction', async (t) => {
  const { write, open, found, passes } = makeFolder(t)
  write('a.yaml', makeCluster('a'))
  await open()
  write('a.yaml', makeCluster('a', 'soon'))
  await passes(6_000, () => found.length > 1)
  assert.equal(found[1]?.kind, 'invalid')
  write('a.yaml', makeCluster('a'))
  await passes(6_000, () => found.length > 2)
  assert.equal(idOf(found[2]), idOf(found[0]))
})

test('no resource is left out for the name of its file or folder', async (t) => {
  const { found, write, open, folder, passes } = makeFolder(t)
  write('shared.yaml', makeCluster('everybody'))
  write('two\nlines.yaml', makeCluster('unseen'))
  write('north site/own.yaml', makeCluster('mine'))
  write('edge/bell\u0007.json', '{}')
  fs.mkdirSync(path.join(folder, 'lost+found'))
  await open()
  assert.deepEqual(problemsOf(found[0]), [
    'two\\u000alines.yaml: its name holds characters that nobody sees; rename it',
    'edge/bell\\u0007.json: its name holds characters that nobody sees; rename it',
    "north site/: holds resources and has no device's name, so that they are for nobody: rename it, or move them elsewhere",
  ])
  fs.rmSync(path.join(folder, 'two\nlines.yaml'))
  fs.rmSync(path.join(folder, 'edge/bell\u0007.json'))
  fs.renameSync(path.join(folder, 'north site'), path.join(folder, 'north-site'))
  await passes(6_000, () => found.length > 1)
  const [, second] = found
  assert.deepEqual(second?.kind === 'revision' && second.revision.files.map(({ path: file }) => file), [
    'north-site/own.yaml',
    'shared.yaml',
  ])
})
test('no folder', async () => {
  const opening = ResourcesFolder.open({ folder: '/nowhere/at/all', clock: new SimClock(), onFound: () => {} })
  await assert.rejects(opening, (err: unknown) => err instanceof MeshError && err.code === 'MESH_CONFIG_INVALID')
})
