import { test } from 'node:test'
import assert from 'node:assert/strict'
import { listenForDefects } from '../../../../core/defects/guard.ts'
import { MeshError } from '../../../../core/errors.ts'
import { MemoryBudget } from '../../../../core/runtime/memory-budget.ts'
import { settle } from '../../../helpers/sim-clock.ts'
import { TestBroker, WILL } from '../../../helpers/mqtt/broker.ts'
import type { MqttPeer } from '../../../helpers/mqtt/peer.ts'
import { encode, publishPacket } from '../../../../protocols/mqtt/codec/encode.ts'
import { CommitWaiters } from '../../../../protocols/mqtt/session/commit-waiters.ts'
import type { Version } from '../../../../protocols/mqtt/codec/packet.ts'

const KEEP = { cleanStart: false, properties: { sessionExpirySec: 3600 } } as const

async function withSubscriber(
  version: Version = 5,
  policy: Parameters<TestBroker['open']>[0] = {},
): Promise<{ t: TestBroker; sub: MqttPeer; pub: ReturnType<TestBroker['open']> }> {
  const t = new TestBroker()
  const sub = t.open()
  await sub.connect({ clientId: 'sub', ...KEEP })
  await sub.subscribe('q/#', { qos: 2 })
  const pub = t.open({ version, ...policy })
  await pub.connect({ clientId: 'pub', cleanStart: false, properties: version === 5 ? { sessionExpirySec: 100 } : {} })
  return { t, sub, pub }
}

test('no PUBACK and no PUBREC before the commit, and no delivery either', async () => {
  const { t, sub, pub } = await withSubscriber()
  t.durability.hold()
  pub.publish('q/1', 'a', { qos: 1, packetId: 1 })
  pub.publish('q/2', 'b', { qos: 2, packetId: 2 })
  assert.deepEqual([await pub.seen(), await sub.seen()], [[], []])
  t.durability.commit()
  assert.deepEqual(await pub.seen(), ['puback #1', 'pubrec #2'])
  assert.deepEqual(await sub.seen(), ['publish q/1 a q1 #1', 'publish q/2 b q2 #2'])
})

test('appends of many packets run at once and the acknowledgements keep their order [MQTT-4.6.0-2]', async () => {
  const { t, pub } = await withSubscriber()
  const before = t.durability.commits
  t.durability.hold()
  for (let i = 1; i <= 50; i++) pub.publish(i % 7 === 0 ? 'other' : 'q', String(i), { qos: 1, packetId: i })
  await settle()
  assert.equal(t.durability.appends, 43)
  t.durability.commit()
  assert.deepEqual(
    await pub.seen(),
    Array.from({ length: 50 }, (_, i) => `puback #${i + 1}`),
  )
  assert.equal(t.durability.commits - before, 1)
})

for (const version of [4, 5] as const)
  for (const [outcome, answers] of [
    ['is written', ['pubrec #1']],
    ['is refused', version === 5 ? ['pubrec #1 0x80'] : ['pubrec #1']],
  ] as const)
    test(`version ${version}: a QoS 2 message that comes again over a new connection, while it is being written for the old one and ${outcome}, is passed on once`, async () => {
      const { t, sub, pub } = await withSubscriber(version)
      const passing = t.open()
      await passing.connect({ clientId: 'passing' })
      await passing.subscribe('q/#', { qos: 2 })
      t.durability.hold()
      pub.publish('q/1', 'x', { qos: 2, packetId: 1, retain: true })
      await settle()
      const again = t.open({ version })
      await again.connect({
        clientId: 'pub',
        cleanStart: false,
        properties: version === 5 ? { sessionExpirySec: 100 } : {},
      })
      again.publish('q/1', 'x', { qos: 2, packetId: 1, retain: true, dup: true })
      await settle()
      if (outcome === 'is refused') t.durability.fail()
      t.durability.resume()
      await t.clock.advance(20_000)
      assert.deepEqual(await again.seen(), answers)
      const isThere = answers[0] === 'pubrec #1'
      assert.deepEqual(await passing.seen(), isThere ? ['publish q/1 x q2 #1'] : [])
      assert.deepEqual(await sub.seen(), isThere ? ['publish q/1 x q2 #1'] : [])
      assert.equal(t.restart().broker.stats.retained, isThere ? 1 : 0)
    })

