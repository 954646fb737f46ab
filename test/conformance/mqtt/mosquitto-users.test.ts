/** Users as whoever comes from mosquitto has them: its password files, its tool, its clients. */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { findDebianProgram } from '../../../tools/debian.ts'
import { freePorts } from '../../../tools/free-ports.ts'
import { createKey, createToken } from '../../helpers/jwt.ts'
import { testCa, type TestCa } from '../../helpers/test-ca.ts'
import { Agent, directoryMode, writeResources } from '../package/shipped.ts'
import { run, start, temporaryFolder, until } from '../programs.ts'

const PSK = '00112233445566778899aabbccddeeff'
const KEY = createKey('ES256', 'k1')
const [REFUSED_311, REFUSED_5] = [/Bad user name or password/i, /Bad username or password|bad user name or password/i]
const NO_USER = /not authori[sz]ed/i

type Ports = { readonly plain: number; readonly open: number; readonly tls: number; readonly psk: number }

class Site {
  readonly agent: Agent
  readonly ports: Ports
  readonly folder: string
  readonly passwords: string
  readonly ca: TestCa

  private constructor(p: Pick<Site, 'agent' | 'ports' | 'folder' | 'passwords' | 'ca'>) {
    this.agent = p.agent
    this.ports = p.ports
    this.folder = p.folder
    this.passwords = p.passwords
    this.ca = p.ca
  }
  static async start(t: TestContext): Promise<Site> {
    const [plain, open, tls, psk] = (await freePorts(4)) as [number, number, number, number]
    const folder = temporaryFolder(t)
    const file = (name: string, content: string): string => {
      fs.writeFileSync(path.join(folder, name), content, { mode: 0o600 })
      return path.join(folder, name)
    }
    const passwords = file('passwords', '')
    const keys = file('psk', `meter-3:${PSK}\n`)
    const ca = testCa()
    const server = ca.issue('site', 'broker', { dnsNames: ['localhost'] })
    const [chain, key, roots] = [
      file('chain.pem', server.chainPem),
      file('key.pem', server.keyPem),
      file('roots.pem', ca.rootsPem),
    ]
    await mosquittoPasswd(passwords, 'ana', 'correct horse')
    await mosquittoPasswd(passwords, 'old', 'salted', ['-H', 'sha512'])
    const issuer = { issuer: 'https://id.example', audiences: ['mqtt'], jwks: { keys: [KEY.jwk] } }
    const agent = await Agent.create(t, (home, adminPort) =>
      directoryMode(
        home,
        adminPort,
        `mqtt:
  users: {passwordFile: ${passwords}, certificateUser: dns-san, pskFile: ${keys}, jwt: {issuers: [${JSON.stringify(issuer)}]}}
  rules:
    - {action: publish, topics: ["u/%u/#", open], effect: allow}
    - {action: subscribe, topics: ["u/#"], effect: allow}
listeners:
  - {name: plain, kind: mqtt, port: ${plain}}
  - {name: open, kind: mqtt, port: ${open}, mqtt: {anonymous: true}}
  - {name: psk, kind: mqtt, port: ${psk}, tls: {mode: psk}}
  - {name: tls, kind: mqtt, port: ${tls}, mqtt: {authentication: [certificate]}, tls: {mode: server, chain: ${chain}, key: ${key}, clientRoots: ${roots}}}
`,
      ),
    )
    writeResources(agent.folder, [])
    await agent.start()
    return new Site({ agent, ports: { plain, open, tls, psk }, folder, passwords, ca })
  }

  /** @returns exit code and what mosquitto_pub said */
  async publish(port: number, topic: string, args: readonly string[] = []): Promise<{ code: number; err: string }> {
    const common = ['-h', 'localhost', '-p', String(port), '-t', topic, '-m', 'x', '-q', '1']
    const { code, err } = await run(findDebianProgram('mosquittoClients'), [...common, ...args])
    return { code: code ?? -1, err }
  }
  async mustPublish(port: number, topic: string, args: readonly string[] = []): Promise<void> {
    assert.deepEqual(await this.publish(port, topic, args), { code: 0, err: '' })
  }
}

async function mosquittoPasswd(
  file: string,
  user: string,
  password: string,
  args: readonly string[] = [],
): Promise<void> {
  const tool = findDebianProgram('mosquitto').replace(/sbin\/mosquitto$/, 'bin/mosquitto_passwd')
  const { code, err } = await run(tool, [...args, '-b', file, user, password])
  assert.equal(code, 0, err)
}

type Version = { readonly v: readonly string[]; readonly refused: RegExp }

async function passwords(t: TestContext, site: Site, { v, refused }: Version): Promise<void> {
  const { plain, open } = site.ports
  await t.test(`${v[1]}: the right password, both kinds of mosquitto's hashes`, async () => {
    await site.mustPublish(plain, 'u/ana/a', [...v, '-u', 'ana', '-P', 'correct horse'])
    await site.mustPublish(plain, 'u/old/a', [...v, '-u', 'old', '-P', 'salted'])
  })
  await t.test(`${v[1]}: a wrong password and an unknown user`, async () => {
    for (const args of [
      ['-u', 'ana', '-P', 'wrong'],
      ['-u', 'eve', '-P', 'correct horse'],
    ]) {
      const { code, err } = await site.publish(plain, 'u/ana/a', [...v, ...args])
      assert.notEqual(code, 0)
      assert.match(err, refused)
    }
  })
  await t.test(`${v[1]}: nobody, where a user is needed and where not`, async () => {
    const { code, err } = await site.publish(plain, 'open', v)
    assert.notEqual(code, 0)
    assert.match(err, NO_USER)
    await site.mustPublish(open, 'open', v)
  })
}

