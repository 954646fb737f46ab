/** What an operator sees of clients whose session is another broker's, and does to them; their quotas. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { settleUntil } from '../../../helpers/mqtt/peer.ts'
import { Rig, settled, VERSIONS } from '../transparent/rig.ts'

const ALL = { prefix: '', after: undefined, limit: 100 }

test('they are listed beside those of this broker, with the cluster of theirs, until they are gone', async () => {
  const rig = await Rig.start()
  const { operations } = rig.t.broker
  await rig.t.open().connect({ clientId: 'b' })
  const { device } = await rig.connected({
    connect: { clientId: 'a', keepAliveSec: 7, properties: { sessionExpirySec: 60 } },
    connack: { properties: { sessionExpirySec: 50 } },
  })
  const seen = (): unknown[] =>
    operations
      .clients(ALL)
      .items.map(({ clientId, cluster, keepAliveSec, sessionExpirySec, listener, protocol }) => [
        clientId,
        cluster,
        keepAliveSec,
        sessionExpirySec,
        listener,
        protocol,
      ])
  assert.deepEqual(seen()[0], ['a', 'broker', 7, 50, 'mqtt', '5.0'])
  assert.deepEqual(operations.clients(ALL).total, 2)
  assert.deepEqual(
    operations.clients({ ...ALL, limit: 1 }).items.map(({ clientId }) => clientId),
    ['a'],
  )
  device.stream.destroy()
  await settled()
  assert.deepEqual([seen().length, operations.clients(ALL).items[0]!.cluster], [1, ''])
})

test('one id here and behind a broker are two clients, and kicked together', async () => {
  for (const version of VERSIONS) {
    const rig = await Rig.start()
    const { operations } = rig.t.broker
    const own = rig.t.open({ version })
    await own.connect({ clientId: 'x' })
    const { device, broker } = await rig.connected({ version, connect: { clientId: 'x' } })
    assert.deepEqual(
      operations.clients(ALL).items.map(({ clientId, cluster }) => [clientId, cluster]),
      [
        ['x', ''],
        ['x', 'broker'],
      ],
    )
    assert.equal(operations.clients(ALL).total, 1)
    assert.equal(operations.kick('x'), true)
    if (version === 5) assert.equal((await device.take('disconnect')).reason, 0x98)
    await settled()
    assert.deepEqual(operations.clients(ALL).items, [])
    assert.equal((await device.outcome).error?.code, 'MESH_MQTT_KICKED')
    await settleUntil(() => broker.closed)
    assert.equal(operations.kick('x'), false)
  }
})

test('a quota of connections holds for them; who takes over its own id is not counted twice', async () => {
  const rig = await Rig.start()
  const policy = { quotas: [{ maxConnections: 1 }] }
  const first = await rig.connected({ policy, connect: { clientId: 'a' } })
  const second = rig.open({ policy })
  assert.equal((await second.connect({ clientId: 'b' })).reason, 0x97)
  const { device } = await rig.connected({ policy, connect: { clientId: 'a' } })
  assert.equal((await rig.open({ policy }).connect({ clientId: 'a' })).reason, 0x97, 'not more than one at a time')
  first.broker.end()
  await settled()
  device.publish('t', 'x')
  assert.equal(rig.t.broker.operations.clients(ALL).items.length, 1)
  assert.equal(rig.metric('mesh_mqtt_quota_met_total', { quota: 'connections' }), 2)
})
