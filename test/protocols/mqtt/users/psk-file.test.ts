import { test } from 'node:test'
import assert from 'node:assert/strict'
import { parsePskFile, PskKeys } from '../../../../protocols/mqtt/users/psk-file.ts'
import { FilesDisk } from '../../../helpers/mqtt/users.ts'

const HEX = '00112233445566778899aabbccddeeff'

test("mosquitto's form, and what of it is not used", () => {
  const { keys, problems } = parsePskFile(
    [
      '# keys',
      `pump-7:${HEX}`,
      `a:b:${HEX.toUpperCase()}\r`,
      'short:0011',
      'odd:001122334455667788990011223344z5',
      `:${HEX}`,
      `twice:${HEX}`,
      `twice:${HEX}`,
      'nothing',
      '',
    ].join('\n'),
  )
  assert.deepEqual([...keys.keys()], ['pump-7', 'a:b'])
  assert.equal(keys.get('a:b')?.toString('hex'), HEX)
  assert.deepEqual(
    problems.map((text) => text.slice(0, 10)),
    ['line 4 has', 'line 5 has', 'line 6 is ', 'line 8 is ', 'line 9 is '],
  )
  assert.doesNotMatch(problems.join(), /0011/)
  assert.throws(() => parsePskFile('# nothing\n'), /has no key/)
})

test('a handshake sees the file of now; one that cannot be used changes nothing', () => {
  const files = new FilesDisk()
  const keys = new PskKeys(files.disk, '/psk')
  assert.equal(keys.find('a'), undefined)
  files.write('/psk', `a:${HEX}`)
  assert.ok(keys.find('a'))
  assert.ok(keys.find('a'))
  assert.equal(files.reads, 1)
  files.write('/psk', `b:${HEX}`)
  assert.deepEqual([keys.find('a'), keys.find('b')?.length], [undefined, 16])
  for (const spoil of [
    () => files.write('/psk', `c:${HEX}`, { mode: 0o666 }),
    () => files.write('/psk', ''),
    () => files.write('/psk', 'x'.repeat(2_000_000)),
    () => files.remove('/psk'),
  ]) {
    spoil()
    assert.deepEqual([keys.find('c'), keys.find('b')?.length], [undefined, 16])
  }
})
