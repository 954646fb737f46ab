import { test } from 'node:test'
import assert from 'node:assert/strict'
import { MeshError } from '../../../../core/errors.ts'
import { createLog, type Log } from '../../../../core/log.ts'
import { TestBroker } from '../../../helpers/mqtt/broker.ts'
import { settle } from '../../../helpers/sim-clock.ts'

const KEEP = { cleanStart: false, properties: { sessionExpirySec: 3600 } } as const
const ONLY_OPEN = { rules: [{ action: 'subscribe', topics: ['open/#'], effect: 'allow' }] } as const
const NO_WILLS = { rules: [{ action: 'publish', topics: ['open/#'], effect: 'allow' }] } as const
const will = (
  delaySec: number,
): {
  will: {
    topic: string
    payload: Buffer
    qos: 0
    retain: false
    delaySec: number
    properties: Uint8Array
    messageExpirySec: undefined
  }
} => ({
  will: {
    topic: 'secret/will',
    payload: Buffer.from('w'),
    qos: 0,
    retain: false,
    delaySec,
    properties: new Uint8Array(0),
    messageExpirySec: undefined,
  },
})

function logTo(lines: Record<string, unknown>[]): Log {
  return createLog('debug', {
    write: (line: string) => {
      lines.push(JSON.parse(line) as Record<string, unknown>)
    },
  })
}

for (const filter of ['secret/#', '#', '$share/g/secret/+', '+/a']) {
  for (const keep of [KEEP, { cleanStart: true }]) {
    test(`a subscription to ${filter} that the rules take away stops delivering at once, and is told (${keep.cleanStart ? 'clean start' : 'kept session'})`, async () => {
      const lines: Record<string, unknown>[] = []
      const t = new TestBroker({ log: logTo(lines) })
      const sub = t.open()
      await sub.connect({ clientId: 'sub', ...keep })
      await sub.subscribe(filter, { qos: 1 })
      await sub.subscribe('open/#')
      const pub = t.open()
      await pub.connect({ clientId: 'pub' })
      pub.publish('secret/a', 'before')
      assert.deepEqual(await sub.seen(), ['publish secret/a before q0'])
      t.usePolicy(ONLY_OPEN, [sub])
      pub.publish('secret/a', 'most')
      pub.publish('secret/a', 'least', { qos: 1, packetId: 1 })
      pub.publish('open/x', 'open')
      assert.deepEqual(await sub.seen(), ['publish open/x open q0'])
      assert.equal(sub.closed, false)
      assert.equal(t.metrics.total('mesh_mqtt_subscriptions_revoked_total'), 1)
      assert.deepEqual(
        lines.filter((l) => l['evt'] === 'mqtt.subscription.revoked').map((l) => [l['clientId'], l['filters']]),
        [['sub', [filter]]],
      )
      if (!keep.cleanStart)
        assert.deepEqual(
          t.durability.sessions.get('sub')?.subscriptions.map((s) => s.filter),
          ['open/#'],
        )
    })
  }
}

test('messages that wait for acknowledgements of a client without a kept session are dropped when the rules take their subscription', async () => {
  const t = new TestBroker()
  const sub = t.open({ policy: { limits: { maxInflight: 1 } } })
  await sub.connect({ clientId: 'sub' })
  await sub.subscribe('#', { qos: 1 })
  sub.publish('secret/a', '1', { qos: 1, packetId: 1 })
  sub.publish('secret/b', '2', { qos: 1, packetId: 2 })
  sub.publish('open/c', '3', { qos: 1, packetId: 3 })
  assert.deepEqual(
    (await sub.seen()).filter((s) => s.startsWith('publish')),
    ['publish secret/a 1 q1 #1'],
  )
  t.usePolicy({ ...ONLY_OPEN, limits: { maxInflight: 1 } }, [sub])
  sub.ack('puback', 1)
  assert.deepEqual(await sub.seen(), ['publish open/c 3 q1 #2'])
  assert.equal(t.metrics.total('mesh_mqtt_messages_dropped_total', { reason: 'not-authorized' }), 1)
})

