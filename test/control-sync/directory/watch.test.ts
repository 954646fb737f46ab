import { after, test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { FolderReader } from '../../../control-sync/directory/reader.ts'
import type { ReadOne } from '../../../control-sync/directory/read.ts'
import { watchFolder, type FolderResult, type WatchedFolder } from '../../../control-sync/directory/watch.ts'
import { SimClock } from '../../helpers/sim-clock.ts'

const home = fs.mkdtempSync(path.join(os.tmpdir(), 'meshlet-watch-'))
after(() => fs.rmSync(home, { recursive: true, force: true }))
const cluster = (name: string, more = ''): string =>
  `- {"@type": type.googleapis.com/envoy.config.cluster.v3.Cluster, name: ${name}${more}}\n`

async function watched(
  t: TestContext,
  node?: string,
): Promise<{
  dir: string
  write(file: string, text: string): void
  look(): Promise<void>
  told: FolderResult[]
  names(): string[]
  clock: SimClock
  watching: WatchedFolder
}> {
  const dir = fs.mkdtempSync(path.join(home, 'f-'))
  fs.writeFileSync(path.join(dir, 'a.yaml'), cluster('a'))
  fs.writeFileSync(path.join(dir, 'b.yaml'), cluster('b'))
  const clock = new SimClock()
  const told: FolderResult[] = []
  const watching = await watchFolder({
    folder: dir,
    node,
    clock,
    onChange: (found) => {
      told.push(found)
    },
  })
  t.after(() => watching[Symbol.dispose]())
  return {
    dir,
    told,
    clock,
    watching,
    write: (file, text) => {
      fs.mkdirSync(path.dirname(path.join(dir, file)), { recursive: true })
      fs.writeFileSync(path.join(dir, file), text)
    },
    // Long enough for the slow look, so nothing depends on when the kernel's notice comes.
    look: async () => {
      for (let i = 0; i < 12; i++) {
        await clock.advance(500)
        await watching.idle
      }
    },
    names: () => [...(told.at(-1)!.resources.get('cluster')?.keys() ?? [])],
  }
}

test('the first content is told before watchFolder resolves', async (t) => {
  const w = await watched(t)
  assert.deepEqual([w.told.length, w.names(), w.told[0]!.problems], [1, ['a', 'b'], []])
})
test('a changed, a new and a deleted file are told', async (t) => {
  const w = await watched(t)
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
  const w = await watched(t)
  w.write('a.yaml', `${cluster('a-new')}${cluster('bad', ', typ: EDS')}`)
  w.write('b.yaml', cluster('b2'))
  await w.look()
  // That "a" is not there is not believed of a file with a mistake.
  assert.deepEqual(w.names(), ['a-new', 'a', 'b2'])
  assert.match(w.told.at(-1)!.problems.join(), /^a\.yaml line 2: Cluster "bad", typ: unknown field/)
  w.write('a.yaml', cluster('a-mended'))
  await w.look()
  assert.deepEqual([w.names(), w.told.at(-1)!.problems], [['a-mended', 'b2'], []])
})
test('a mistake in one resource keeps nothing of the others back: what was pushed to keep somebody out is in force', async (t) => {
  const w = await watched(t)
  const timeout = (name: string): Uint8Array => w.told.at(-1)!.resources.get('cluster')!.get(name)!
  w.write('a.yaml', `${cluster('one')}${cluster('two')}`)
  await w.look()
  const [one, two] = [timeout('one'), timeout('two')]
  w.write('a.yaml', `${cluster('one', ', connect_timeout: 9s')}${cluster('two', ', lb_policy: ROUND_ROBBIN')}`)
  await w.look()
  assert.match(w.told.at(-1)!.problems.join(), /^a\.yaml line 2: Cluster "two", lb_policy/)
  assert.notDeepEqual(timeout('one'), one)
  assert.equal(timeout('two'), two)
})
test('an emptied file is a mistake, not the wish to have nothing', async (t) => {
  const w = await watched(t)
  w.write('a.yaml', '')
  await w.look()
  assert.deepEqual(w.names(), ['a', 'b'])
})
test('a file written anew with the same content is not told', async (t) => {
  const w = await watched(t)
  w.write('a.yaml', `# a comment\n${cluster('a')}`)
  await w.look()
  assert.equal(w.told.length, 1)
})
test("a node's folder that appears later is found", async (t) => {
  const w = await watched(t, 'n1')
  w.write('n1/x.yaml', cluster('x'))
  await w.look()
  assert.deepEqual(w.names(), ['a', 'b', 'x'])
})
test('while the folder is gone everything stays in force; when it is back it is read', async (t) => {
  const w = await watched(t)
  fs.renameSync(w.dir, `${w.dir}-away`)
  await w.look()
  assert.deepEqual([w.told.length, w.names()], [1, ['a', 'b']])
  fs.renameSync(`${w.dir}-away`, w.dir)
  w.write('a.yaml', cluster('a3'))
  await w.look()
  assert.deepEqual(w.names(), ['a3', 'b'])
})
test("the kernel's notice and 50 ms are enough: the slow look is only the net", async (t) => {
  const w = await watched(t)
  w.write('a.yaml', cluster('quick'))
  // The notice comes when the event loop gets to it; simulated time stays far below the slow look.
  for (let i = 0; i < 400 && w.told.length < 2; i++) {
    await new Promise((resolve) => {
      setTimeout(resolve, 5)
    })
    await w.clock.advance(10)
  }
  assert.deepEqual(w.names(), ['quick', 'b'])
  assert.ok(w.clock.monotonicMs() < 5_000)
})
test('after disposing nothing is told and no timer is left', async (t) => {
  const w = await watched(t)
  const clock = new SimClock()
  let calls = 0
  ;(
    await watchFolder({
      folder: w.dir,
      node: undefined,
      clock,
      onChange: () => {
        calls++
      },
    })
  )[Symbol.dispose]()
  w.write('a.yaml', cluster('z'))
  await clock.advance(20_000)
  assert.deepEqual([calls, clock.pendingTimers], [1, 0])
})

/** One look and its settling, no more. */
const glance = async (w: Awaited<ReturnType<typeof watched>>, ms: number): Promise<void> => {
  await w.clock.advance(ms)
  await w.watching.idle
}

test('half a file is never in force: nothing counts before two looks saw the same', async (t) => {
  const w = await watched(t)
  const whole = Array.from({ length: 40 }, (_, i) => cluster(`n${i}`)).join('')
  w.write('a.yaml', cluster('n0'))
  for (let i = 1; i <= 40; i++) {
    w.write('a.yaml', whole.slice(0, Math.floor((whole.length * i) / 40)))
    await glance(w, 20)
  }
  await w.look()
  assert.deepEqual(
    w.told.map((f) => f.resources.get('cluster')!.size),
    [2, 41],
  )
})
test('a file that is never at rest keeps the others waiting for a second only, and is read after five', async (t) => {
  const w = await watched(t)
  w.write('b.yaml', cluster('b2'))
  const at: Record<string, number> = {}
  for (let i = 0; i < 400 && !('a' in at); i++) {
    w.write('a.yaml', `${cluster('a2')}# ${'x'.repeat(i)}\n`)
    await glance(w, 25)
    if (w.names().includes('b2')) at['b'] ??= w.clock.monotonicMs()
    if (w.names().includes('a2')) at['a'] ??= w.clock.monotonicMs()
  }
  assert.ok(at['b']! < 8_000, `others after ${at['b']} ms`)
  assert.ok(at['a']! > at['b']!, JSON.stringify(at))
})
test("a file that is renamed, and an editor's copy that takes its place, are no moment without the resources", async (t) => {
  const w = await watched(t)
  fs.renameSync(path.join(w.dir, 'a.yaml'), path.join(w.dir, 'z.yaml'))
  await w.look()
  fs.writeFileSync(path.join(w.dir, '.b.yaml.swp'), cluster('b3'))
  fs.rmSync(path.join(w.dir, 'b.yaml'))
  await glance(w, 20)
  fs.renameSync(path.join(w.dir, '.b.yaml.swp'), path.join(w.dir, 'b.yaml'))
  await w.look()
  const seen = w.told.map((f) => [...f.resources.get('cluster')!.keys()].toSorted().join())
  assert.deepEqual([...new Set(seen)], ['a,b', 'a,b3'])
})
test('a ConfigMap: the link to another version is swapped, and all of its files change together', async (t) => {
  const dir = fs.mkdtempSync(path.join(home, 'map-'))
  const version = (name: string): void => {
    fs.mkdirSync(path.join(dir, `..${name}`))
    for (const file of ['a', 'b'])
      fs.writeFileSync(path.join(dir, `..${name}`, `${file}.yaml`), cluster(`${file}-${name}`))
    fs.symlinkSync(`..${name}`, path.join(dir, '..data_tmp'))
    fs.renameSync(path.join(dir, '..data_tmp'), path.join(dir, '..data'))
  }
  version('v1')
  for (const file of ['a', 'b']) fs.symlinkSync(`..data/${file}.yaml`, path.join(dir, `${file}.yaml`))
  const clock = new SimClock()
  const told: string[] = []
  const watching = await watchFolder({
    folder: dir,
    node: undefined,
    clock,
    onChange: (found) => {
      told.push([...found.resources.get('cluster')!.keys()].join())
    },
  })
  t.after(() => watching[Symbol.dispose]())
  version('v2')
  fs.rmSync(path.join(dir, '..v1'), { recursive: true })
  for (let i = 0; i < 14; i++) {
    await clock.advance(500)
    await watching.idle
  }
  assert.deepEqual(told, ['a-v1,b-v1', 'a-v2,b-v2'])
})
test('a folder that is a link is followed to where it leads now', async (t) => {
  const base = fs.mkdtempSync(path.join(home, 'link-'))
  for (const name of ['v1', 'v2']) {
    fs.mkdirSync(path.join(base, name))
    fs.writeFileSync(path.join(base, name, 'a.yaml'), cluster(name))
  }
  const link = path.join(base, 'now')
  fs.symlinkSync('v1', link)
  const clock = new SimClock()
  const told: string[] = []
  const watching = await watchFolder({
    folder: link,
    node: undefined,
    clock,
    onChange: (found) => {
      told.push([...found.resources.get('cluster')!.keys()].join())
    },
  })
  t.after(() => watching[Symbol.dispose]())
  const look = async (): Promise<void> => {
    for (let i = 0; i < 14; i++) {
      await clock.advance(500)
      await watching.idle
    }
  }
  fs.symlinkSync('v2', `${link}-new`)
  fs.renameSync(`${link}-new`, link)
  await look()
  fs.writeFileSync(path.join(base, 'v2', 'a.yaml'), cluster('v2b'))
  await look()
  assert.deepEqual(told, ['v1', 'v2', 'v2b'])
})
test('a folder that is emptied to be filled anew keeps what is in force; one that stays empty does not', async (t) => {
  const w = await watched(t)
  for (const file of ['a.yaml', 'b.yaml']) fs.rmSync(path.join(w.dir, file))
  await glance(w, 1_500)
  w.write('c.yaml', cluster('c'))
  await w.look()
  assert.deepEqual(
    w.told.map((f) => [...f.resources.get('cluster')!.keys()].join()),
    ['a,b', 'c'],
  )
  fs.rmSync(path.join(w.dir, 'c.yaml'))
  await w.look()
  await w.look()
  assert.equal(w.told.at(-1)!.resources.size, 0)
})
test('only what changed is read again, and what did not change is the same object', async (t) => {
  const dir = fs.mkdtempSync(path.join(home, 'many-'))
  for (let i = 0; i < 50; i++) fs.writeFileSync(path.join(dir, `f${i}.yaml`), cluster(`c${i}`) + cluster(`d${i}`))
  const clock = new SimClock()
  class Counting extends FolderReader {
    readonly files: string[] = []
    override read(folder: string, file: string, hash: string | undefined): Promise<ReadOne> {
      this.files.push(file)
      return super.read(folder, file, hash)
    }
  }
  const reader = new Counting(clock)
  t.after(() => reader[Symbol.dispose]())
  const told: FolderResult[] = []
  const watching = await watchFolder({
    folder: dir,
    node: undefined,
    clock,
    reader,
    onChange: (found) => {
      told.push(found)
    },
  })
  t.after(() => watching[Symbol.dispose]())
  assert.equal(reader.files.length, 50)
  fs.writeFileSync(path.join(dir, 'f7.yaml'), cluster('c7', ', connect_timeout: 3s') + cluster('d7'))
  for (let i = 0; i < 14; i++) {
    await clock.advance(500)
    await watching.idle
  }
  assert.deepEqual(reader.files.slice(50), ['f7.yaml'])
  const [before, after] = told.map((f) => f.resources.get('cluster')!)
  assert.deepEqual(
    [...after!].filter(([name, value]) => before!.get(name) !== value).map(([name]) => name),
    ['c7'],
  )
})
