/** A changed agent.yaml while clients are connected: listeners that come, go and move, and users. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import net from 'node:net'
import { once } from 'node:events'
import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt'
import { freePorts } from '../../../tools/free-ports.ts'
import { line } from '../../helpers/mqtt/users.ts'
import { createKey, createToken } from '../../helpers/jwt.ts'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'
import { testCa } from '../../helpers/test-ca.ts'
import { TestAgent, until, type Finally } from '../site.ts'

type Client = { readonly mqtt: MqttClient; readonly told: () => number | undefined; readonly gone: Promise<unknown> }

class Site {
  readonly agent: TestAgent
  readonly folder: string
  readonly #t: Finally
  #users: string | undefined

  constructor(t: Finally) {
    this.#t = t
    this.folder = temporaryFolder(t)
    this.agent = new TestAgent(t, '')
  }
  /** agent.yaml as it is from now on. @param rest of `mqtt` */
  write(listeners: readonly string[], rest = ''): void {
    const users = this.#users === undefined ? '' : `users: ${this.#users}`
    this.agent.yaml = `directory: ${this.folder}\nlisteners: [${listeners.join(', ')}]\nmqtt: {${[users, rest].filter((one) => one !== '').join(', ')}}`
  }
  users(name: string, lines: readonly string[]): void {
    fs.writeFileSync(`${this.folder}/${name}`, lines.join('\n'), { mode: 0o600 })
    this.#users = `{passwordFile: ${this.folder}/${name}, maxRefusalDelayMs: 0}`
  }
  settings(users: string | undefined): void {
    this.#users = users
  }
  async client(port: number, o: { username?: string; password?: string; clientId?: string } = {}): Promise<Client> {
    const mqtt = await connectAsync({ host: '127.0.0.1', port, protocolVersion: 5, reconnectPeriod: 0, ...o })
    let told: number | undefined
    mqtt.on('disconnect', ({ reasonCode }) => (told = reasonCode))
    mqtt.on('error', () => undefined)
    this.#t.after(() => void mqtt.end(true))
    return { mqtt, told: () => told, gone: new Promise((resolve) => void mqtt.once('close', () => resolve(undefined))) }
  }
}

const listener = (name: string, port: number, more = ''): string => `{name: ${name}, kind: mqtt, port: ${port}${more}}`

test('listeners come, go and move; who is connected through one that stays notices nothing', async (t) => {
  const site = new Site(t)
  const [a, b, c, moved] = (await freePorts(4)) as [number, number, number, number]
  site.write([listener('a', a), listener('b', b)])
  const agent = await site.agent.start()
  const [stays, leaves] = [await site.client(a), await site.client(b)]

  site.write([listener('a', a), listener('c', c)])
  assert.deepEqual(await agent.reload(), {
    applied: ['listeners.b', 'listeners.c'],
    needsRestart: [],
    reasons: {},
  })
  await leaves.gone
  assert.equal(leaves.told(), 0x8b)
  await until('the new port is open', () => agent.portOf('c') !== undefined)
  const third = await site.client(c)
  await assert.rejects(once(net.connect(b, '127.0.0.1'), 'connect'), { code: 'ECONNREFUSED' })

  site.write([listener('a', a), listener('c', moved)])
  await agent.reload()
  await third.gone
  await until('it has its new port', () => agent.portOf('c') === moved)
  await site.client(moved)
  await assert.rejects(once(net.connect(c, '127.0.0.1'), 'connect'), { code: 'ECONNREFUSED' })
  assert.ok(stays.mqtt.connected)
  await stays.mqtt.publishAsync('x', 'y', { qos: 1 })
  assert.deepEqual(
    site.agent.problems().filter((code) => code !== 'MESH_LISTENER_OPEN'),
    [],
  )
})

test('a listener takes over the port of one that goes, and a name that was another kind', async (t) => {
  const site = new Site(t)
  const [port] = (await freePorts(1)) as [number]
  site.write([listener('old', port)])
  const agent = await site.agent.start()
  const client = await site.client(port)
  site.write([listener('next', port)])
  await agent.reload()
  await client.gone
  await until('the port is taken over', () => agent.portOf('next') === port)
  await site.client(port)
  site.write([`{name: next, kind: tcp, cluster: gone, port: ${port}}`])
  await agent.reload()
  await until('it is named', () => site.agent.problems().includes('MESH_NO_CLUSTER'))
})

test('users: who was removed or has another password is closed, who is as before stays; none at all lets in anybody', async (t) => {
  const site = new Site(t)
  const [port, free] = (await freePorts(2)) as [number, number]
  const all = [listener('m', port), listener('free', free, ', mqtt: {anonymous: true}')]
  site.users('first', [line('ana', 'a'), line('bob', 'b'), line('eve', 'e')])
  site.write(all)
  const agent = await site.agent.start()
  const [ana, bob, eve, nobody] = [
    await site.client(port, { username: 'ana', password: 'a' }),
    await site.client(port, { username: 'bob', password: 'b' }),
    await site.client(port, { username: 'eve', password: 'e' }),
    await site.client(free),
  ]
  site.users('second', [line('ana', 'other'), line('bob', 'b')])
  site.write(all)
  assert.deepEqual((await agent.reload()).applied, ['mqtt.users.passwordFile'])
  await Promise.all([ana.gone, eve.gone])
  assert.deepEqual([ana.told(), eve.told()], [0x87, 0x87])
  await site.client(port, { username: 'ana', password: 'other' })
  await assert.rejects(site.client(port, { username: 'eve', password: 'e' }), { code: 0x86 })
  assert.deepEqual([bob.mqtt.connected, nobody.mqtt.connected], [true, true])

  site.settings(undefined)
  site.write([listener('m', port), listener('free', free)])
  await agent.reload()
  await bob.gone
  await site.client(port)
  assert.ok(nobody.mqtt.connected, 'neither the users nor its listener refuse it')

  site.users('second', [line('bob', 'b')])
  site.write([listener('m', port), listener('free', free)])
  await agent.reload()
  await nobody.gone
  assert.equal(nobody.told(), 0x87)
})

