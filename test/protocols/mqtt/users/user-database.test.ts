import { test } from 'node:test'
import assert from 'node:assert/strict'
import { pbkdf2Sync } from 'node:crypto'
import { Metrics } from '../../../../core/metrics.ts'
import { formatHash } from '../../../../protocols/mqtt/users/password-hash.ts'
import type { UserDatabase } from '../../../../protocols/mqtt/users/user-database.ts'
import { createKey } from '../../../helpers/jwt.ts'
import { FilesDisk, line, PASSWORDS, usersOn, type UsersInput } from '../../../helpers/mqtt/users.ts'
import { SimClock } from '../../../helpers/sim-clock.ts'

const JWKS = { keys: [createKey().jwk] }
const open = async (files: FilesDisk, settings?: UsersInput, clock = new SimClock()): Promise<UserDatabase> => {
  const db = usersOn(files, settings)({ clock, metrics: new Metrics() })
  await db.ready
  return db
}
/** When a change is taken. */
const CHANGE_MS = 2_250
const password = (text: string): Buffer => Buffer.from(text)

test('a user that is not there costs a hash of the file, for a name always the same one', async () => {
  const files = new FilesDisk()
  const slow = formatHash({
    kind: 'pbkdf2-sha512',
    iterations: 300_000,
    salt: Buffer.alloc(12, 1),
    hash: Buffer.alloc(64, 1),
  })
  files.write(PASSWORDS, `slow:${slow}\n`)
  const db = await open(files)
  const took = async (name: string): Promise<number> => {
    const startNs = process.hrtime.bigint()
    assert.equal(typeof (await db.checkPassword(name, password('x'))), 'string')
    return Number(process.hrtime.bigint() - startNs)
  }
  const [known, unknown] = [await took('slow'), await took('nobody')]
  assert.ok(unknown > known / 4, `${unknown} ns of who is not there, ${known} of who is`)
})

test('a line that is as it was is the same secret, through every change of others', async () => {
  const files = new FilesDisk()
  const clock = new SimClock()
  files.write(PASSWORDS, line('ana', 'secret'))
  const db = await open(files, undefined, clock)
  let changes = 0
  const watching = db.watch(() => changes++)
  const secret = await db.checkPassword('ana', password('secret'))
  assert.ok(typeof secret === 'object')
  files.write(PASSWORDS, `${line('bob', 'x')}\n${line('ana', 'secret')}`)
  await clock.advance(CHANGE_MS)
  assert.equal(db.isCurrent('ana', { method: 'password', secret }), true)
  assert.equal(db.isCurrent('bob', { method: 'password', secret }), false)
  files.write(PASSWORDS, `${line('bob', 'x')}\n${line('ana', 'other')}`)
  await clock.advance(CHANGE_MS)
  assert.equal(db.isCurrent('ana', { method: 'password', secret }), false)
  watching[Symbol.dispose]()
  files.write(PASSWORDS, line('ana', 'secret'))
  await clock.advance(CHANGE_MS)
  assert.equal(changes, 2)
})

test('a password that is right while the file changes does not count', async () => {
  const files = new FilesDisk()
  const clock = new SimClock()
  // Long enough for the change to come first.
  const [salt, iterations] = [Buffer.alloc(12, 1), 200_000]
  const hash = pbkdf2Sync('secret', salt, iterations, 64, 'sha512')
  files.write(PASSWORDS, `ana:${formatHash({ kind: 'pbkdf2-sha512', iterations, salt, hash })}\n${line('bob', 'x')}`)
  const db = await open(files, undefined, clock)
  const checking = db.checkPassword('ana', password('secret'))
  files.write(PASSWORDS, line('bob', 'x'))
  await clock.advance(CHANGE_MS)
  assert.equal(await checking, 'it was changed at this moment')
})

test('a file without one user that can be used changes nothing, and is told with its first problem', async () => {
  const files = new FilesDisk()
  files.write(PASSWORDS, 'ana:topsecret\n')
  const db = await open(files)
  await assert.rejects(db.checkPassword('ana', password('topsecret')), { code: 'MESH_MQTT_USERS_FILE' })
  const [told] = db.problems().map((p) => p.message)
  assert.match(told ?? '', /it has no user: line 1 is a password that is not hashed/)
  assert.doesNotMatch(told ?? '', /topsecret/)
})

test('keys of an issuer in a file are read again when it changes', async () => {
  const files = new FilesDisk()
  const clock = new SimClock()
  const settings = { jwt: { issuers: [{ issuer: 'https://id', audiences: ['mqtt'], jwksFile: '/etc/jwks' }] } }
  const db = await open(files, settings, clock)
  assert.equal(db.problems().length, 1)
  files.write('/etc/jwks', JSON.stringify(JWKS), { mode: 0o644 })
  await clock.advance(CHANGE_MS)
  assert.deepEqual(db.problems(), [])
  assert.equal(db.tokens?.issuers[0]?.keys.current().keys.length, 1)
  db[Symbol.dispose]()
})

test('keys of TLS: a handshake has those of the file in force; one that cannot be used changes nothing', async () => {
  const files = new FilesDisk()
  const clock = new SimClock()
  const key = (name: string): string => `${name}:00112233445566778899aabbccddeeff`
  const db = await open(files, { pskFile: '/psk' }, clock)
  assert.equal(db.findKey('a'), undefined)
  files.write('/psk', key('a'))
  await clock.advance(CHANGE_MS)
  const [secret] = [db.findKey('a')]
  assert.ok(secret && db.isCurrent('a', { method: 'psk', secret }))
  for (const spoil of [
    () => files.write('/psk', key('c'), { mode: 0o666 }),
    () => files.write('/psk', key('c'), { isOurs: false }),
    () => files.write('/psk', ''),
    () => files.remove('/psk'),
  ]) {
    spoil()
    await clock.advance(CHANGE_MS)
    assert.deepEqual([db.findKey('c'), db.findKey('a')?.length, db.problems().length], [undefined, 16, 1])
  }
})
