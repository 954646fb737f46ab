/** A session of the command line: how it begins, where it is kept, and what it is good for. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import type { SavedLogin } from '../../../../hub/cli/console/saved-logins.ts'
import { makeMachine, remoteRig, typing, type Machine } from '../remote-rig.ts'

const readSaved = ({ savedLogins }: Machine) =>
  JSON.parse(fs.readFileSync(savedLogins, 'utf8')) as Record<string, SavedLogin>
const writeSaved = ({ savedLogins }: Machine, logins: Record<string, SavedLogin>): void =>
  fs.writeFileSync(savedLogins, JSON.stringify(logins), { mode: 0o600 })

test('a link is asked for, and what comes for it is kept for this user alone; nothing shows it', async (t) => {
  const rig = await remoteRig(t)
  const link = await rig.link(undefined, 'operator:ann')
  const said = await rig.machine.run(['login', '--hub', rig.url], typing(`${rig.url}/login#login=${link}`))
  assert.equal(said.code, 0, said.err)
  assert.match(said.out, /^logged in to http:\/\/127\.0\.0\.1:\d+ as operator:ann, admin of all namespaces, until 20/)
  const { savedLogins } = rig.machine
  assert.deepEqual(
    [fs.statSync(savedLogins).mode & 0o777, fs.statSync(path.dirname(savedLogins)).mode & 0o777],
    [0o600, 0o700],
  )
  const { secret } = readSaved(rig.machine)[rig.url]!
  const shown = JSON.stringify([said, rig.lines, await rig.hub.registry.sessions.all()])
  assert.ok(!shown.includes(secret) && !shown.includes(link))
  const [session] = await rig.hub.registry.sessions.all()
  assert.deepEqual([session?.via, session?.operator], ['cli', 'operator:ann'])
  const again = await rig.machine.run(['login', '--hub', rig.url], typing(link))
  assert.deepEqual([again.code, again.err.includes('MESH_HUB_SESSION')], [1, true], 'the link is used')
  assert.equal((await rig.remote('devices')).code, 0, 'and the session is as it was')
})

test('a link of another hub goes nowhere, and what is none is told without being shown', async (t) => {
  const rig = await remoteRig(t)
  const link = await rig.link()
  for (const [typed, says] of [
    ['', /no link of/],
    ['not-a-link', /no link of/],
    [`https://a.example/login#other=${link}`, /no link of/],
  ] as const) {
    const { code, err } = await rig.machine.run(['login', '--hub', rig.url], typing(typed))
    assert.equal(code, 2, typed)
    assert.match(err, says)
    assert.ok(!err.includes(link))
  }
  const other = await rig.machine.run(
    ['login', '--hub', 'https://b.example'],
    typing(`https://a.example/login#login=${link}`),
  )
  assert.equal(other.code, 2)
  assert.match(other.err, /the link is for https:\/\/a\.example, and --hub says https:\/\/b\.example/)
  assert.equal(fs.existsSync(rig.machine.savedLogins), false)
})

test('where the session cannot be kept, the link is not used up', async (t) => {
  const rig = await remoteRig(t)
  const link = await rig.link()
  fs.writeFileSync(path.dirname(rig.machine.savedLogins), 'a file where the folder should be')
  const { code, err } = await rig.machine.run(['login', '--hub', rig.url], typing(link))
  assert.deepEqual([code, err.includes('MESH_FILE_UNWRITABLE')], [1, true], err)
  const elsewhere = makeMachine(t)
  assert.equal((await elsewhere.run(['login', '--hub', rig.url], typing(link))).code, 0)
  const nowhere = await elsewhere.run(['devices', '--hub', rig.url], { savedLogins: undefined })
  assert.match(nowhere.err, /neither XDG_CONFIG_HOME nor HOME/)
})

test('who logs in anew ends the session of before; the logout ends it at the hub and here', async (t) => {
  const rig = await remoteRig(t)
  await rig.enter()
  await rig.enter()
  assert.equal((await rig.hub.registry.sessions.all()).length, 1)
  const before = readSaved(rig.machine)
  assert.match((await rig.remote('logout')).out, /^logged out of /)
  assert.deepEqual(await rig.hub.registry.sessions.all(), [])
  assert.deepEqual(readSaved(rig.machine), {})
  assert.match((await rig.remote('devices')).err, /MESH_HUB_SESSION: nobody is logged in to http/)
  writeSaved(rig.machine, before)
  const stolen = await rig.remote('devices')
  assert.equal(stolen.code, 1)
  assert.match(stolen.err, /MESH_HUB_SESSION: .*the session is over/, 'a copy from before the logout')
  assert.deepEqual(await rig.remote('logout'), {
    code: 0,
    out: `logged out of ${rig.url}\n`,
    err: '',
  })
  assert.match((await rig.remote('logout')).out, /^nobody was logged in/)
  assert.match((await rig.machine.run(['logout'])).err, /needs --hub/)
})

test('a session that an admin ends, or that is too old, is good for nothing', async (t) => {
  const rig = await remoteRig(t)
  await rig.enter()
  await rig.local('sessions', 'end', 'operator:ann')
  assert.match((await rig.remote('audit')).err, /MESH_HUB_SESSION/)
  await rig.enter()
  const { [rig.url]: login } = readSaved(rig.machine)
  writeSaved(rig.machine, { [rig.url]: { ...login!, endsMs: 1 } })
  const late = await rig.remote('audit')
  assert.deepEqual([late.code, late.err.includes('was over at 1970-01-01 00:00:00Z')], [1, true], late.err)
})

test('a file that others can read is not used, and what is none is told', async (t) => {
  const rig = await remoteRig(t)
  await rig.enter()
  fs.chmodSync(rig.machine.savedLogins, 0o640)
  const { code, err } = await rig.remote('devices')
  assert.equal(code, 2)
  assert.match(err, /is open to others \(mode 640\)/)
  fs.writeFileSync(rig.machine.savedLogins, '{"a": ')
  fs.chmodSync(rig.machine.savedLogins, 0o600)
  assert.match((await rig.remote('devices')).err, /cannot be read; remove it and log in anew/)
  fs.writeFileSync(rig.machine.savedLogins, JSON.stringify({ [rig.url]: { secret: 4 } }))
  assert.match((await rig.remote('devices')).err, /nobody is logged in/)
})

test('a hub that is away is told, and a logout then says how long the session lives on', async (t) => {
  const rig = await remoteRig(t)
  await rig.enter()
  const gone = 'http://127.0.0.1:9'
  writeSaved(rig.machine, { [gone]: readSaved(rig.machine)[rig.url]! })
  const { code, err } = await rig.machine.run(['devices', '--hub', gone])
  assert.equal(code, 1)
  assert.match(err, /MESH_HUB_UNREACHABLE: http:\/\/127\.0\.0\.1:9 does not answer.* \[connect ECONNREFUSED/)
  const out = await rig.machine.run(['logout', '--hub', gone])
  assert.equal(out.code, 1)
  assert.match(out.err, /forgotten here, but the hub does not know .*sessions end operator:ann/)
  assert.deepEqual(readSaved(rig.machine), {})
})
