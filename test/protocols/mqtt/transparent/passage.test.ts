/** What the broker says to a client, who the client is to the broker, and what both are told of limits. */
import { test } from 'node:test'
import { parseProxyHeader } from '../../../../protocols/downstream/proxy-protocol.ts'
import assert from 'node:assert/strict'
import { FilesDisk, line, PASSWORDS, usersOn } from '../../../helpers/mqtt/users.ts'
import { PROXY, Rig, VERSIONS, type Open } from './rig.ts'

const policy: NonNullable<Open>['policy'] = {
  rules: [
    { action: 'receive', topics: ['secret/#'], effect: 'deny' },
    { action: 'receive', effect: 'allow' },
  ],
}

test('a message that the client may not receive is acknowledged for it and counted', async () => {
  for (const version of VERSIONS) {
    const rig = await Rig.start()
    const { device, broker } = await rig.connected({ version, policy })
    const said = version === 5 ? ' 0x87' : ''
    broker.publish('secret/a', 'x')
    broker.publish('secret/a', 'x', { qos: 1, packetId: 1 })
    broker.publish('secret/a', 'x', { qos: 2, packetId: 2 })
    broker.publish('open', 'y', { qos: 2, packetId: 3 })
    assert.deepEqual(await device.seen(), ['publish open y q2 #3'])
    assert.deepEqual(await broker.seen(), [`puback #1${said}`, `pubrec #2${said}`])
    if (version === 5) continue
    broker.ack('pubrel', 2)
    broker.ack('pubrel', 3)
    assert.deepEqual(await device.seen(), ['pubrel #3'])
    assert.deepEqual(await broker.seen(), ['pubcomp #2'])
    assert.equal(rig.metric('mesh_mqtt_messages_dropped_total', { reason: 'not-authorized' }), 3)
  }
})

test('aliases of the broker: what is behind them decides, and the client learns those that it has not seen', async () => {
  const rig = await Rig.start()
  const { device, broker } = await rig.connected({ policy, connect: { properties: { topicAliasMaximum: 4 } } })
  broker.publish('secret/a', '1', { topicAlias: 1 })
  broker.publish('', '2', { topicAlias: 1 })
  broker.publish('open', '3', { topicAlias: 2 })
  broker.publish('', '4', { topicAlias: 2 })
  assert.deepEqual(await device.seen(), ['publish open 3 q0', 'publish  4 q0'])
  rig.t.usePolicy({}, [device])
  broker.publish('', '5', { topicAlias: 1 })
  assert.deepEqual(await device.seen(), ['publish secret/a 5 q0'])
})

test('an empty client id is assigned here, so that policies and the broker speak of the same one', async () => {
  const rig = await Rig.start()
  const device = rig.open()
  const connack = device.connect({ clientId: '' })
  const broker = await rig.upstream.next()
  const { clientId } = await broker.take('connect')
  assert.match(clientId, /^edge-[a-z0-9]{22}$/)
  broker.connack(0)
  assert.equal((await connack).properties.assignedClientId, clientId)
})

test('no side is promised packets or aliases beyond the limits of the listener', async () => {
  const rig = await Rig.start()
  const device = rig.open({ policy: { limits: { maxPacketBytes: 5000, maxTopicAliases: 3 } } })
  const connack = device.connect({
    properties: { topicAliasMaximum: 100, maximumPacketBytes: 9000, receiveMaximum: 7 },
  })
  const broker = await rig.upstream.next()
  const { properties } = await broker.take('connect')
  assert.deepEqual({ ...properties }, { topicAliasMaximum: 3, maximumPacketBytes: 5000, receiveMaximum: 7 })
  broker.connack(0, { properties: { topicAliasMaximum: 100, receiveMaximum: 9 } })
  const got = (await connack).properties
  assert.deepEqual({ ...got }, { topicAliasMaximum: 3, maximumPacketBytes: 5000, receiveMaximum: 9 })
})

test('with sendProxyProtocol the broker is told who the client is, and whose certificate was verified here', async () => {
  const rig = await Rig.start()
  const { peer } = rig.open({ spiffe: 'spiffe://mesh/ns/a/sa/pump' }).conn.tls ?? {}
  const told = async (p: Open): Promise<unknown> => {
    await rig.connected({ host: '192.0.2.7', ...p, proxy: { ...PROXY, sendProxyProtocol: 2 } })
    const read = parseProxyHeader(Buffer.from(rig.upstream.headers.at(-1) ?? '', 'latin1'))
    return 'source' in Object(read) ? { source: Object(read).source, tls: Object(read).tls } : read
  }
  const source = { host: '192.0.2.7', port: 1 }
  assert.deepEqual(await told({}), { source, tls: undefined })
  const named = { ...peer!, subject: 'CN=pump-1,O=Plant' }
  assert.deepEqual(await told({ peer: named }), { source, tls: { commonName: 'pump-1' } })
  const proxied = { commonName: 'pump-2' }
  assert.deepEqual(await told({ peer: named, proxied }), { source, tls: proxied })
  assert.deepEqual(await told({ peer: named, proxied: { commonName: undefined } }), { source, tls: undefined })
  await rig.connected()
  assert.equal(rig.upstream.headers.at(-1), undefined)
})

test('credentials: as they came without users; with users the proved name and no password, unless a setting says so', async () => {
  const credentials = { username: 'ana', password: Buffer.from('secret') }
  const files = new FilesDisk()
  files.write(PASSWORDS, line('ana', 'secret'))
  const seenBy = async (rig: Rig, p: Open = {}): Promise<unknown[]> => {
    const device = rig.open(p)
    void device.connect(credentials).catch(() => undefined)
    const { username, password } = await (await rig.upstream.next()).take('connect')
    return [username, password && Buffer.from(password).toString()]
  }
  assert.deepEqual(await seenBy(await Rig.start()), ['ana', 'secret'])
  const users = await Rig.start({ users: usersOn(files) })
  assert.deepEqual(await seenBy(users), ['ana', undefined])
  assert.deepEqual(await seenBy(users, { proxy: { ...PROXY, forwardCredentials: true } }), ['ana', 'secret'])
  const wrong = users.open()
  assert.equal((await wrong.connect({ username: 'ana', password: Buffer.from('x') })).reason, 0x86)
  assert.equal(users.upstream.isTaken, true)
})

test('a name that was only said does not reach the broker where the node has users', async () => {
  const files = new FilesDisk()
  files.write(PASSWORDS, line('ana', 'secret'))
  const rig = await Rig.start({ users: usersOn(files) })
  const device = rig.open({ policy: { listener: { anonymous: true } } })
  void device.connect({ username: 'root' }).catch(() => undefined)
  assert.equal((await (await rig.upstream.next()).take('connect')).username, undefined)
})
