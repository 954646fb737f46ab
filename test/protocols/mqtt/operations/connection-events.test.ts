import { test } from 'node:test'
import assert from 'node:assert/strict'
import { createLog } from '../../../../core/log.ts'
import { TestBroker } from '../../../helpers/mqtt/broker.ts'

type Line = Record<string, unknown>
function logged(): { readonly t: TestBroker; readonly lines: Line[]; about(evt: string): Line[] } {
  const lines: Line[] = []
  const log = createLog('info', { write: (line) => lines.push(JSON.parse(line) as Line) })
  return { t: new TestBroker({ log }), lines, about: (evt) => lines.filter((line) => line['evt'] === evt) }
}
const without = (line: Line): Line =>
  Object.fromEntries(Object.entries(line).filter(([name]) => name !== 'time' && name !== 'level'))

test('who connects is told with what it said, and who goes with the reason', async () => {
  const { t, about } = logged()
  const peer = t.open({ version: 4, host: '10.1.2.3', listener: 'plant', spiffe: 'spiffe://a/ns/x/sa/y' })
  await peer.connect({ clientId: 'plc-1', keepAliveSec: 30, cleanStart: false, username: 'said only' })
  assert.deepEqual(about('mqtt.connected').map(without), [
    {
      evt: 'mqtt.connected',
      conn: 'c1',
      clientId: 'plc-1',
      principal: 'spiffe://a/ns/x/sa/y',
      address: '10.1.2.3',
      listener: 'plant',
      protocol: '3.1.1',
      keepAliveSec: 30,
      cleanStart: false,
      sessionPresent: false,
      sessionExpirySec: 604_800,
      msg: 'client connected',
    },
  ])
  peer.disconnect()
  await peer.outcome
  const [gone] = about('mqtt.disconnected').map(without)
  assert.deepEqual(gone, {
    evt: 'mqtt.disconnected',
    conn: 'c1',
    clientId: 'plc-1',
    principal: 'spiffe://a/ns/x/sa/y',
    address: '10.1.2.3',
    reason: 'disconnect',
    why: 'the client said DISCONNECT',
    connectedSec: 0,
    receivedBytes: gone?.['receivedBytes'],
    sentBytes: 4,
    msg: 'client disconnected',
  })
  assert.ok(Number(gone['receivedBytes']) > 20)
})

for (const [reason, why, end] of [
  ['disconnect-with-will', /wants its will/, async (_t, peer) => peer.disconnect(4)],
  ['closed', /without DISCONNECT/, async (_t, peer) => peer.stream.end()],
  ['keep-alive', /nothing was heard/, async (t) => t.clock.advance(1_500_001)],
  ['taken-over', /connected again/, async (t) => t.open().connect({ clientId: 'one' })],
  ['kicked', /by hand/, async (t) => t.broker.operations.kick('one')],
  ['protocol', /second CONNECT/, async (_t, peer) => peer.raw('10 0c 00 04 4d 51 54 54 04 02 00 00 00 00')],
  ['draining', /draining/, async (_t, peer) => peer.drain.abort()],
] as const satisfies readonly (readonly [
  string,
  RegExp,
  (t: TestBroker, peer: ReturnType<TestBroker['open']>) => Promise<unknown>,
])[])
  test(`the reason is ${reason}`, async () => {
    const { t, about } = logged()
    const peer = t.open({ version: reason === 'disconnect-with-will' ? 5 : 4 })
    await peer.connect({ clientId: 'one', keepAliveSec: 1000 })
    await end(t, peer)
    await peer.outcome
    const [line] = about('mqtt.disconnected')
    assert.equal(line?.['reason'], reason)
    assert.match(String(line?.['why']), why)
    assert.equal(t.metrics.total('mesh_mqtt_disconnects_total', { reason }), 1)
    assert.equal(t.metrics.total('mesh_mqtt_disconnects_total'), 1)
  })

test('who is refused is told with the reason, who said nothing is not', async () => {
  const { t, about } = logged()
  const policy = { rules: [{ action: 'connect' as const, clientIds: ['friend'], effect: 'allow' as const }] }
  const stranger = t.open({ policy })
  assert.equal((await stranger.connect({ clientId: 'stranger' })).reason, 0x87)
  await stranger.outcome
  t.open({ policy }).stream.end()
  const lines = about('mqtt.refused')
  assert.deepEqual(
    lines.map((line) => [line['clientId'], line['code']]),
    [['stranger', 'MESH_MQTT_NOT_AUTHORIZED']],
  )
  assert.deepEqual([about('mqtt.connected'), about('mqtt.disconnected')], [[], []])
})

test('packets and bytes are counted by type and direction, payloads apart', async () => {
  const { t } = logged()
  const peer = t.open()
  await peer.connect({ clientId: 'c' })
  await peer.subscribe('a', { qos: 1 })
  peer.publish('a', 'five!', { qos: 1, packetId: 1 })
  assert.deepEqual((await peer.seen()).toSorted(), ['puback #1', 'publish a five! q1 #1'])
  peer.ack('puback', 1)
  peer.send({ type: 'pingreq' })
  assert.deepEqual(await peer.seen(), ['pingresp'])
  const total = (name: string, by: Record<string, string>): number => t.metrics.total(`mesh_mqtt_${name}_total`, by)
  for (const type of ['connect', 'subscribe', 'puback', 'pingreq'])
    assert.equal(total('packets_received', { type }), 1, type)
  for (const type of ['connack', 'suback', 'puback', 'pingresp']) assert.equal(total('packets_sent', { type }), 1, type)
  assert.deepEqual([total('packets_received', {}), total('packets_sent', {})], [4, 4])
  assert.deepEqual([total('bytes_received', { part: 'payload' }), total('bytes_sent', { part: 'payload' })], [5, 5])
  assert.equal(total('bytes_received', { part: 'all' }), peer.conn.receivedBytes)
  assert.equal(total('bytes_sent', { part: 'all' }), peer.conn.sentBytes)
})
