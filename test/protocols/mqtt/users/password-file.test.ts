import { test } from 'node:test'
import assert from 'node:assert/strict'
import { TimeSlice } from '../../../../core/os/time-slice.ts'
import { parsePasswordFile } from '../../../../protocols/mqtt/users/password-file.ts'
import { findUserNameProblem } from '../../../../protocols/mqtt/users/user-name.ts'
import { SimClock } from '../../../helpers/sim-clock.ts'

const slice = new TimeSlice(new SimClock())
const HASH = `$6$${Buffer.alloc(12, 1).toString('base64')}$${Buffer.alloc(64, 2).toString('base64')}`

test("mosquitto's form: comments, empty lines, blanks around, CRLF, names with odd characters", async () => {
  const { users, problems } = await parsePasswordFile(
    ['# users', '', ` ana :  ${HASH}\r`, `a/b+c#d%u:${HASH}`, `Jürgen Müller:${HASH}`, '   ', `last:${HASH}`].join(
      '\n',
    ),
    slice,
  )
  assert.deepEqual([...users.keys()], ['ana', 'a/b+c#d%u', 'Jürgen Müller', 'last'])
  assert.deepEqual(problems, [])
})

test('a wrong line keeps its own user out, is told by its number, and never shown', async () => {
  const { users, problems } = await parsePasswordFile(
    [
      'plain:topsecret',
      'nocolon-topsecret',
      `:${HASH}`,
      `a\u0007b:${HASH}`,
      `ana:${HASH}`,
      `${'x'.repeat(257)}:${HASH}`,
    ].join('\n'),
    slice,
  )
  assert.deepEqual([...users.keys()], ['ana'])
  assert.deepEqual(problems, [
    'line 1 is a password that is not hashed: `meshlet mqtt passwd` writes its hash',
    'line 2 is not of the form `name:hash`',
    'line 3 is of a user name that is empty',
    'line 4 is of a user name that has control characters, or spaces at an end',
    'line 6 is of a user name that is longer than 256 characters',
  ])
})

test('a user with two lines is not used at all: which was meant cannot be told', async () => {
  const { users, problems } = await parsePasswordFile(`ana:${HASH}\nbob:${HASH}\nana:${HASH}\nana:${HASH}`, slice)
  assert.deepEqual([...users.keys()], ['bob'])
  assert.equal(problems.length, 2)
})

test('names: what a log line or a file cannot hold is none', () => {
  for (const name of [
    '',
    ' ',
    'a ',
    ' a',
    'a\n',
    'a\0',
    'a\u001b[2J',
    'a\u2028b',
    'a\u0085',
    '\ud800',
    'x'.repeat(257),
  ])
    assert.ok(findUserNameProblem(name), JSON.stringify(name))
  for (const name of ['a', '+', '#', 'a/b', '%u', '$SYS', 'a b', '名前', 'x'.repeat(256)])
    assert.equal(findUserNameProblem(name), undefined, name)
})
