import { test } from 'node:test'
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import type { Auth, Connack, Connect } from '../../../../protocols/mqtt/codec/packet.ts'
import { formatHash, hashPassword } from '../../../../protocols/mqtt/users/password-hash.ts'
import { TestBroker } from '../../../helpers/mqtt/broker.ts'
import { ScramClient } from '../../../helpers/mqtt/scram.ts'
import { FilesDisk, line, PASSWORDS, usersOn } from '../../../helpers/mqtt/users.ts'
import { settle } from '../../../helpers/sim-clock.ts'
import { connectPacket } from '../../../helpers/mqtt/peer.ts'

type Peer = ReturnType<TestBroker['open']>
const METHOD = 'SCRAM-SHA-256'
const scramLine = async (name: string, password: string): Promise<string> =>
  `${name}:${formatHash(await hashPassword('scram-sha-256', Buffer.from(password), randomBytes(16)))}`
const LINES = `${await scramLine('ana', 'secret')}\n${await scramLine('bob', 'hunter2')}\n${line('old', 'way')}\n`

const CONNECT: Connect = connectPacket()
const auth = (reason: number, data: Uint8Array, method = METHOD): Auth => ({
  type: 'auth',
  reason,
  properties: { authenticationMethod: method, authenticationData: data },
})

class Site {
  readonly files = new FilesDisk()
  readonly t: TestBroker
  constructor() {
    this.files.write(PASSWORDS, LINES)
    this.t = new TestBroker({ users: usersOn(this.files) })
  }
  open(first: Uint8Array, method = METHOD, how: Parameters<TestBroker['open']>[0] = {}): Peer {
    const peer = this.t.open(how)
    peer.send({ ...CONNECT, properties: { authenticationMethod: method, authenticationData: first } })
    return peer
  }
  async connect(user: string, password: string): Promise<{ peer: Peer; answer: Connack; client: ScramClient }> {
    const client = new ScramClient(user, password)
    const peer = this.open(client.first)
    const step = await peer.take('auth')
    assert.deepEqual([step.reason, step.properties.authenticationMethod], [0x18, METHOD])
    peer.send(auth(0x18, client.final(String(step.properties.authenticationData))))
    return { peer, answer: await peer.take('connack'), client }
  }
}

test('MQTT 5.0 §4.12: a client that knows the password comes in without sending it, and both have proved themselves', async () => {
  const site = new Site()
  const { peer, answer, client } = await site.connect('ana', 'secret')
  assert.deepEqual([answer.reason, answer.properties.authenticationMethod], [0, METHOD])
  assert.equal(client.isServer(answer.properties.authenticationData), true)
  assert.equal((await peer.subscribe('a')).reasons[0], 0)
  assert.equal(
    site.t.metrics.total('mesh_mqtt_authentications_total', { method: 'scram-sha-256', result: 'accepted' }),
    1,
  )
})

test('a wrong password, nobody, and a user with a hash of another kind are refused alike', async () => {
  const site = new Site()
  for (const [user, password] of [
    ['ana', 'wrong'],
    ['eve', 'secret'],
    ['old', 'way'],
  ] as const)
    assert.equal((await site.connect(user, password)).answer.reason, 0x86)
})

test('[MQTT-4.12.0-1] a method that is not offered is 0x8c, also where the listener does not take it', async () => {
  const { first } = new ScramClient('ana', 'secret')
  for (const peer of [
    new Site().open(first, 'GS2-KRB5'),
    new Site().open(first, 'scram-sha-256'),
    new Site().open(first, METHOD, { policy: { listener: { authentication: ['password'] } } }),
  ])
    assert.equal((await peer.take('connack')).reason, 0x8c)
  const none = new TestBroker().open()
  none.send({ ...CONNECT, properties: { authenticationMethod: METHOD, authenticationData: first } })
  assert.equal((await none.take('connack')).reason, 0x8c)
})

