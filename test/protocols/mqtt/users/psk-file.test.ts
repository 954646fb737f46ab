import { test } from 'node:test'
import assert from 'node:assert/strict'
import { TimeSlice } from '../../../../core/os/time-slice.ts'
import { parsePskFile } from '../../../../protocols/mqtt/users/psk-file.ts'
import { SimClock } from '../../../helpers/sim-clock.ts'

const slice = new TimeSlice(new SimClock())
const HEX = '00112233445566778899aabbccddeeff'

test("mosquitto's form, and what of it is not used", async () => {
  const { keys, problems } = await parsePskFile(
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
    slice,
  )
  assert.deepEqual([...keys.keys()], ['pump-7', 'a:b'])
  assert.equal(keys.get('a:b')?.toString('hex'), HEX)
  assert.deepEqual(
    problems.map((text) => text.slice(0, 10)),
    ['line 4 has', 'line 5 has', 'line 6 is ', 'line 8 is ', 'line 9 is '],
  )
  assert.doesNotMatch(problems.join(), /0011/)
  await assert.rejects(parsePskFile('# nothing\n', slice), /has no key/)
})