test('[MQTT-4.3.3-10] a QoS 2 message that comes twice is passed on once, also after a crash between PUBREC and PUBREL', async () => {
  const { t, pub } = await withSubscriber()
  pub.publish('q', 'once', { qos: 2, packetId: 5 })
  pub.publish('q', 'once', { qos: 2, packetId: 5, dup: true })
  await pub.seen()
  const after = t.restart()
  const again = after.open()
  assert.equal((await again.connect({ clientId: 'pub', ...KEEP })).sessionPresent, true)
  again.publish('q', 'once', { qos: 2, packetId: 5, dup: true })
  assert.deepEqual(await again.seen(), ['pubrec #5'])
  assert.equal(after.durability.queue('session/sub')!.depth, 1)
  again.ack('pubrel', 5)
  assert.deepEqual(await again.seen(), ['pubcomp #5'])
  again.publish('q', 'next', { qos: 2, packetId: 5 })
  await again.seen()
  assert.equal(after.durability.queue('session/sub')!.depth, 2)
})

test('PUBCOMP waits until the id is forgotten durably, and an unknown id is told so', async () => {
  const { t, pub } = await withSubscriber()
  pub.publish('q', 'x', { qos: 2, packetId: 5 })
  await pub.seen()
  t.durability.hold()
  pub.ack('pubrel', 5)
  assert.deepEqual(await pub.seen(), [])
  t.durability.resume()
  assert.deepEqual(await pub.seen(), ['pubcomp #5'])
  pub.ack('pubrel', 6)
  assert.deepEqual(await pub.seen(), ['pubcomp #6 0x92'])
})

test('PUBREL that is repeated while the disk forgets its id asks it once', async (t) => {
  const { t: rig, pub } = await withSubscriber()
  pub.publish('x', 'a', { qos: 2, packetId: 7 })
  assert.deepEqual(await pub.seen(), ['pubrec #7'])
  rig.durability.hold()
  const { mock } = t.mock.method(rig.durability, 'releaseInbound')
  for (let i = 0; i < 1_000; i++) pub.ack('pubrel', 7)
  assert.deepEqual(await pub.seen(), [])
  assert.equal(mock.callCount(), 1)
  rig.durability.commit()
  assert.deepEqual(await pub.seen(), ['pubcomp #7'])
  pub.ack('pubrel', 7)
  assert.deepEqual(await pub.seen(), ['pubcomp #7 0x92'])
})

test('who sends on and on what is only answered, behind what waits for the disk, is not read from', async () => {
  const { t, pub } = await withSubscriber(4)
  pub.publish('q/1', 'a', { qos: 2, packetId: 7 })
  assert.deepEqual(await pub.seen(), ['pubrec #7'])
  t.durability.hold()
  pub.publish('q/1', 'b', { qos: 1, packetId: 8 })
  const again = encode(publishPacket({ topic: 'q/1', payload: Buffer.from('a'), qos: 2, packetId: 7 }), 4)
  for (let i = 0; i < 100; i++) pub.stream.write(Buffer.concat(Array.from({ length: 50 }, () => again)))
  await settle()
  assert.equal(pub.conn.stream.isPaused(), true)
  t.durability.resume()
  for (let i = 0; i < 20; i++) await settle()
  assert.deepEqual([(await pub.seen()).length, pub.conn.stream.isPaused()], [5_001, false])
})

test('a PUBREL that is repeated because its PUBCOMP was lost in a crash is answered as the first one would have been', async () => {
  const { t, pub } = await withSubscriber()
  pub.publish('q', 'x', { qos: 2, packetId: 5 })
  await pub.seen()
  pub.ack('pubrel', 5)
  await pub.seen()
  const again = t.restart().open()
  assert.equal((await again.connect({ clientId: 'pub', ...KEEP })).sessionPresent, true)
  again.ack('pubrel', 5)
  assert.deepEqual(await again.seen(), ['pubcomp #5'])
})

