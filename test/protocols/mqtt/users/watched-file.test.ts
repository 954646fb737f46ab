import { test } from 'node:test'
import assert from 'node:assert/strict'
import { silentLog } from '../../../../core/log.ts'
import { WatchedFile } from '../../../../protocols/mqtt/users/watched-file.ts'
import { FilesDisk } from '../../../helpers/mqtt/users.ts'
import { SimClock } from '../../../helpers/sim-clock.ts'

type Words = { readonly words: readonly string[]; readonly odd: readonly string[] }

class Rig {
  readonly clock = new SimClock()
  readonly files = new FilesDisk()
  changes = 0
  open(isSecret = true): WatchedFile<Words> {
    return new WatchedFile<Words>({
      file: '/etc/x',
      setting: 'a.b',
      maxBytes: 100,
      parse: (text) => {
        if (text === '') throw new Error('it is empty')
        return { words: text.split(' '), odd: text.includes('?') ? ['line 1 is odd'] : [] }
      },
      problemsOf: ({ odd }) => odd,
      isSecret,
      disk: this.files.disk,
      clock: this.clock,
      log: silentLog,
      onChange: () => this.changes++,
    })
  }
  /** The time of a look. */
  look(): Promise<void> {
    return this.clock.advance(2_000)
  }
}
const texts = (file: WatchedFile<Words>): string[] => file.problems().map((p) => `${p.code} ${p.message}`)

test('a file is read again when it changes, and only then', async () => {
  const rig = new Rig()
  rig.files.write('/etc/x', 'a b')
  const file = rig.open()
  assert.deepEqual([file.content.words, rig.changes, rig.files.reads, texts(file)], [['a', 'b'], 1, 1, []])
  await rig.look()
  await rig.look()
  assert.equal(rig.files.reads, 1)
  rig.files.write('/etc/x', 'c')
  await rig.look()
  assert.deepEqual([file.content.words, rig.changes, rig.files.reads], [['c'], 2, 2])
  file[Symbol.dispose]()
  rig.files.write('/etc/x', 'd')
  await rig.look()
  assert.deepEqual(file.content.words, ['c'])
})

test('without a file nobody gets in; it may come later', async () => {
  const rig = new Rig()
  const file = rig.open()
  assert.throws(() => file.content, { code: 'MESH_MQTT_USERS_FILE' })
  assert.deepEqual(texts(file), ['MESH_MQTT_USERS_FILE a.b /etc/x: there is no such file; nobody gets in by it'])
  rig.files.write('/etc/x', 'a')
  await rig.look()
  assert.deepEqual([file.content.words, texts(file)], [['a'], []])
})

for (const { name, spoil, said } of [
  { name: 'is gone', spoil: (f: FilesDisk) => f.remove('/etc/x'), said: /there is no such file/ },
  { name: 'is empty', spoil: (f: FilesDisk) => f.write('/etc/x', ''), said: /it is empty/ },
  { name: 'is too large', spoil: (f: FilesDisk) => f.write('/etc/x', 'x'.repeat(101)), said: /larger than 100 bytes/ },
  { name: 'is no text', spoil: (f: FilesDisk) => f.write('/etc/x', Buffer.from([0xff])), said: /no UTF-8/ },
  {
    name: 'may be written by its group',
    spoil: (f: FilesDisk) => f.write('/etc/x', 'evil', { mode: 0o620 }),
    said: /others than its owner may write it/,
  },
  {
    name: 'may be written by anybody',
    spoil: (f: FilesDisk) => f.write('/etc/x', 'evil', { mode: 0o602 }),
    said: /others than its owner may write it/,
  },
])
  test(`a file that ${name}: what was read before counts, and it is told until it is right again`, async () => {
    const rig = new Rig()
    rig.files.write('/etc/x', 'a')
    const file = rig.open()
    spoil(rig.files)
    await rig.look()
    await rig.look()
    assert.deepEqual([file.content.words, rig.changes], [['a'], 1])
    assert.match(texts(file).join(), said)
    assert.match(texts(file).join(), /what was read before counts/)
    rig.files.write('/etc/x', 'b')
    await rig.look()
    assert.deepEqual([file.content.words, texts(file)], [['b'], []])
  })

test('a file that comes back as it was before is the same file, and no problem any more', async () => {
  const rig = new Rig()
  rig.files.write('/etc/x', 'a')
  const file = rig.open()
  rig.files.write('/etc/x', 'a', { mode: 0o666 })
  await rig.look()
  assert.equal(texts(file).length, 1)
  rig.files.write('/etc/x', 'a')
  await rig.look()
  assert.deepEqual(texts(file), [])
})

test('what is used all the same is told: odd lines, readers, a strange owner', () => {
  const rig = new Rig()
  rig.files.write('/etc/x', 'a ?', { mode: 0o644, isOurs: false })
  assert.deepEqual(
    texts(rig.open()).map((text) => text.slice('MESH_MQTT_USERS_FILE a.b /etc/x: '.length)),
    [
      'line 1 is odd',
      'everybody on this machine may read it (chmod 0600)',
      "it belongs neither to root nor to meshlet's user: whoever has it can change who gets in",
    ],
  )
  assert.equal(texts(rig.open(false)).length, 2)
})