async function tokens(t: TestContext, site: Site, { v, refused }: Version): Promise<void> {
  await t.test(`${v[1]}: a token in the place of the password, and one that has expired`, async () => {
    const { plain } = site.ports
    const nowSec = Math.floor(Date.now() / 1_000)
    const claims = { iss: 'https://id.example', aud: 'mqtt', sub: 'pump-7', exp: nowSec + 600 }
    await site.mustPublish(plain, 'u/pump-7/a', [...v, '-u', 'x', '-P', createToken(KEY, claims)])
    const expired = createToken(KEY, { ...claims, exp: nowSec - 600 })
    assert.match((await site.publish(plain, 'u/pump-7/a', [...v, '-u', 'x', '-P', expired])).err, refused)
  })
}

async function sharedKeys(t: TestContext, site: Site, { v }: Version): Promise<void> {
  await t.test(`${v[1]}: a key that both sides have, and one that is wrong`, async () => {
    const args = (key: string): string[] => [...v, '--psk', key, '--psk-identity', 'meter-3']
    await site.mustPublish(site.ports.psk, 'u/meter-3/a', args(PSK))
    assert.notEqual((await site.publish(site.ports.psk, 'u/meter-3/a', args(PSK.replace('00', 'ff')))).code, 0)
  })
}

async function certificates(t: TestContext, site: Site, { v }: Version): Promise<void> {
  await t.test(`${v[1]}: a certificate is the user, whatever is said besides`, async () => {
    const roots = ['--cafile', path.join(site.folder, 'roots.pem')]
    const client = (name: string): string[] => {
      const { chainPem, keyPem } = site.ca.issue('site', 'press', { dnsNames: [name] })
      const files = Object.entries({ cert: chainPem, key: keyPem }).flatMap(([part, text]) => {
        const file = path.join(site.folder, `${name}-${part}.pem`)
        fs.writeFileSync(file, text, { mode: 0o600 })
        return [`--${part}`, file]
      })
      return [...v, ...roots, ...files]
    }
    await site.mustPublish(site.ports.tls, 'u/press-7/a', client('press-7'))
    await site.mustPublish(site.ports.tls, 'u/press-7/a', [...client('press-7'), '-u', 'ana', '-P', 'wrong'])
    if (v[1] === 'mqttv5')
      assert.match((await site.publish(site.ports.tls, 'u/ana/a', [...client('press-7'), '-u', 'ana'])).err, NO_USER)
  })
}

test("mosquitto_passwd's file and mosquitto's clients", { timeout: 300_000 }, async (t) => {
  const site = await Site.start(t)
  for (const how of [
    { v: ['-V', 'mqttv311'], refused: REFUSED_311 },
    { v: ['-V', 'mqttv5'], refused: REFUSED_5 },
  ]) {
    await passwords(t, site, how)
    await tokens(t, site, how)
    await certificates(t, site, how)
    await sharedKeys(t, site, how)
  }
  await t.test('a user that mosquitto_passwd adds, changes or deletes, while meshlet runs', async () => {
    const may = async (password: string): Promise<boolean> =>
      (await site.publish(site.ports.plain, 'u/new/a', ['-u', 'new', '-P', password])).code === 0
    await mosquittoPasswd(site.passwords, 'new', 'one')
    await until('the new user comes in', () => may('one'), 30_000)
    await mosquittoPasswd(site.passwords, 'new', 'two')
    await until('the new password counts', () => may('two'), 30_000)
    assert.equal(await may('one'), false)
  })
  await t.test(
    'nothing is wrong, and every denial stands in the log with its reason and without its secret',
    async () => {
      assert.deepEqual((await site.agent.status())?.problems, [])
      const { log } = site.agent.process
      assert.match(log, /user ana: the password is wrong/)
      assert.match(log, /user eve: there is no such user/)
      assert.match(log, /it has expired \(exp\)/)
      assert.doesNotMatch(log, /correct horse|salted"/)
    },
  )
})

test("what `meshlet mqtt passwd` writes, mosquitto's broker reads", { timeout: 120_000 }, async (t) => {
  const folder = temporaryFolder(t)
  const file = path.join(folder, 'passwords')
  const agent = await Agent.create(t, (home, adminPort) => directoryMode(home, adminPort, ''))
  const made = await agent.cli(['mqtt', 'passwd', '-c', '-H', 'sha512-pbkdf2', file, 'ana'], {
    input: 'correct horse\n',
  })
  assert.equal(made.code, 0, made.err)
  const [port] = (await freePorts(1)) as [number]
  const conf = path.join(folder, 'mosquitto.conf')
  fs.writeFileSync(conf, `user root\nlistener ${port} 127.0.0.1\npassword_file ${file}\n`)
  const broker = start(t, findDebianProgram('mosquitto'), ['-c', conf])
  await broker.listening(port)
  for (const [password, want] of [
    ['correct horse', true],
    ['wrong', false],
  ] as const) {
    const args = ['-h', '127.0.0.1', '-p', String(port), '-u', 'ana', '-P', password, '-t', 'a', '-m', 'x']
    const { code } = await run(findDebianProgram('mosquittoClients'), args)
    assert.equal(code === 0, want)
  }
})