for (const code of ['MESH_MQTT_QUOTA', 'MESH_STORAGE_FULL'] as const) {
  test(`${code}: a client of MQTT 5 is told 0x97 and may go on`, async () => {
    const { t, sub, pub } = await withSubscriber()
    t.durability.refuse(code)
    pub.publish('q', 'a', { qos: 1, packetId: 1 })
    pub.publish('q', 'b', { qos: 2, packetId: 2 })
    assert.deepEqual(await pub.seen(), ['puback #1 0x97', 'pubrec #2 0x97'])
    t.durability.refuse(undefined)
    pub.publish('q', 'b', { qos: 2, packetId: 2 })
    assert.deepEqual([await pub.seen(), await sub.seen()], [['pubrec #2'], ['publish q b q2 #1']])
    assert.equal(t.metrics.total('mesh_mqtt_publishes_refused_total', { reason: 'quota' }), 2)
  })

  test(`${code}: a client of 3.1.1 gets its PUBACK when there is room`, async () => {
    const { t, sub, pub } = await withSubscriber(4)
    t.durability.refuse(code)
    pub.send(
      publishPacket({ topic: 'q', payload: Buffer.from('a'), qos: 1, packetId: 1 }),
      publishPacket({ topic: 'q', payload: Buffer.from('b'), qos: 1, packetId: 2 }),
    )
    await t.clock.advance(20_000)
    pub.publish('q', 'c', { qos: 1, packetId: 3 })
    assert.deepEqual([await pub.seen(), await sub.seen()], [[], []])
    t.durability.refuse(undefined)
    await t.clock.advance(20_000)
    assert.deepEqual(
      [await pub.seen(), await sub.seen()],
      [
        ['puback #1', 'puback #2', 'puback #3'],
        ['publish q a q1 #1', 'publish q b q1 #2', 'publish q c q1 #3'],
      ],
    )
  })
}

test('a client of 3.1.1 whose messages wait for room is read from a little further, and no more', async () => {
  const { t, pub } = await withSubscriber(4)
  t.durability.refuse('MESH_MQTT_QUOTA')
  for (let i = 1; i <= 200; i++) {
    pub.publish('q', 'x', { qos: 1, packetId: i })
    await settle()
  }
  await t.clock.advance(1_000)
  const received = t.metrics.total('mesh_mqtt_messages_received_total', { qos: '1' })
  assert.ok(received >= 62 && received < 70, `${received} of 200`)
  t.durability.refuse(undefined)
  for (let i = 0; i < 20; i++) await t.clock.advance(10_000)
  assert.equal((await pub.seen()).at(-1), 'puback #200')
})
test('a client of 3.1.1 that leaves while its messages wait for room is noticed at once, with its DISCONNECT', async () => {
  for (const isInOrder of [true, false]) {
    const t = new TestBroker()
    const kept = t.open()
    await kept.connect({ clientId: 'kept', ...KEEP })
    await kept.subscribe('q', { qos: 1 })
    const watcher = t.open()
    await watcher.connect({ clientId: 'watcher' })
    await watcher.subscribe('gone')
    const pub = t.open({ version: 4 })
    const will = { ...WILL, topic: 'gone', payload: Buffer.from('w') }
    await pub.connect({ clientId: 'pub', will })
    t.durability.refuse('MESH_MQTT_QUOTA')
    pub.publish('q', 'a', { qos: 1, packetId: 1 })
    await pub.seen()
    if (isInOrder) pub.disconnect()
    pub.stream.end()
    for (let i = 0; i < 4; i++) await settle()
    assert.equal(t.broker.stats.connections, 2)
    assert.deepEqual(await watcher.seen(), isInOrder ? [] : ['publish gone w q0'])
  }
})

const numbered = (qos: 1 | 2, ...texts: string[]): Parameters<MqttPeer['send']> =>
  texts.map((text, i) => publishPacket({ topic: 'q', payload: Buffer.from(text), qos, packetId: i + 1 }))
for (const qos of [1, 2] as const) {
  test(`[MQTT-4.6.0-6] QoS ${qos} of 3.1.1: nothing overtakes a message that waits for room, also what there would be room for`, async () => {
    const { t, sub, pub } = await withSubscriber(4)
    t.durability.refuse('MESH_MQTT_QUOTA', 10)
    pub.send(...numbered(qos, 'a', 'too large for now', 'b', 'also too large', 'c'))
    await t.clock.advance(1_000)
    const word = qos === 1 ? 'puback' : 'pubrec'
    assert.deepEqual([await pub.seen(), await sub.seen()], [[`${word} #1`], [`publish q a q${qos} #1`]])
    t.durability.refuse('MESH_MQTT_QUOTA', 16)
    await t.clock.advance(10_000)
    t.durability.refuse(undefined)
    await t.clock.advance(10_000)
    assert.deepEqual(
      await pub.seen(),
      [2, 3, 4, 5].map((id) => `${word} #${id}`),
    )
    assert.deepEqual(
      await sub.seen(),
      ['too large for now', 'b', 'also too large', 'c'].map((text, i) => `publish q ${text} q${qos} #${i + 2}`),
    )
  })
}