test('between CONNECT and CONNACK only AUTH of that method and DISCONNECT come, and nothing large', async () => {
  const { first } = new ScramClient('ana', 'secret')
  for (const send of [
    (peer: Peer) => peer.publish('a', 'x'),
    (peer: Peer) => peer.send({ type: 'pingreq' }),
    (peer: Peer) => peer.send(CONNECT),
    (peer: Peer) => peer.send(auth(0x19, first)),
    (peer: Peer) => peer.send(auth(0x18, first, 'OTHER')),
    (peer: Peer) => peer.publish('a', 'x'.repeat(100_000)),
  ]) {
    const peer = new Site().open(first)
    await peer.take('auth')
    send(peer)
    assert.ok((await peer.take('connack')).reason >= 0x80)
    assert.ok((await peer.outcome).error)
  }
  const leaving = new Site().open(first)
  await leaving.take('auth')
  leaving.disconnect()
  await settle()
  assert.deepEqual([await leaving.seen(), leaving.closed], [[], true])
  assert.equal((await leaving.outcome).error, undefined)
})

test('who says nothing more, or nothing at first, does not stay', async () => {
  const site = new Site()
  const { first } = new ScramClient('ana', 'secret')
  const silent = site.open(first)
  await silent.take('auth')
  await site.t.clock.advance(10_000)
  assert.equal((await silent.take('connack')).reason, 0x89)
  assert.equal((await silent.outcome).error?.code, 'MESH_REQUEST_TIMEOUT')
  const mute = site.t.open()
  mute.send({ ...CONNECT, properties: { authenticationMethod: METHOD } })
  assert.equal((await mute.take('connack')).reason, 0x86)
  const gone = site.open(first)
  await gone.take('auth')
  gone.stream.destroy()
  await settle()
  assert.equal(site.t.broker.stats.connections, 0)
})

test('§4.12.1: a connected client proves itself anew, and goes on with what it does meanwhile', async () => {
  const site = new Site()
  const { peer } = await site.connect('ana', 'secret')
  const client = new ScramClient('ana', 'secret', 'another')
  peer.send(auth(0x19, client.first))
  const step = await peer.take('auth')
  peer.send({ type: 'pingreq' })
  await peer.take('pingresp')
  peer.send(auth(0x18, client.final(String(step.properties.authenticationData))))
  const done = await peer.take('auth')
  assert.equal(done.reason, 0)
  assert.equal(client.isServer(done.properties.authenticationData), true)
  assert.equal(peer.closed, false)
})

test('§4.12.1: a wrong password, another user or method ends the connection', async () => {
  for (const [client, method, reason] of [
    [new ScramClient('ana', 'wrong'), METHOD, 0x87],
    [new ScramClient('bob', 'hunter2'), METHOD, 0x87],
    [new ScramClient('ana', 'secret'), 'OTHER', 0x82],
  ] as const) {
    const { peer } = await new Site().connect('ana', 'secret')
    peer.send(auth(0x19, client.first, method))
    if (method === METHOD) {
      const step = await peer.take('auth')
      peer.send(auth(0x18, client.final(String(step.properties.authenticationData))))
    }
    assert.equal((await peer.take('disconnect')).reason, reason)
  }
})

test('[MQTT-4.12.0-6] AUTH of a client that began without a method is a protocol error, and so is one out of place', async () => {
  const site = new Site()
  const { first } = new ScramClient('ana', 'secret')
  const plain = site.t.open({ policy: { listener: { anonymous: true } } })
  await plain.connect()
  plain.send(auth(0x19, first))
  assert.equal((await plain.take('disconnect')).reason, 0x82)
  const { peer } = await site.connect('ana', 'secret')
  peer.send(auth(0x18, first))
  assert.equal((await peer.take('disconnect')).reason, 0x82)
})

test('a verifier that was changed ends the connection, and one that was changed in between does not count', async () => {
  const site = new Site()
  const { peer } = await site.connect('ana', 'secret')
  const client = new ScramClient('bob', 'hunter2')
  const late = site.open(client.first)
  const step = await late.take('auth')
  site.files.write(PASSWORDS, line('old', 'way'))
  await site.t.clock.advance(2_250)
  assert.deepEqual(await peer.seen(), ['disconnect 0x87'])
  late.send(auth(0x18, client.final(String(step.properties.authenticationData))))
  assert.equal((await late.take('connack')).reason, 0x86)
})
