import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { changePasswordFile, type PasswdOptions } from '../../../../agent/cli/mqtt/passwd.ts'
import type { Io } from '../../../../agent/cli/io.ts'
import { systemDisk } from '../../../../core/os/disk.ts'
import { systemClock } from '../../../../core/os/clock.ts'
import { TimeSlice } from '../../../../core/os/time-slice.ts'
import { parsePasswordFile } from '../../../../protocols/mqtt/users/password-file.ts'
import { HASH_KINDS, isPassword } from '../../../../protocols/mqtt/users/password-hash.ts'
import { temporaryFolder } from '../../../helpers/temporary-folder.ts'

const ioOf = (input: string | readonly string[]): Io => {
  const answers = typeof input === 'string' ? [] : [...input]
  const part: Pick<Io, 'standardInput' | 'askSecret'> = {
    standardInput: async () => Buffer.from(String(input)),
    askSecret: typeof input === 'string' ? undefined : async () => answers.shift() ?? '',
  }
  // The rest is not asked for.
  return part as Io
}
async function passwd(
  file: string,
  user: string | undefined,
  input: string | readonly string[],
  o: Partial<PasswdOptions> = {},
): Promise<string> {
  try {
    await changePasswordFile({ file, user }, { hash: 'sha512-pbkdf2', ...o }, ioOf(input))
    return 'done'
  } catch (err) {
    return (err as Error).message
  }
}
const is = async (file: string, user: string, password: string): Promise<boolean> => {
  const { users } = await parsePasswordFile(fs.readFileSync(file, 'utf8'), new TimeSlice(systemClock))
  const hash = users.get(user)
  return hash !== undefined && isPassword(hash, Buffer.from(password))
}

test('made, added to, changed, deleted from; comments and other lines stay where they are', async (t) => {
  const file = path.join(temporaryFolder(t), 'passwords')
  assert.equal(await passwd(file, 'ana', 'one\n', { create: true }), 'done')
  assert.equal(fs.statSync(file).mode & 0o777, 0o600)
  fs.writeFileSync(file, `# people\n${fs.readFileSync(file, 'utf8')}odd line\n`)
  assert.equal(await passwd(file, 'bob', 'two\r\n'), 'done')
  assert.equal(await passwd(file, 'ana', 'three\nfour\n'), 'done')
  assert.deepEqual(
    [await is(file, 'ana', 'three'), await is(file, 'bob', 'two'), await is(file, 'ana', 'one')],
    [true, true, false],
  )
  const names = (): string[] =>
    fs
      .readFileSync(file, 'utf8')
      .split('\n')
      .map((line) => line.split(':')[0]!)
  assert.deepEqual(names(), ['# people', 'ana', 'odd line', 'bob', ''])
  assert.equal(await passwd(file, 'ana', '', { delete: true }), 'done')
  assert.deepEqual(names(), ['# people', 'odd line', 'bob', ''])
  assert.match(await passwd(file, 'ana', '', { delete: true }), /there is no user ana/)
})

for (const hash of HASH_KINDS)
  test(`-H ${hash}`, async (t) => {
    const file = path.join(temporaryFolder(t), 'passwords')
    assert.equal(await passwd(file, 'ana', 'pässwörd', { create: true, hash }), 'done')
    assert.equal(await is(file, 'ana', 'pässwörd'), true)
  })

test('on a terminal the password is asked for twice', async (t) => {
  const file = path.join(temporaryFolder(t), 'passwords')
  assert.match(await passwd(file, 'ana', ['one', 'other'], { create: true }), /not the same/)
  assert.equal(fs.existsSync(file), false)
  assert.equal(await passwd(file, 'ana', ['one', 'one'], { create: true }), 'done')
  assert.equal(await is(file, 'ana', 'one'), true)
})

test('a file in plain text is hashed with -U; what is hashed already, and what is none, stays', async (t) => {
  const file = path.join(temporaryFolder(t), 'passwords')
  await passwd(file, 'old', 'kept', { create: true })
  const before = fs.readFileSync(file, 'utf8')
  fs.writeFileSync(file, `${before}ana:secret:with colon\n#bob:x\nnone\nempty:\n`)
  assert.equal(await passwd(file, undefined, '', { update: true }), 'done')
  assert.equal(await is(file, 'ana', 'secret:with colon'), true)
  assert.ok(fs.readFileSync(file, 'utf8').startsWith(before))
  assert.match(fs.readFileSync(file, 'utf8'), /\n#bob:x\nnone\nempty:\n$/)
})

test('what would lose or show something is refused, and nothing is written', async (t) => {
  const folder = temporaryFolder(t)
  const file = path.join(folder, 'passwords')
  assert.match(await passwd(file, 'ana', 'x'), /there is no file .*; -c makes it/)
  await passwd(file, 'ana', 'x', { create: true })
  const before = fs.readFileSync(file, 'utf8')
  assert.match(await passwd(file, 'ana', 'y', { create: true }), /-c makes a new file/)
  assert.match(await passwd(file, 'ana', 'y', { batch: true }), /arguments of a command/)
  assert.match(await passwd(file, 'ana', ''), /password is empty/)
  assert.match(await passwd(file, 'ana', 'x'.repeat(65_536)), /longer than 65535/)
  assert.match(await passwd(file, undefined, 'x'), /user is missing/)
  for (const user of ['', 'a:b', '#a', ' a', 'a\nb', 'x'.repeat(257)])
    assert.match(await passwd(file, user, 'x'), /user name/)
  assert.equal(fs.readFileSync(file, 'utf8'), before)
  assert.deepEqual(fs.readdirSync(folder), ['passwords'])
})

test('a change of somebody else in between is not overwritten; the owner of the file stays its owner', async (t) => {
  const file = path.join(temporaryFolder(t), 'passwords')
  await passwd(file, 'ana', 'x', { create: true })
  const owners: unknown[] = []
  const disk = {
    ...systemDisk,
    read(name: string) {
      const found = systemDisk.read(name)
      fs.appendFileSync(name, 'bob:x\n')
      return found
    },
  }
  await assert.rejects(
    changePasswordFile({ file, user: 'ana' }, { hash: 'sha512-pbkdf2' }, ioOf('y'), disk),
    /changed meanwhile/,
  )
  const keeping = { ...systemDisk, replace: (...args: unknown[]) => owners.push(args[3]) }
  await changePasswordFile({ file, user: 'ana' }, { hash: 'sha512-pbkdf2' }, ioOf('y'), keeping)
  assert.deepEqual(owners, [{ userId: fs.statSync(file).uid, groupId: fs.statSync(file).gid }])
})
