import { after, test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { watchFolder, type FolderResult } from '../../../control-sync/directory/watch.ts'
import { SimClock } from '../../helpers/sim-clock.ts'

const home = fs.mkdtempSync(path.join(os.tmpdir(), 'meshlet-watch-'))
after(() => fs.rmSync(home, { recursive: true, force: true }))
const cluster = (name: string, more = ''): string => `- {"@type": type.googleapis.com/envoy.config.cluster.v3.Cluster, name: ${name}${more}}\n`

function watched(t: TestContext, node?: string): { dir: string; write(file: string, text: string): void; look(): Promise<void>; told: FolderResult[]; names(): string[]; clock: SimClock } {
  const dir = fs.mkdtempSync(path.join(home, 'f-'))
  fs.writeFileSync(path.join(dir, 'a.yaml'), cluster('a'))
  fs.writeFileSync(path.join(dir, 'b.yaml'), cluster('b'))
  const clock = new SimClock()
  const told: FolderResult[] = []
  const watching = watchFolder({ folder: dir, node, clock, onChange: (found) => { told.push(found) } })
  t.after(() => watching[Symbol.dispose]())
  return {
    dir, told, clock,
    write: (file, text) => { fs.mkdirSync(path.dirname(path.join(dir, file)), { recursive: true }); fs.writeFileSync(path.join(dir, file), text) },
    // Long enough for the slow look, so nothing depends on when the kernel's notice comes.
    look: () => clock.advance(6_000),
    names: () => [...told.at(-1)!.resources.get('cluster')?.keys() ?? []],
  }
}

test('the first content is told before watchFolder returns', (t) => {
  const w = watched(t)
  assert.deepEqual([w.told.length, w.names(), w.told[0]!.problems], [1, ['a', 'b'], []])
})
test('a changed, a new and a deleted file are told', async (t) => {
  const w = watched(t)
  w.write('a.yaml', cluster('a2'))
  await w.look()
  assert.deepEqual(w.names(), ['a2', 'b'])
  w.write('c.yaml', cluster('c'))
  await w.look()
  assert.deepEqual(w.names(), ['a2', 'b', 'c'])
  fs.rmSync(path.join(w.dir, 'b.yaml'))
  await w.look()
  assert.deepEqual(w.names(), ['a2', 'c'])
})
test('a file with a mistake keeps its last good resources while the others go on, and says what is wrong', async (t) => {
  const w = watched(t)
  w.write('a.yaml', `${cluster('a-new')}${cluster('bad', ', typ: EDS')}`)
  w.write('b.yaml', cluster('b2'))
  await w.look()
  assert.deepEqual(w.names(), ['a', 'b2'])
  assert.match(w.told.at(-1)!.problems.join(), /^a\.yaml line 2: Cluster "bad", typ: unknown field/)
  w.write('a.yaml', cluster('a-mended'))
  await w.look()
  assert.deepEqual([w.names(), w.told.at(-1)!.problems], [['a-mended', 'b2'], []])
})
test('an emptied file is a mistake, not the wish to have nothing', async (t) => {
  const w = watched(t)
  w.write('a.yaml', '')
  await w.look()
  assert.deepEqual(w.names(), ['a', 'b'])
})
test('a file written anew with the same content is not told', async (t) => {
  const w = watched(t)
  w.write('a.yaml', `# a comment\n${cluster('a')}`)
  await w.look()
  assert.equal(w.told.length, 1)
})
test('a node\'s folder that appears later is found', async (t) => {
  const w = watched(t, 'n1')
  w.write('n1/x.yaml', cluster('x'))
  await w.look()
  assert.deepEqual(w.names(), ['a', 'b', 'x'])
})
test('while the folder is gone everything stays in force; when it is back it is read', async (t) => {
  const w = watched(t)
  fs.renameSync(w.dir, `${w.dir}-away`)
  await w.look()
  assert.deepEqual([w.told.length, w.names()], [1, ['a', 'b']])
  fs.renameSync(`${w.dir}-away`, w.dir)
  w.write('a.yaml', cluster('a3'))
  await w.look()
  assert.deepEqual(w.names(), ['a3', 'b'])
})
test('the kernel\'s notice and 50 ms are enough: the slow look is only the net', async (t) => {
  const w = watched(t)
  w.write('a.yaml', cluster('quick'))
  // The notice comes when the event loop gets to it; simulated time stays far below the slow look.
  for (let i = 0; i < 400 && w.told.length < 2; i++) { await new Promise((resolve) => { setTimeout(resolve, 5) }); await w.clock.advance(10) }
  assert.deepEqual(w.names(), ['quick', 'b'])
  assert.ok(w.clock.monotonicMs() < 5_000)
})
test('after disposing nothing is told and no timer is left', async (t) => {
  const w = watched(t)
  const clock = new SimClock()
  let calls = 0
  watchFolder({ folder: w.dir, node: undefined, clock, onChange: () => { calls++ } })[Symbol.dispose]()
  w.write('a.yaml', cluster('z'))
  await clock.advance(20_000)
  assert.deepEqual([calls, clock.pendingTimers], [1, 0])
})
