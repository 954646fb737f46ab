/** mosquitto's acl files: what a real mosquitto and meshlet make of the same file, client and topic, and of mistakes. */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { systemClock, type Random } from '../../../core/os/clock.ts'
import { TimeSlice } from '../../../core/os/time-slice.ts'
import { type Acl, READ, WRITE } from '../../../protocols/mqtt/authorization/acl.ts'
import { parseAclFile } from '../../../protocols/mqtt/authorization/acl-file.ts'
import { findDebianProgram } from '../../../tools/debian.ts'
import { freePorts } from '../../../tools/free-ports.ts'
import { seededRandom } from '../../helpers/random.ts'
import { run, start, temporaryFolder, type Running } from '../programs.ts'
import { Agent, directoryMode, writeResources } from '../package/shipped.ts'
import { aclLines, askBroker, type Decisions, keyOf, ROOT, topicsFor, whoAsks, type Who } from './acl-decisions.ts'

const FILES = 10
const parse = (text: string): Promise<Acl> => parseAclFile(text, new TimeSlice(systemClock))

/** Without a password file mosquitto takes any user for what it says it is. */
async function mosquitto(t: TestContext, acl: string): Promise<{ readonly program: Running; readonly port: number }> {
  const [port] = (await freePorts(1)) as [number]
  const folder = temporaryFolder(t)
  fs.writeFileSync(path.join(folder, 'acl'), acl)
  fs.writeFileSync(
    path.join(folder, 'mosquitto.conf'),
    `user root\nlistener ${port} 127.0.0.1\nallow_anonymous true\nacl_file ${folder}/acl\n`,
  )
  return { program: start(t, findDebianProgram('mosquitto'), ['-c', path.join(folder, 'mosquitto.conf')]), port }
}

function differences(acl: string, one: Decisions, other: Decisions): string[] {
  return [...one].flatMap(([key, value]) =>
    other.get(key) === value ? [] : [`${key}: mosquitto ${value}, meshlet ${other.get(key)}\n${acl}`],
  )
}

for (let seed = 1; seed <= FILES; seed++)
  test(`users, patterns and topics, seed ${seed}: the same decisions as mosquitto`, { timeout: 120_000 }, async (t) => {
    const random = seededRandom(seed)
    const [lines, who] = [aclLines(random), whoAsks(random)]
    const [text, topics] = [lines.join('\n'), topicsFor(random, who, lines)]
    const { program, port } = await mosquitto(t, text)
    await program.listening(port)
    const theirs = await askBroker(t, port, { clientId: 'publisher', user: ROOT }, who, topics)
    const acl = await parse(text)
    const ours = new Map<string, string>()
    for (const one of who) {
      const has = acl.compileFor(one)
      for (const topic of topics)
        ours.set(keyOf(one, topic), `${has(topic, READ) ? 'r' : '-'}${has(topic, WRITE) ? 'w' : '-'}`)
    }
    assert.equal(theirs.size, who.length * topics.length)
    assert.deepEqual(differences(text, theirs, ours), [])
  })

test(
  'users and clients without one, through the shipped agent: the same as through mosquitto',
  { timeout: 240_000 },
  async (t) => {
    for (let seed = 101; seed <= 103; seed++) {
      const random = seededRandom(seed)
      const [lines, who] = [aclLines(random), whoAsks(random)]
      const [text, topics] = [lines.join('\n'), topicsFor(random, who, lines)]
      const root: Who = { clientId: 'publisher', user: ROOT }
      const { program, port } = await mosquitto(t, text)
      await program.listening(port)
      const theirs = await askBroker(t, port, root, who, topics)
      const ours = await askBroker(t, await startAgent(t, text, [root, ...who]), root, who, topics)
      assert.ok(new Set(theirs.values()).size > 1)
      assert.deepEqual(differences(text, theirs, ours), [])
    }
  },
)
/** @returns its port; the password of every user is `x`, in a file as mosquitto_passwd writes it */
async function startAgent(t: TestContext, acl: string, who: readonly Who[]): Promise<number> {
  const [port] = (await freePorts(1)) as [number]
  const passwords = path.join(temporaryFolder(t), 'passwords')
  fs.writeFileSync(passwords, '', { mode: 0o600 })
  for (const user of new Set(who.flatMap((one) => one.user ?? []))) {
    const { code, err } = await run('mosquitto_passwd', ['-b', passwords, user, 'x'])
    assert.equal(code, 0, err)
  }
  const agent = await Agent.create(t, (home, adminPort) => {
    fs.writeFileSync(path.join(home, 'acl'), acl)
    const mqtt = `{aclFile: ${home}/acl, users: {passwordFile: ${passwords}}, listener: {anonymous: true}}`
    return directoryMode(home, adminPort, `mqtt: ${mqtt}\nlisteners: [{name: mqtt, kind: mqtt, port: ${port}}]\n`)
  })
  writeResources(agent.folder, [])
  await agent.start()
  return port
}

test('a file that mosquitto refuses is refused, and one that it takes is taken', { timeout: 240_000 }, async (t) => {
  const random = seededRandom(7)
  const words = [
    'topic',
    'pattern',
    'user',
    'Topic',
    'read',
    'write',
    'readwrite',
    'deny',
    'a/b',
    'a+',
    '+',
    '#',
    '#/x',
    'a/#',
    '%c/x',
    '$SYS/x',
    '#x',
  ]
  const gaps = [' ', ' ', ' ', '  ', '\t', '']
  const pick = (from: readonly string[], chance: Random): string => from[Math.floor(chance.float() * from.length)]!
  const lines = new Set<string>([
    '',
    '   ',
    '\t',
    '# x',
    ' # x',
    'topic',
    'user',
    'user ',
    'topic read',
    'topic read ',
    'topic\ta',
    'topic a\r',
  ])
  while (lines.size < 120) {
    let line = random.float() < 0.2 ? pick(gaps, random) : ''
    for (let i = 1 + Math.floor(random.float() * 4); i > 0; i--) line += pick(words, random) + pick(gaps, random)
    lines.add(line)
  }
  const found: string[] = []
  for (const line of lines) {
    const text = `topic ok\n${line}\nuser last\ntopic ok\n`
    const { program, port } = await mosquitto(t, text)
    const takes = await Promise.race([program.listening(port).then(() => true), program.ended.then(() => false)])
    await program.stop('SIGKILL')
    const weTake = await parse(text).then(
      () => true,
      () => false,
    )
    if (takes !== weTake) found.push(`${JSON.stringify(line)}: mosquitto ${takes}, meshlet ${weTake}`)
  }
  assert.deepEqual(found, [])
})
