/** A queue with `drop-oldest` that was full while the link was down: the upstream broker is told, in its place. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { UpstreamConn } from '../../../../helpers/mqtt/upstream.ts'
import { settle } from '../../../../helpers/sim-clock.ts'
import { type Rig, rig, UP } from '../rig.ts'

const LOSSY = { ...UP, whenFull: 'drop-oldest' } as const
const TOPIC = 'meshlet/gap/edge-1/cloud'
const NAME = 'up/cloud/edge-1/cloud'
const seen = async (conn: UpstreamConn): Promise<string[]> =>
  (await conn.seen()).map((line) => line.replace(/\{.*"messages":(\d+),"bytes":(\d+).*\}/, '$1 messages, $2 bytes'))
function lose(r: Rig, messages: number, fromMs = 1_000): void {
  const queue = r.local.durability.queue(NAME)!
  const before = queue.gap
  queue.gap = {
    messages: (before?.messages ?? 0) + messages,
    bytes: (before?.bytes ?? 0) + messages * 10,
    fromMs: before?.fromMs ?? fromMs,
    toMs: fromMs + messages,
  }
}

test('after an outage one record comes in front of the first message, with route, number, bytes and times', async (t) => {
  const r = await rig(t, [LOSSY])
  await r.publish('sensors/a', 'gone')
  await r.publish('sensors/a', 'left')
  r.local.durability.queue(NAME)!.done(1)
  lose(r, 7)
  const conn = await r.upstream.accepted()
  const record = await conn.take('publish')
  assert.equal(record.topic, TOPIC)
  assert.deepEqual(JSON.parse(Buffer.from(record.payload).toString()), {
    clientId: 'edge-1/cloud',
    cluster: 'cloud',
    messages: 7,
    bytes: 70,
    from: new Date(1_000).toISOString(),
    to: new Date(1_007).toISOString(),
  })
  assert.deepEqual(await seen(conn), ['publish sensors/a left q1 #2'])
  conn.ack('puback', record.packetId)
  conn.ack('puback', 2)
  await settle()
  assert.equal(r.local.durability.queue(NAME)!.gap, undefined)
})

test('until it is acknowledged it is told again; what was given up meanwhile is told before anything goes past it', async (t) => {
  const r = await rig(t, [LOSSY])
  await r.upstream.accepted()
  lose(r, 2)
  await r.publish('sensors/a', '1')
  r.upstream.cut()
  const conn = await r.reconnected({ sessionPresent: true })
  assert.deepEqual(await seen(conn), [
    `publish ${TOPIC} 2 messages, 20 bytes q1 #65535`,
    'publish sensors/a 1 q1 #1 dup',
  ])
  lose(r, 3)
  await r.publish('sensors/a', '2')
  assert.deepEqual(await seen(conn), [], 'nothing goes past what was not told')
  conn.ack('puback', 65_535)
  assert.deepEqual(await seen(conn), [`publish ${TOPIC} 3 messages, 30 bytes q1 #65535`, 'publish sensors/a 2 q1 #2'])
})

test('a broker that refuses it, or closes the connection over it, does not stop the messages', async (t) => {
  const r = await rig(t, [LOSSY])
  const first = await r.upstream.accepted()
  lose(r, 1)
  await r.publish('sensors/a', '1')
  await first.seen()
  first.ack('puback', 65_535, 0x87)
  assert.equal(r.local.durability.queue(NAME)!.gap, undefined)
  lose(r, 1)
  await r.publish('sensors/a', '2')
  for (let closes = 0; closes < 5; closes++) {
    r.upstream.cut()
    const conn = await r.reconnected({ sessionPresent: true })
    assert.match((await seen(conn))[0]!, /^publish meshlet\/gap/)
  }
  r.upstream.cut()
  const last = await r.reconnected({ sessionPresent: true })
  assert.deepEqual(await seen(last), ['publish sensors/a 1 q1 #1 dup', 'publish sensors/a 2 q1 #2 dup'])
})
