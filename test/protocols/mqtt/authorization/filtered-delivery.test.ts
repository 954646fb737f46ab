/** Subscriptions with topics that their client may not have: what is for it comes, and nothing else, by every way. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { createLog } from '../../../../core/log.ts'
import type { SubscriptionRequest } from '../../../../protocols/mqtt/codec/packet.ts'
import { NEVER_SEC } from '../../../../protocols/mqtt/session/session.ts'
import type { Acl } from '../../../../protocols/mqtt/authorization/acl.ts'
import { parseAclFile } from '../../../../protocols/mqtt/authorization/acl-file.ts'
import { TimeSlice } from '../../../../core/os/time-slice.ts'
import { TestBroker } from '../../../helpers/mqtt/broker.ts'
import { SimClock } from '../../../helpers/sim-clock.ts'
import type { MqttPeer } from '../../../helpers/mqtt/peer.ts'

const acl = (...lines: string[]): Promise<Acl> => parseAclFile(lines.join('\n'), new TimeSlice(new SimClock()))
const ACL = { aclFile: '/acl' }

class Site {
  acl: Acl | undefined
  readonly t: TestBroker
  readonly #writer: Promise<MqttPeer>
  constructor(first: Acl | undefined) {
    this.acl = first
    this.t = new TestBroker({ acls: { find: () => this.acl } })
    const writer = this.t.open({ listener: 'inside' })
    this.#writer = writer.connect({ clientId: 'writer' }).then(() => writer)
  }
  async write(...topics: string[]): Promise<void> {
    const writer = await this.#writer
    for (const [i, topic] of topics.entries()) writer.publish(topic, 'x', { qos: 1, packetId: i + 1 })
    await writer.seen()
  }
  async retain(...topics: string[]): Promise<void> {
    const writer = await this.#writer
    for (const [i, topic] of topics.entries()) writer.publish(topic, 'kept', { qos: 1, packetId: i + 1, retain: true })
    await writer.seen()
  }
  change(next: Acl): void {
    this.acl = next
    this.t.broker.reauthorize()
  }
  filtered(): number {
    return this.t.metrics.total('mesh_mqtt_messages_dropped_total', { reason: 'not-authorized' })
  }
}
const topicsOf = async (client: MqttPeer): Promise<string[]> =>
  (await client.seen()).filter((one) => one.startsWith('publish')).map((one) => one.split(' ')[1]!)

for (const qos of [0, 1, 2] as const)
  for (const kept of [false, true])
    test(`a wide subscription, QoS ${qos}, session ${kept ? 'kept' : 'not kept'}: live, away and retained`, async () => {
      const site = new Site(await acl('topic read open/#', 'topic deny open/secret'))
      await site.retain('open/a', 'closed/a', 'open/secret')
      const client = site.t.open({ policy: ACL })
      const properties = kept ? { sessionExpirySec: NEVER_SEC } : {}
      await client.connect({ properties })
      assert.deepEqual((await client.subscribe('#', { qos })).reasons, [qos])
      assert.deepEqual(await topicsOf(client), ['open/a'])
      for (let id = 1; id <= 5; id++) client.ack('puback', id)
      await site.write('open/b', 'closed/b', 'open/secret')
      assert.deepEqual(await topicsOf(client), ['open/b'])
      for (let id = 1; id <= 5; id++) client.ack('puback', id)
      await client.seen()
      assert.equal(site.filtered(), 4, 'two retained, two live')
      if (!kept || qos === 0) return
      client.stream.destroy()
      await site.write('open/c', 'closed/c', 'open/secret')
      const queue = site.t.durability.queue('session/c')
      assert.deepEqual([queue?.depth, queue?.lastSeq], [1, 3], 'what is not for it takes no room')
      const back = site.t.open({ policy: ACL })
      await back.connect({ cleanStart: false, properties })
      assert.deepEqual(await topicsOf(back), ['open/c'])
    })

test('a kept session that comes back where everything may be received misses nothing that was kept from it', async () => {
  const site = new Site(await acl('topic read open/#', 'topic deny open/secret'))
  const properties = { sessionExpirySec: NEVER_SEC }
  const client = site.t.open({ policy: ACL })
  await client.connect({ properties })
  await client.subscribe('open/#', { qos: 0 })
  // Topics that are met again are remembered, with who gets them.
  for (let times = 0; times < 3; times++) await site.write('open/secret')
  client.stream.destroy()
  const back = site.t.open({})
  await back.connect({ cleanStart: false, properties })
  await site.write('open/secret')
  assert.deepEqual(await topicsOf(back), ['open/secret'])
})

test('a shared subscription gives a message to a member that may have it', async () => {
  const site = new Site(await acl('pattern read %c/#', 'topic read both'))
  const members = new Map<string, MqttPeer>()
  for (const clientId of ['one', 'two']) {
    const client = site.t.open({ policy: ACL })
    await client.connect({ clientId })
    assert.deepEqual((await client.subscribe('$share/g/#', { qos: 0 })).reasons, [0])
    members.set(clientId, client)
  }
  await site.write('one/a', 'one/b', 'two/a', 'one/c', 'nobody/a', 'both', 'both')
  assert.deepEqual(await topicsOf(members.get('one')!), ['one/a', 'one/b', 'one/c', 'both'])
  assert.deepEqual(await topicsOf(members.get('two')!), ['two/a', 'both'])
})

test('a changed file counts from the next message on, in both directions, and for what waits', async () => {
  const site = new Site(await acl('topic read a/#'))
  const client = site.t.open({ policy: ACL })
  const away = site.t.open({ policy: ACL })
  await client.connect({ clientId: 'here' })
  await client.subscribe('#')
  await away.connect({ clientId: 'away', properties: { sessionExpirySec: NEVER_SEC } })
  await away.subscribe('#', { qos: 1 })
  away.stream.destroy()
  await site.write('a', 'b')
  assert.deepEqual(await topicsOf(client), ['a'])
  site.change(await acl('topic read b/#'))
  await site.write('a', 'b')
  assert.deepEqual(await topicsOf(client), ['b'])
  site.change(await acl('topic read a/#', 'topic read b/#'))
  await site.write('a', 'b')
  assert.deepEqual(await topicsOf(client), ['a', 'b'])
  site.change(await acl('topic read b/#'))
  const back = site.t.open({ policy: ACL })
  await back.connect({ clientId: 'away', cleanStart: false, properties: { sessionExpirySec: NEVER_SEC } })
  assert.deepEqual(await topicsOf(back), ['b', 'b'], 'two of a wait in its queue and are not for it any more')
})

test('publish and will go by the file; without a file nobody connects, and subscriptions stay', async () => {
  const site = new Site(await acl('topic write in/#', 'topic read #'))
  const client = site.t.open({ policy: ACL })
  await client.connect({ properties: { sessionExpirySec: NEVER_SEC } })
  await client.subscribe('in/#', { qos: 1 })
  client.publish('in/a', 'x', { qos: 1, packetId: 1 })
  client.publish('out/a', 'x', { qos: 1, packetId: 2 })
  client.publish('out/b', 'x', { qos: 2, packetId: 3 })
  assert.deepEqual(await client.seen(), ['publish in/a x q1 #1', 'puback #1', 'puback #2 0x87', 'pubrec #3 0x87'])
  const will = site.t.open({ policy: ACL })
  const denied = await will.connect({
    clientId: 'will',
    will: {
      topic: 'out/w',
      payload: Buffer.from('x'),
      qos: 0,
      retain: false,
      delaySec: 0,
      messageExpirySec: undefined,
      properties: Buffer.alloc(0),
    },
  })
  assert.equal(denied.reason, 0x87)
  client.stream.destroy()
  site.acl = undefined
  site.t.broker.reauthorize()
  for (const [version, reason] of [
    [5, 0x88],
    [4, 3],
  ] as const) {
    const early = site.t.open({ policy: ACL, version })
    assert.equal((await early.connect({ clientId: `early${version}` })).reason, reason)
  }
  site.change(await acl('topic read #'))
  const back = site.t.open({ policy: ACL })
  const { sessionPresent } = await back.connect({ cleanStart: false, properties: { sessionExpirySec: NEVER_SEC } })
  assert.equal(sessionPresent, true)
  await site.write('in/z')
  assert.ok((await topicsOf(back)).includes('in/z'))
})

test('every denial has its reason code, one line in the log and a count', async () => {
  const lines: Record<string, unknown>[] = []
  const log = createLog('debug', { write: (line: string) => lines.push(JSON.parse(line) as Record<string, unknown>) })
  const warned = (): unknown[] =>
    lines.splice(0).flatMap((line) => (line['level'] === 40 || line['level'] === 'warn' ? line['evt'] : []))
  const t = new TestBroker({ log })
  const policy = {
    rules: [
      { action: 'connect', clientIds: ['ok*'], effect: 'allow' },
      { action: 'publish', topics: ['in/#'], effect: 'allow' },
      { action: 'subscribe', topics: ['out/#'], effect: 'allow' },
    ],
    limits: { maxTopicLevels: 3, maxSubscriptionsPerSession: 2 },
  } as const
  const client = t.open({ policy })
  await client.connect({ clientId: 'ok' })
  warned()
  client.publish('x', '1', { qos: 1, packetId: 1 })
  client.publish('x', '1', { qos: 0 })
  assert.deepEqual(
    [await client.seen(), warned()],
    [['puback #1 0x87'], ['mqtt.publish.denied', 'mqtt.publish.denied']],
  )
  const request = (filter: string): SubscriptionRequest => ({
    filter,
    qos: 0,
    noLocal: false,
    retainAsPublished: false,
    retainHandling: 0,
  })
  const filters = [
    '#',
    'out/a',
    '$share/g/in/#',
    'out/b',
    'out/c',
    'out/1/2/3',
    ...Array.from({ length: 50 }, (_, i) => `no/${i}`),
  ]
  client.send({ type: 'subscribe', packetId: 9, properties: {}, subscriptions: filters.map(request) })
  const { reasons } = await client.take('suback')
  assert.deepEqual(reasons.slice(0, 7), [0x87, 0, 0x87, 0, 0x97, 0x8f, 0x87])
  const line = lines.find((one) => one['evt'] === 'mqtt.subscribe.denied') ?? assert.fail('no line')
  assert.deepEqual([warned(), line['count'], (line['filters'] as string[]).length], [['mqtt.subscribe.denied'], 54, 20])
  assert.deepEqual(
    ['not-authorized', 'quota', 'too-deep'].map((reason) =>
      t.metrics.total('mesh_mqtt_subscriptions_refused_total', { reason }),
    ),
    [52, 1, 1],
  )
  const other = t.open({ policy })
  assert.equal((await other.connect({ clientId: 'no' })).reason, 0x87)
  assert.equal((await other.outcome).error?.code, 'MESH_MQTT_NOT_AUTHORIZED', 'serve.ts has the line')
  assert.equal(t.metrics.total('mesh_mqtt_connects_total', { outcome: 'refused' }), 1)
})

test('a denied message of 3.1.1 ends the connection, or is acknowledged as mosquitto does; nobody gets it', async () => {
  const t = new TestBroker()
  const reader = t.open({ listener: 'inside' })
  await reader.connect({ clientId: 'reader' })
  await reader.subscribe('#', { qos: 2 })
  const rules = [{ action: 'publish', topics: ['in'], effect: 'allow' }] as const
  const publish = async (client: MqttPeer): Promise<string[]> => {
    client.publish('out', '0')
    client.publish('in', '1', { qos: 1, packetId: 1 })
    client.publish('out', '2', { qos: 1, packetId: 2 })
    client.publish('out', '3', { qos: 2, packetId: 3 })
    client.ack('pubrel', 3)
    client.publish('in', '4', { qos: 1, packetId: 4 })
    return client.seen()
  }
  for (const kept of [false, true])
    for (const [deniedPublishes, seen, taken] of [
      ['disconnect', ['puback #1'], ['1']],
      ['acknowledge', ['puback #1', 'puback #2', 'pubrec #3', 'pubcomp #3', 'puback #4'], ['1', '4']],
    ] as const) {
      const client = t.open({ version: 4, policy: { rules, deniedPublishes } })
      await client.connect({ clientId: `${deniedPublishes}${kept}`, cleanStart: !kept })
      assert.deepEqual(await publish(client), seen)
      assert.equal(client.closed, deniedPublishes === 'disconnect')
      assert.deepEqual(
        (await reader.seen()).map((one) => one.split(' ')[2]),
        taken,
      )
    }
})
