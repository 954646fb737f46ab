import { after, test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { FolderReader } from '../../../control-sync/directory/reader.ts'
import { SimClock } from '../../helpers/sim-clock.ts'

const home = fs.mkdtempSync(path.join(os.tmpdir(), 'meshlet-reader-'))
after(() => fs.rmSync(home, { recursive: true, force: true }))
const CLUSTER = 'type.googleapis.com/envoy.config.cluster.v3.Cluster'
function made(t: TestContext): { reader: FolderReader; clock: SimClock; write(file: string, text: string): void } {
  const clock = new SimClock()
  const reader = new FolderReader(clock)
  t.after(() => reader[Symbol.dispose]())
  return { reader, clock, write: (file, text) => fs.writeFileSync(path.join(home, file), text) }
}
const many = (n: number): string =>
  JSON.stringify(
    { resources: Array.from({ length: n }, (_, i) => ({ '@type': CLUSTER, name: `c${i}`, connect_timeout: '2s' })) },
    null,
    1,
  )

test('what is large comes whole from the thread, in pieces: names, bytes, lines, mistakes', async (t) => {
  const { reader, write } = made(t)
  write('large.json', many(1_300))
  const { content, hash } = await reader.read(home, 'large.json', undefined)
  assert.ok(typeof content === 'object')
  assert.deepEqual(
    [content.resources.length, content.problems.length, content.resources[1_299]!.name, content.resources[1_299]!.line],
    [1_300, 0, 'c1299', 3 + 1_299 * 5],
  )
  assert.equal((await reader.read(home, 'large.json', hash)).content, 'same')
  write('large.json', many(1_300).replace('"connect_timeout"', '"conect_timeout"'))
  const mistaken = (await reader.read(home, 'large.json', hash)).content
  assert.ok(typeof mistaken === 'object')
  assert.deepEqual(
    [mistaken.resources.length, mistaken.problems.map((p) => `${p.line} ${p.field}`)],
    [1_299, ['6 conect_timeout']],
  )
})
test('JSON that is soon read starts no thread, which a small device has no memory for', async (t) => {
  const { reader, write } = made(t)
  let threads = 0
  const count = (): void => {
    threads++
  }
  process.on('worker', count)
  t.after(() => process.off('worker', count))
  const lengthOf = async (file: string, text: string): Promise<number | undefined> => {
    write(file, text)
    const { content } = await reader.read(home, file, undefined)
    return typeof content === 'object' ? content.resources.length : undefined
  }
  assert.ok(many(400).length > 32 * 1024 && many(400).length < 64 * 1024)
  assert.deepEqual([await lengthOf('some.json', many(400)), threads], [400, 0])
  assert.deepEqual([await lengthOf('some.yaml', many(400)), threads], [400, 1], 'YAML takes longer')
})
test('a file that takes too long is given up and told, and the next one is read', async (t) => {
  const { reader, clock, write } = made(t)
  // Keys of one map are compared with one another: minutes.
  write('bomb.yaml', `{${Array.from({ length: 400_000 }, (_, i) => `k${i}: 1`).join(', ')}}`)
  write('next.json', many(1_300))
  // The thread is there before the bomb: where none comes up, this thread would read it, for minutes.
  await reader.read(home, 'next.json', undefined)
  const first = reader.read(home, 'bomb.yaml', undefined)
  const second = reader.read(home, 'next.json', undefined)
  let isOver = false
  void first.then(() => {
    isOver = true
  })
  while (!isOver) {
    await new Promise((resolve) => {
      setImmediate(resolve)
    })
    await clock.advance(10_000)
  }
  const { content } = await first
  assert.match(
    typeof content === 'object' ? content.problems[0]!.problem : content,
    /^cannot be read: it takes longer than 60 s$/,
  )
  const next = (await second).content
  assert.equal(typeof next === 'object' && next.resources.length, 1_300)
})
for (const { name, file, make, want } of [
  {
    name: 'a folder',
    file: 'folder.yaml',
    make: (at: string) => fs.mkdirSync(at),
    want: /^(is no file|cannot be read: EISDIR)/,
  },
  {
    name: 'a link that leads nowhere',
    file: 'dangling.yaml',
    make: (at: string) => fs.symlinkSync('nowhere', at),
    want: /^cannot be read: ENOENT/,
  },
  {
    name: 'a file without end',
    file: 'zero.yaml',
    make: (at: string) => fs.symlinkSync('/dev/zero', at),
    want: /^is no file$/,
  },
  {
    name: 'one larger than 64 MiB',
    file: 'large.yaml',
    make: (at: string) => fs.closeSync(fs.openSync(at, 'w')),
    want: /^is larger than/,
  },
])
  test(`no file that can be read: ${name}`, async (t) => {
    const { reader } = made(t)
    make(path.join(home, file))
    if (file === 'large.yaml') fs.truncateSync(path.join(home, file), 65 * 1024 * 1024)
    const { content } = await reader.read(home, file, undefined)
    assert.match(typeof content === 'object' ? content.problems[0]!.problem : content, want)
  })
test('disposed in the middle of reading: whoever waits is told, and no thread is left', async (t) => {
  const { reader, clock, write } = made(t)
  write('large.json', many(1_300))
  const reading = reader.read(home, 'large.json', undefined)
  await new Promise((resolve) => {
    setImmediate(resolve)
  })
  reader[Symbol.dispose]()
  const { content } = await reading
  assert.match(typeof content === 'object' ? content.problems[0]!.problem : content, /the reader has ended/)
  assert.equal(clock.pendingTimers, 0)
})

test('a file that is no resource file of Envoy is read by who knows it; a large one is told by its size', async (t) => {
  const { write } = made(t)
  const reader = new FolderReader(new SimClock(), {
    owns: (_, head) => head.startsWith('kind:'),
    read: (file, text) =>
      text.startsWith('kind:')
        ? { resources: [{ kind: 'istio', name: text.trim(), value: Buffer.from(text), file, line: 1 }], problems: [] }
        : undefined,
  })
  t.after(() => reader[Symbol.dispose]())
  write('other.yaml', 'kind: a\n')
  const { content, hash } = await reader.read(home, 'other.yaml', undefined)
  assert.ok(typeof content === 'object')
  assert.deepEqual(
    content.resources.map(({ kind, name }) => [kind, name]),
    [['istio', 'kind: a']],
  )
  assert.equal((await reader.read(home, 'other.yaml', hash)).content, 'same')
  write('envoy.yaml', many(1))
  const envoy = (await reader.read(home, 'envoy.yaml', undefined)).content
  assert.ok(typeof envoy === 'object')
  assert.equal(envoy.resources[0]!.kind, 'cluster')
  write('large.yaml', `kind: a\n${'#'.repeat(1024 * 1024)}\n`)
  const large = (await reader.read(home, 'large.yaml', undefined)).content
  assert.ok(typeof large === 'object')
  assert.equal(large.resources.length, 0)
  assert.match(large.problems[0]!.problem, /has 1048585 bytes, and 1048576 are read of a file of this kind/)
})