test('what is on its way to the disk when the rules change is not delivered from memory after it', async () => {
  const t = new TestBroker()
  const kept = t.open()
  await kept.connect({ clientId: 'kept', ...KEEP })
  await kept.subscribe('secret/#', { qos: 1 })
  const sub = t.open()
  await sub.connect({ clientId: 'sub' })
  await sub.subscribe('secret/#', { qos: 1 })
  t.durability.hold()
  kept.publish('secret/a', 'x', { qos: 1, packetId: 1 })
  await settle()
  t.usePolicy(ONLY_OPEN, [sub, kept])
  t.durability.resume()
  assert.deepEqual([await sub.seen(), await kept.seen()], [[], ['puback #1']])
  assert.equal(t.durability.queue('session/kept')!.depth, 0, 'it is done with')
})

test('a kept session loses a subscription also while its client is away, and what is queued is asked about when it comes back', async () => {
  for (const how of ['while away', 'on resume', 'at a restart'] as const) {
    let t = new TestBroker()
    const sub = t.open()
    await sub.connect({ clientId: 'sub', ...KEEP })
    await sub.subscribe('#', { qos: 2 })
    sub.disconnect()
    await settle()
    let pub = t.open()
    await pub.connect({ clientId: 'pub' })
    pub.publish('secret/a', '1', { qos: 1, packetId: 1 })
    pub.publish('open/b', '2', { qos: 2, packetId: 2 })
    await pub.seen()
    if (how === 'at a restart') t = t.restart()
    if (how !== 'on resume') t.usePolicy(ONLY_OPEN)
    pub = t.open({ listener: 'other' })
    await pub.connect({ clientId: 'pub2' })
    pub.publish('secret/c', '3', { qos: 1, packetId: 3 })
    await pub.seen()
    assert.equal(t.durability.queue('session/sub')!.depth, how === 'on resume' ? 3 : 2, how)
    const back = t.open({ policy: ONLY_OPEN })
    assert.equal((await back.connect({ clientId: 'sub', ...KEEP })).sessionPresent, true)
    assert.deepEqual(
      (await back.seen()).map((s) => s.replace(' dup', '')),
      ['publish open/b 2 q2 #2'],
      how,
    )
    pub.publish('secret/c', '4', { qos: 1, packetId: 4 })
    assert.deepEqual(await back.seen(), [], how)
  }
})

test('a change of something else asks nothing of sessions that are kept; a listener that is back with other rules is asked', async () => {
  const t = new TestBroker()
  const sub = t.open()
  await sub.connect({ clientId: 'sub', ...KEEP })
  await sub.subscribe('secret/#', { qos: 1 })
  sub.disconnect()
  await settle()
  t.broker.reauthorize()
  const rules = t.policies.get('mqtt')!
  t.policies.delete('mqtt')
  t.broker.reauthorize()
  t.policies.set('mqtt', rules)
  t.broker.reauthorize()
  assert.equal(t.metrics.total('mesh_mqtt_subscriptions_revoked_total'), 0)
  t.policies.delete('mqtt')
  t.broker.reauthorize()
  t.usePolicy(ONLY_OPEN)
  assert.equal(t.metrics.total('mesh_mqtt_subscriptions_revoked_total'), 1)
})

test('a SUBSCRIBE that is on its way to the disk when the rules change is not granted, and nothing retained comes of it', async () => {
  const t = new TestBroker()
  const pub = t.open()
  await pub.connect({ clientId: 'pub' })
  pub.publish('secret/a', 'kept', { qos: 1, packetId: 1, retain: true })
  await pub.seen()
  const sub = t.open()
  await sub.connect({ clientId: 'sub', ...KEEP })
  t.durability.hold()
  const answer = sub.subscribe('secret/#', { qos: 1 })
  await settle()
  t.usePolicy(ONLY_OPEN, [sub])
  t.durability.resume()
  assert.deepEqual((await answer).reasons, [0x87])
  pub.publish('secret/a', 'live')
  assert.deepEqual(await sub.seen(), [])
})

