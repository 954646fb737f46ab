import { test } from 'node:test'
import assert from 'node:assert/strict'
import { silentLog } from '../../../../core/log.ts'
import { WatchedFile } from '../../../../core/os/files/watched-file.ts'
import { FilesDisk } from '../../../helpers/mqtt/users.ts'
import { SimClock } from '../../../helpers/sim-clock.ts'

type Words = { readonly words: readonly string[]; readonly odd: readonly string[] }

class Rig {
  readonly clock = new SimClock()
  readonly files = new FilesDisk()
  changes = 0
  /** Resolves when a text is parsed. */
  parsed: Promise<void> = Promise.resolve()
  async open(isSecret = true): Promise<WatchedFile<Words>> {
    const file = new WatchedFile<Words>({
      file: '/etc/x',
      setting: 'a.b',
      maxBytes: 100,
      parse: async (text) => {
        if (text === '') throw new Error('it is empty')
        await this.parsed
        return { words: text.split(' '), odd: text.includes('?') ? ['line 1 is odd'] : [] }
      },
      problemsOf: ({ odd }) => odd,
      isSecret,
      without: 'nobody gets in by it',
      code: 'MESH_MQTT_USERS_FILE',
      evt: 'mqtt.users',
      part: 'mqtt',
      disk: this.files.disk,
      clock: this.clock,
      log: silentLog,
      onChange: () => this.changes++,
    })
    await file.ready
    return file
  }
  /** The time of a look, and of the second one at what has changed. */
  look(): Promise<void> {
    return this.clock.advance(2_250)
  }
}
const texts = (file: WatchedFile<Words>): string[] => file.problems().map((p) => `${p.code} ${p.message}`)

test('a file is read again when it changes, and only then', async () => {
  const rig = new Rig()
  rig.files.write('/etc/x', 'a b')
  const file = await rig.open()
  assert.deepEqual([file.content.words, rig.changes, texts(file)], [['a', 'b'], 0, []])
  await rig.look()
  const { reads } = rig.files
  assert.equal(reads, 2, 'once more: what came in the same tick of the clock has the same stamp')
  await rig.look()
  await rig.look()
  assert.equal(rig.files.reads, reads)
  rig.files.write('/etc/x', 'c')
  await rig.look()
  assert.deepEqual([file.content.words, rig.changes], [['c'], 1])
  file[Symbol.dispose]()
  rig.files.write('/etc/x', 'd')
  await rig.look()
  assert.deepEqual([file.content.words, rig.clock.pendingTimers], [['c'], 0])
})

test('a change is taken when it looks the same twice', async () => {
  const rig = new Rig()
  rig.files.write('/etc/x', 'a')
  const file = await rig.open()
  rig.files.write('/etc/x', 'half')
  await rig.clock.advance(2_000)
  rig.files.write('/etc/x', 'half done')
  await rig.clock.advance(250)
  assert.deepEqual([file.content.words, rig.changes], [['a'], 0])
  await rig.clock.advance(250)
  assert.deepEqual([file.content.words, rig.changes], [['half', 'done'], 1])
})

test('what changes while a text is parsed is seen at the next look; nothing is taken after the end', async () => {
  const rig = new Rig()
  rig.files.write('/etc/x', 'a')
  const file = await rig.open()
  const [first, second] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  rig.parsed = first.promise
  rig.files.write('/etc/x', 'b')
  await rig.look()
  rig.files.write('/etc/x', 'c')
  first.resolve()
  await rig.clock.advance(250)
  assert.deepEqual([file.content.words, rig.changes], [['b'], 1])
  await rig.look()
  assert.deepEqual([file.content.words, rig.changes], [['c'], 2])
  rig.parsed = second.promise
  rig.files.write('/etc/x', 'd')
  await rig.look()
  file[Symbol.dispose]()
  second.resolve()
  await rig.look()
  assert.deepEqual([file.content.words, rig.changes, rig.clock.pendingTimers], [['c'], 2, 0])
})

test('without a file nobody gets in; it may come later', async () => {
  const rig = new Rig()
  const file = await rig.open()
  assert.throws(() => file.content, { code: 'MESH_MQTT_USERS_FILE' })
  assert.deepEqual(texts(file), ['MESH_MQTT_USERS_FILE a.b /etc/x: there is no such file; nobody gets in by it'])
  rig.files.write('/etc/x', 'a')
  await rig.look()
  assert.deepEqual([file.content.words, texts(file), rig.changes], [['a'], [], 1])
})

for (const { name, spoil, said } of [
  { name: 'is gone', spoil: (f: FilesDisk) => f.remove('/etc/x'), said: /there is no such file/ },
  { name: 'is unreadable', spoil: (f: FilesDisk) => f.fail('/etc/x', 'EACCES: no'), said: /EACCES/ },
  { name: 'is empty', spoil: (f: FilesDisk) => f.write('/etc/x', ''), said: /it is empty/ },
  { name: 'is too large', spoil: (f: FilesDisk) => f.write('/etc/x', 'x'.repeat(101)), said: /larger than 100 bytes/ },
  { name: 'is no text', spoil: (f: FilesDisk) => f.write('/etc/x', Buffer.from([0xff])), said: /not UTF-8/ },
  {
    name: 'may be written by its group',
    spoil: (f: FilesDisk) => f.write('/etc/x', 'evil', { mode: 0o620 }),
    said: /others than its owner may write it.*chmod go-w \/etc\/x/,
  },
  {
    name: 'may be written by anybody',
    spoil: (f: FilesDisk) => f.write('/etc/x', 'evil', { mode: 0o602 }),
    said: /others than its owner may write it/,
  },
  {
    name: 'is of another owner',
    spoil: (f: FilesDisk) => f.write('/etc/x', 'evil', { isOurs: false }),
    said: /neither to root nor to meshlet's user.*chown/,
  },
])
  test(`a file that ${name}: what was read before counts, and it is told until it is right again`, async () => {
    const rig = new Rig()
    rig.files.write('/etc/x', 'a')
    const file = await rig.open()
    for (const next of ['a', 'b']) {
      spoil(rig.files)
      await rig.look()
      await rig.look()
      assert.match(texts(file).join(), said)
      assert.match(texts(file).join(), /what was read before counts/)
      rig.files.write('/etc/x', next)
      await rig.look()
      assert.deepEqual([file.content.words, texts(file)], [[next], []])
    }
    assert.equal(rig.changes, 1, 'one that comes back as it was is the same')
  })

test('what is used all the same is told: odd lines, readers', async () => {
  const rig = new Rig()
  rig.files.write('/etc/x', 'a ?', { mode: 0o644 })
  assert.deepEqual(
    texts(await rig.open()).map((text) => text.slice('MESH_MQTT_USERS_FILE a.b /etc/x: '.length)),
    ['line 1 is odd', 'everybody on this machine may read it (chmod 0600)'],
  )
  assert.equal(texts(await rig.open(false)).length, 1)
})