test('[MQTT-4.6.0-6] 3.1.1: when a commit fails that messages were already on their way to, those that are refused meanwhile come behind them', async () => {
  const { t, sub, pub } = await withSubscriber(4)
  t.durability.hold()
  pub.send(...numbered(1, 'a', 'b'))
  await settle()
  t.durability.refuse('MESH_MQTT_QUOTA')
  pub.send(publishPacket({ topic: 'q', payload: Buffer.from('c'), qos: 1, packetId: 3 }))
  await t.clock.advance(10_000)
  t.durability.refuse(undefined)
  t.durability.fail()
  t.durability.resume()
  await t.clock.advance(20_000)
  assert.deepEqual(
    await sub.seen(),
    ['a', 'b', 'c'].map((text, i) => `publish q ${text} q1 #${i + 1}`),
  )
  assert.deepEqual(await pub.seen(), ['puback #1', 'puback #2', 'puback #3'])
})

test('a client that is held and goes away stops being retried, and nothing was acknowledged', async () => {
  const { t, sub, pub } = await withSubscriber(4)
  t.durability.refuse('MESH_MQTT_QUOTA')
  pub.publish('q', 'a', { qos: 1, packetId: 1 })
  await settle()
  pub.abort.abort()
  t.durability.refuse(undefined)
  await t.clock.advance(60_000)
  assert.deepEqual(await sub.seen(), [])
  assert.deepEqual(await pub.seen(), [])
})

test('what came behind a held message and needed no spool is still passed on when the client goes away', async () => {
  const { t, pub } = await withSubscriber(4)
  const live = t.open()
  await live.connect({ clientId: 'live' })
  await live.subscribe('other')
  t.durability.refuse('MESH_MQTT_QUOTA')
  pub.send(
    publishPacket({ topic: 'q', payload: Buffer.from('a'), qos: 1, packetId: 1 }),
    publishPacket({ topic: 'other', payload: Buffer.from('b') }),
  )
  assert.deepEqual(await live.seen(), [])
  pub.stream.destroy()
  assert.deepEqual(await live.seen(), ['publish other b q0'])
})

test('[MQTT-3.3.4-7] more unacknowledged than Receive Maximum ends the connection with 0x93', async () => {
  const { t, pub } = await withSubscriber(5, { policy: { limits: { receiveMaximum: 2 } } })
  t.durability.hold()
  for (const packetId of [1, 2, 3]) pub.publish('q', 'x', { qos: 1, packetId })
  assert.deepEqual(await pub.seen(), ['disconnect 0x93'])
})

test('what breaks while a client waits for room ends its connection: it is not held for ever, and nothing was acknowledged', async () => {
  const { t, sub, pub } = await withSubscriber(4)
  const defects: string[] = []
  using _ = listenForDefects((_part, error) => {
    defects.push(error.message)
  })
  let asked = 0
  t.broker.attach({
    filter: 'q',
    queue: await t.durability.createQueue('up'),
    origin: 'up',
    make: (message) => {
      if (++asked > 1) throw new Error('of the test')
      return message
    },
  })
  t.durability.refuse('MESH_MQTT_QUOTA')
  pub.publish('q', 'a', { qos: 1, packetId: 1 })
  await settle()
  t.durability.refuse(undefined)
  await t.clock.advance(1_000)
  assert.deepEqual([await pub.seen(), await sub.seen()], [[], []])
  assert.deepEqual([pub.closed, defects.map((text) => text.includes('of the test'))], [true, [true]])
})

test('aliases count against the memory budget until the connection ends, and topics without one do not', async () => {
  const budget = new MemoryBudget({ maxBytes: 1024 * 1024 })
  const t = new TestBroker({ budget })
  const pub = t.open()
  await pub.connect({ clientId: 'pub' })
  const before = budget.heldBytes
  pub.publish('q/long', '1')
  await settle()
  assert.equal(budget.heldBytes, before)
  pub.publish('q/long', '2', { topicAlias: 3 })
  pub.publish('q', '3', { topicAlias: 3 })
  await settle()
  assert.equal(budget.heldBytes, before + 1)
  pub.stream.destroy()
  await settle()
  assert.equal(budget.heldBytes, 0)
})

test('topic aliases stand for the topic on this connection only, up to the announced maximum', async () => {
  const { sub, pub } = await withSubscriber()
  pub.publish('q/long', '1', { topicAlias: 3 })
  pub.publish('', '2', { topicAlias: 3 })
  assert.deepEqual(await sub.seen(), ['publish q/long 1 q0', 'publish q/long 2 q0'])
  pub.publish('q', '3', { topicAlias: 33 })
  assert.deepEqual(await pub.seen(), ['disconnect 0x94'])
})