test('who may not connect any more is told 0x87 and is not let in again', async () => {
  const t = new TestBroker()
  const NOBODY = { rules: [{ action: 'connect', effect: 'deny' }] } as const
  const client = t.open()
  await client.connect({ clientId: 'x', ...KEEP, ...will(0) })
  const watcher = t.open({ listener: 'other' })
  await watcher.connect({ clientId: 'watcher' })
  await watcher.subscribe('#')
  t.usePolicy(NOBODY, [client])
  assert.deepEqual(await client.seen(), ['disconnect 0x87'])
  assert.deepEqual(await watcher.seen(), [], 'nor does its will go out')
  assert.equal((await t.open({ policy: NOBODY }).connect({ clientId: 'x' })).reason, 0x87)
})

for (const [code, goes] of [
  ['MESH_PEER_NOT_ALLOWED', false],
  ['MESH_NO_FILTER_CHAIN', false],
  ['MESH_PEER_EXPIRED', true],
  ['MESH_DRAINING', true],
] as const) {
  test(`a connection that the listener ends with ${code} ${goes ? 'leaves its will' : 'leaves no will'}`, async () => {
    const t = new TestBroker()
    const client = t.open()
    await client.connect({ clientId: 'x', ...KEEP, ...will(0) })
    const watcher = t.open({ listener: 'other' })
    await watcher.connect({ clientId: 'watcher' })
    await watcher.subscribe('#')
    const reason = new MeshError(code, 'the test says so')
    client.drain.abort(reason)
    client.abort.abort(reason)
    assert.deepEqual(await watcher.seen(), goes ? ['publish secret/will w q0'] : [])
  })
}

for (const { name, delaySec, restart } of [
  { name: 'at once', delaySec: 0, restart: false },
  { name: 'after its delay', delaySec: 10, restart: false },
  { name: 'after its delay and a restart', delaySec: 10, restart: true },
]) {
  for (const allowed of [true, false]) {
    test(`a will that is due ${name} goes out as the rules of then say: ${allowed ? 'allowed' : 'denied'}`, async () => {
      let t = new TestBroker()
      const client = t.open()
      await client.connect({ clientId: 'x', ...KEEP, ...will(delaySec) })
      if (delaySec === 0 && !allowed) t.usePolicy(NO_WILLS, [client])
      client.stream.destroy()
      await settle()
      if (restart) t = t.restart()
      if (!allowed) t.usePolicy(NO_WILLS)
      const watcher = t.open({ listener: 'other' })
      await watcher.connect({ clientId: 'watcher' })
      await watcher.subscribe('#')
      if (delaySec > 0) await t.clock.advance(delaySec * 1000)
      const seen = await watcher.seen()
      if (delaySec > 0) assert.deepEqual(seen, allowed ? ['publish secret/will w q0'] : [])
      assert.equal(t.metrics.total('mesh_mqtt_messages_dropped_total', { reason: 'not-authorized' }), allowed ? 0 : 1)
    })
  }
}

test('a kept session that was taken away by a clean start leaves a will that is asked about, too', async () => {
  const t = new TestBroker()
  const client = t.open()
  await client.connect({ clientId: 'x', ...KEEP, ...will(60) })
  client.stream.destroy()
  await settle()
  const watcher = t.open({ listener: 'other' })
  await watcher.connect({ clientId: 'watcher' })
  await watcher.subscribe('#')
  await t.open({ policy: NO_WILLS }).connect({ clientId: 'x', cleanStart: true })
  assert.deepEqual(await watcher.seen(), [])
})