test('tokens: who came by an issuer that is gone is closed; one that is named again keeps its clients', async (t) => {
  const site = new Site(t)
  const [port] = (await freePorts(1)) as [number]
  const [one, two] = [createKey('ES256', 'one'), createKey('ES256', 'two')]
  const issuer = (name: string, key: typeof one): string =>
    JSON.stringify({ issuer: name, audiences: ['mqtt'], jwks: { keys: [key.jwk] } })
  const token = (iss: string, key: typeof one): string =>
    createToken(key, { iss, aud: 'mqtt', sub: `of-${iss}`, exp: Date.now() / 1_000 + 600 })
  site.settings(`{jwt: {issuers: [${issuer('one', one)}, ${issuer('two', two)}]}}`)
  site.write([listener('m', port)])
  const agent = await site.agent.start()
  const [stays, leaves] = [
    await site.client(port, { username: 'x', password: token('one', one) }),
    await site.client(port, { username: 'x', password: token('two', two) }),
  ]
  site.settings(`{jwt: {issuers: [${issuer('one', one)}]}}`)
  site.write([listener('m', port)])
  await agent.reload()
  await leaves.gone
  assert.deepEqual([leaves.told(), stays.mqtt.connected], [0x87, true])
})

for (const [what, listeners, rest, code, said] of [
  [
    'users',
    (p: number) => [listener('m', p)],
    'users: {passwordFile: /nowhere/users}',
    'MESH_MQTT_USERS_FILE',
    /mqtt\.users\.passwordFile \/nowhere\/users: there is no such file/,
  ],
  [
    'an acl file',
    (p: number) => [listener('m', p, ', mqtt: {aclFile: /nowhere/acl}')],
    '',
    'MESH_MQTT_ACL_FILE',
    /mqtt\.aclFile \/nowhere\/acl: there is no such file/,
  ],
  [
    'a certificate',
    (p: number) => [listener('m', p, ', tls: {mode: server, chain: /nowhere/chain, key: /nowhere/key}')],
    '',
    'MESH_LISTENER_TLS',
    /listeners\.m\.tls: there is no file \/nowhere\/chain/,
  ],
  [
    'a port twice',
    (p: number) => [listener('m', p), listener('n', p)],
    '',
    'MESH_CONFIG_INVALID',
    /listeners\.n: the port .* is that of listeners\.m/,
  ],
] as const)
  test(`nothing of a changed file counts when it names ${what} that cannot be used`, async (t) => {
    const site = new Site(t)
    const [kept, port] = (await freePorts(2)) as [number, number]
    site.write([listener('kept', kept)])
    const agent = await site.agent.start()
    const client = await site.client(kept)
    const before = agent.status().problems.length
    site.write(listeners(port), ['limits: {maxInflight: 7}', rest].filter((one) => one !== '').join(', '))
    await assert.rejects(agent.reload(), (err: { code: string; message: string }) => {
      assert.equal(err.code, code)
      assert.match(err.message, said)
      return true
    })
    assert.ok(site.agent.problems().includes(code), 'the status tells')
    assert.deepEqual([agent.portOf('m'), client.mqtt.connected], [undefined, true])
    await client.mqtt.publishAsync('x', 'y', { qos: 1 })
    site.write([listener('kept', kept)])
    assert.deepEqual((await agent.reload()).applied, [], 'as it was')
    assert.equal(agent.status().problems.length, before)
  })

test('a certificate that was renewed counts for new clients; who is connected stays', async (t) => {
  const site = new Site(t)
  const [port] = (await freePorts(1)) as [number]
  const renew = (): string => {
    const { chainPem, keyPem, rootsPem } = testCa('mesh.test').issue('a', 'b')
    fs.writeFileSync(`${site.folder}/chain.pem`, chainPem)
    fs.writeFileSync(`${site.folder}/key.pem`, keyPem)
    return rootsPem
  }
  const connect = async (ca: string): Promise<MqttClient> => {
    const options: IClientOptions & { checkServerIdentity: () => undefined } = {
      host: '127.0.0.1',
      port,
      protocol: 'mqtts',
      protocolVersion: 5,
      reconnectPeriod: 0,
      ca,
      checkServerIdentity: () => undefined,
    }
    const client = await connectAsync(options)
    t.after(() => void client.end(true))
    return client
  }
  const first = renew()
  site.write([
    listener('m', port, `, tls: {mode: server, chain: ${site.folder}/chain.pem, key: ${site.folder}/key.pem}`),
  ])
  const agent = await site.agent.start()
  const client = await connect(first)
  const second = renew()
  assert.deepEqual((await agent.reload()).applied, ['listeners.m.tls'])
  await connect(second)
  await assert.rejects(connect(first))
  assert.ok(client.connected)
  fs.writeFileSync(`${site.folder}/key.pem`, 'half')
  await assert.rejects(agent.reload(), { code: 'MESH_LISTENER_TLS' })
  await connect(second)
})