test('what policy forbids: 0x87 for MQTT 5, the end of the connection for 3.1.1, nothing delivered', async () => {
  for (const version of [4, 5] as const) {
    const { t, sub, pub } = await withSubscriber(version, {
      policy: { rules: [{ action: 'publish', topics: ['q/mine'], effect: 'allow' }] },
    })
    pub.publish('q/mine', 'yes')
    pub.publish('q/other', 'no')
    pub.publish('q/other', 'no', { qos: 1, packetId: 1 })
    assert.deepEqual(await pub.seen(), version === 5 ? ['puback #1 0x87'] : [])
    assert.equal(pub.closed, version === 4)
    assert.deepEqual(await sub.seen(), ['publish q/mine yes q0'])
    assert.equal(t.metrics.total('mesh_mqtt_publishes_refused_total', { reason: 'not-authorized' }), 2)
  }
})

for (const topic of ['$SYS/broker/uptime', '$share/g/a']) {
  test(`nobody but the broker publishes to ${topic}, and no will does`, async () => {
    const t = new TestBroker()
    const [c, sub] = [t.open(), t.open()]
    await sub.connect({ clientId: 'sub' })
    await sub.subscribe('$SYS/#')
    await c.connect({ clientId: 'c' })
    c.publish(topic, 'x')
    c.publish(topic, 'x', { qos: 1, packetId: 1 })
    assert.deepEqual([await c.seen(), await sub.seen()], [['puback #1 0x87'], []])
    const w = t.open()
    const will = {
      topic,
      payload: Buffer.from('x'),
      qos: 0,
      retain: false,
      properties: Buffer.alloc(0),
      delaySec: 0,
      messageExpirySec: undefined,
    } as const
    assert.equal((await w.connect({ clientId: 'w', will })).reason, 0x87)
  })
}

test('who waits for one transaction is told in order, and a defect of one ends that one only', async () => {
  const defects: string[] = []
  using _ = listenForDefects((part, error) => defects.push(`${part}: ${error.message}`))
  const waiters = new CommitWaiters()
  const told: string[] = []
  const waiter = (name: string, defect = false): Parameters<CommitWaiters['add']>[1] => ({
    committed: () => {
      if (defect) throw new Error(name)
      told.push(`${name} committed`)
    },
    refused: (err) => told.push(`${name} ${err.code}`),
    close: () => told.push(`${name} closed`),
  })
  const first = Promise.withResolvers<void>()
  const second = Promise.withResolvers<void>()
  waiters.add(first.promise, waiter('a'))
  waiters.add(first.promise, waiter('b', true))
  waiters.add(first.promise, waiter('c'))
  waiters.add(second.promise, waiter('d'))
  second.reject(new MeshError('MESH_STORAGE_FULL', 'full'))
  await settle()
  assert.deepEqual(told.splice(0), ['d MESH_STORAGE_FULL'])
  first.resolve()
  await settle()
  assert.deepEqual(told, ['a committed', 'b closed', 'c committed'])
  assert.deepEqual(defects, ['mqtt: b'])
})

for (const properties of [{}, { sessionExpirySec: 9 }])
  test(`[MQTT-4.3.3-4] PUBREL before PUBREC ends the connection: a message to come would be lost to its packet id (${JSON.stringify(properties)})`, async () => {
    const broker = new TestBroker()
    const sub = broker.open()
    await sub.connect({ clientId: 'sub', cleanStart: false, properties: { sessionExpirySec: 9 } })
    await sub.subscribe('a', { qos: 2 })
    let c = broker.open()
    await c.connect({ clientId: 'c', cleanStart: false, properties })
    broker.durability.hold()
    c.publish('a', '1', { qos: 2, packetId: 5 })
    c.ack('pubrel', 5)
    assert.deepEqual(await c.seen(), ['disconnect 0x82'])
    broker.durability.resume()
    assert.deepEqual(await sub.seen(), ['publish a 1 q2 #1'])
    c = broker.open()
    const { sessionPresent } = await c.connect({ clientId: 'c', cleanStart: false, properties })
    if (sessionPresent) {
      c.ack('pubrel', 5)
      assert.deepEqual(await c.seen(), ['pubcomp #5'])
    }
    c.publish('a', '2', { qos: 2, packetId: 5 })
    assert.deepEqual(await sub.seen(), ['publish a 2 q2 #2'])
  })
