/**
 * An upstream broker that answers wrongly: whatever it says, nothing is lost, nothing keeps its place in flight for
 * ever, and the status tells.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { Qos, Version } from '../../../../../protocols/mqtt/codec/packet.ts'
import { NO_PROPERTIES } from '../../../../../protocols/mqtt/codec/properties.ts'
import type { UpstreamConn } from '../../../../helpers/mqtt/upstream.ts'
import { settle } from '../../../../helpers/sim-clock.ts'
import { DOWN, type Rig, rig, UP } from '../rig.ts'

const QUEUE = 'up/cloud/edge-1/cloud'

/** Takes what the bridge sends until it is quiet, answers as the standard says, and tells what came. */
async function serve(conn: UpstreamConn): Promise<string[]> {
  const all: string[] = []
  for (let seen = await conn.seen(); seen.length > 0; seen = await conn.seen()) {
    all.push(...seen)
    for (const word of seen) {
      const [, id] = /#(\d+)/.exec(word) ?? []
      const packetId = Number(id)
      if (word.startsWith('publish') && word.includes(' q1 ')) conn.ack('puback', packetId)
      else if (word.startsWith('publish') && word.includes(' q2 ')) conn.ack('pubrec', packetId)
      else if (word.startsWith('pubrel')) conn.ack('pubcomp', packetId)
    }
  }
  return all
}

type Wrong = {
  readonly what: string
  /** Of the message that the bridge has sent as #1. */
  readonly qos: Qos
  /** What the broker says then; a list is said step by step. */
  readonly say: readonly ((conn: UpstreamConn, r: Rig) => void)[]
  /** Undefined: the connection goes on. */
  readonly ends: number | undefined
  /** What goes over the next connection, or over this one, before everything is done. */
  readonly comes: readonly string[]
}
const ack =
  (...said: Parameters<UpstreamConn['ack']>) =>
  (conn: UpstreamConn): void =>
    conn.ack(...said)
const raw =
  (hex: string) =>
  (conn: UpstreamConn): void =>
    conn.raw(hex)
const AGAIN_1 = ['publish sensors/a 1 q1 #1 dup']
const AGAIN_2 = ['publish sensors/a 1 q2 #1 dup', 'pubrel #1']
const PROTOCOL_ERROR = 0x82

const WRONG: readonly Wrong[] = [
  { what: 'PUBACK for QoS 2', qos: 2, say: [ack('puback', 1)], ends: PROTOCOL_ERROR, comes: AGAIN_2 },
  {
    what: 'PUBACK that refuses, for QoS 2',
    qos: 2,
    say: [ack('puback', 1, 0x87)],
    ends: PROTOCOL_ERROR,
    comes: AGAIN_2,
  },
  { what: 'PUBREC for QoS 1', qos: 1, say: [ack('pubrec', 1)], ends: PROTOCOL_ERROR, comes: AGAIN_1 },
  {
    what: 'PUBREC that refuses, for QoS 1',
    qos: 1,
    say: [ack('pubrec', 1, 0x80)],
    ends: PROTOCOL_ERROR,
    comes: AGAIN_1,
  },
  { what: 'PUBCOMP for QoS 1', qos: 1, say: [ack('pubcomp', 1)], ends: PROTOCOL_ERROR, comes: AGAIN_1 },
  { what: 'PUBCOMP before PUBREC', qos: 2, say: [ack('pubcomp', 1)], ends: PROTOCOL_ERROR, comes: AGAIN_2 },
  {
    what: 'PUBCOMP before PUBREL',
    qos: 2,
    say: [
      (conn, r) => {
        r.local.durability.hold()
        conn.ack('pubrec', 1)
      },
      ack('pubcomp', 1),
      (_, r) => r.local.durability.resume(),
    ],
    ends: PROTOCOL_ERROR,
    comes: ['pubrel #1'],
  },
  {
    what: 'PUBREC again',
    qos: 2,
    say: [ack('pubrec', 1), ack('pubrec', 1)],
    ends: PROTOCOL_ERROR,
    comes: ['pubrel #1'],
  },
  {
    what: 'PUBACK behind PUBREC',
    qos: 2,
    say: [ack('pubrec', 1), ack('puback', 1)],
    ends: PROTOCOL_ERROR,
    comes: ['pubrel #1'],
  },
  { what: 'PUBACK twice', qos: 1, say: [ack('puback', 1), ack('puback', 1)], ends: undefined, comes: [] },
  {
    what: 'PUBCOMP twice',
    qos: 2,
    say: [ack('pubrec', 1), ack('pubcomp', 1), ack('pubcomp', 1)],
    ends: undefined,
    comes: ['pubrel #1'],
  },
  {
    what: 'PUBACK of an unknown packet id',
    qos: 1,
    say: [ack('puback', 77)],
    ends: undefined,
    comes: [],
  },
  { what: 'PUBCOMP of an unknown packet id', qos: 1, say: [ack('pubcomp', 77)], ends: undefined, comes: [] },
  {
    what: 'PUBREC of an unknown packet id',
    qos: 1,
    say: [ack('pubrec', 77)],
    ends: undefined,
    comes: ['pubrel #77 0x92'],
  },
  {
    what: 'PUBREC of an unknown packet id that refuses',
    qos: 1,
    say: [ack('pubrec', 77, 0x80)],
    ends: undefined,
    comes: [],
  },
  {
    what: 'PUBREL of an unknown packet id',
    qos: 1,
    say: [ack('pubrel', 77)],
    ends: undefined,
    comes: ['pubcomp #77 0x92'],
  },
  { what: 'PUBACK with packet id 0', qos: 1, say: [raw('40 02 00 00')], ends: 0x81, comes: AGAIN_1 },
  {
    what: 'PUBACK with a code that there is not',
    qos: 1,
    say: [raw('40 03 00 01 42')],
    ends: PROTOCOL_ERROR,
    comes: AGAIN_1,
  },
  { what: 'PUBACK that is full', qos: 1, say: [ack('puback', 1, 0x97)], ends: 0, comes: AGAIN_1 },
  { what: 'PUBREC that is full', qos: 2, say: [ack('pubrec', 1, 0x97)], ends: 0, comes: AGAIN_2 },
  { what: 'a second CONNACK', qos: 1, say: [raw('20 03 00 00 00')], ends: PROTOCOL_ERROR, comes: AGAIN_1 },
  { what: 'CONNECT', qos: 1, say: [raw('10 02 00 00')], ends: PROTOCOL_ERROR, comes: AGAIN_1 },
  { what: 'SUBSCRIBE', qos: 1, say: [raw('82 05 00 01 00 00 00')], ends: PROTOCOL_ERROR, comes: AGAIN_1 },
  { what: 'AUTH, unasked', qos: 1, say: [raw('f0 00')], ends: PROTOCOL_ERROR, comes: AGAIN_1 },
  { what: 'PINGRESP, unasked', qos: 1, say: [raw('d0 00')], ends: undefined, comes: [] },
  {
    what: 'SUBACK, unasked',
    qos: 1,
    say: [(conn) => conn.send({ type: 'suback', packetId: 9, reasons: [0], properties: NO_PROPERTIES })],
    ends: undefined,
    comes: [],
  },
  {
    what: 'a topic alias, where none is taken [MQTT-3.1.2-26]',
    qos: 1,
    say: [raw('30 0a 00 03 63 2f 64 03 23 00 01 78')],
    ends: 0x94,
    comes: AGAIN_1,
  },
  {
    what: 'PUBLISH to a topic with a wildcard',
    qos: 1,
    say: [raw('30 06 00 03 63 2f 23 00')],
    ends: 0x90,
    comes: AGAIN_1,
  },
  { what: 'PUBLISH with QoS 3', qos: 1, say: [raw('36 08 00 03 63 2f 64 00 01 00')], ends: 0x81, comes: AGAIN_1 },
  {
    what: 'a packet that is larger than announced and no PUBLISH',
    qos: 1,
    say: [raw('e0 81 80 40')],
    ends: 0x95,
    comes: AGAIN_1,
  },
]

async function sent(t: Parameters<typeof rig>[0], version: Version, qos: Qos) {
  const r = await rig(t, [UP], version === 4 ? { protocol: '3.1.1' } : {})
  const conn = await r.upstream.accepted()
  await r.publish('sensors/a', '1', { qos })
  assert.deepEqual(await conn.seen(), [`publish sensors/a 1 q${qos} #1`])
  return { r, conn, queue: r.local.durability.queue(QUEUE)! }
}

for (const { what, qos, say, ends, comes } of WRONG)
  test(`an upstream that sends ${what}: ${ends === undefined ? 'the connection goes on' : 'the connection ends, and what is not done comes again'}`, async (t) => {
    const { r, conn, queue } = await sent(t, 5, qos)
    for (const one of say) {
      one(conn, r)
      await settle()
    }
    const told = await conn.seen()
    let next = conn
    if (ends !== undefined) {
      if (ends > 0) assert.equal(told.at(-1), `disconnect 0x${ends.toString(16)}`)
      assert.equal(conn.closed, true)
      assert.equal(queue.depth, 1, 'what was not done is kept')
      await settle()
      assert.equal(r.bridge.status()[0]?.state, 'waiting')
      assert.notEqual(r.bridge.status()[0]?.error, undefined)
      next = await r.reconnected({ sessionPresent: true })
    }
    const went = [...(ends === undefined ? told : []), ...(await serve(next))]
    assert.deepEqual(went, comes)
    if (ends === undefined && queue.depth > 0) next.ack('puback', 1)
    await settle()
    assert.deepEqual([next.closed, queue.depth, r.bridge.status()[0]?.setAside], [false, 0, 0])
    await r.publish('sensors/a', '2', { qos })
    assert.deepEqual((await serve(next)).slice(0, 1), [`publish sensors/a 2 q${qos} #2`])
    await settle()
    assert.equal(queue.depth, 0)
  })

test('3.1.1: a wrong answer ends the connection without a word, and the message comes again', async (t) => {
  const { r, conn, queue } = await sent(t, 4, 2)
  conn.ack('puback', 1)
  assert.deepEqual([await conn.seen(), conn.closed, queue.depth], [[], true, 1])
  assert.deepEqual(await serve(await r.reconnected({ sessionPresent: true })), AGAIN_2)
})

test('a broker that answers one message wrongly each time has it set aside, and the others go on', async (t) => {
  const { r, conn, queue } = await sent(t, 5, 2)
  await r.publish('sensors/a', 'good')
  let ends = 0
  for (let one = conn; queue.depth > 0; ends++) {
    const words = await one.seen()
    if (words.some((word) => word.startsWith('publish sensors/a 1 ')) || ends === 0) one.ack('puback', 1)
    else await serve(one)
    await settle()
    if (words.some((word) => word.includes('good')) && queue.depth > 0 && !one.closed) one.ack('puback', 2)
    await settle()
    if (one.closed) one = await r.reconnected({ sessionPresent: true })
    assert.ok(ends < 12, 'it does not go on for ever')
  }
  assert.equal(r.bridge.status()[0]?.setAside, 1)
})

test('a broker that answers PUBREL wrongly each time has said that it has the message: the place is free in the end', async (t) => {
  const { r, conn, queue } = await sent(t, 5, 2)
  conn.ack('pubrec', 1)
  let one = conn
  for (let ends = 0; queue.depth > 0 && ends < 12; ends++) {
    await one.seen()
    one.ack('pubrec', 1)
    await settle()
    if (one.closed) one = await r.reconnected({ sessionPresent: true })
    await settle()
  }
  assert.deepEqual([queue.depth, r.bridge.status()[0]?.setAside, one.closed], [0, 0, false])
})

const SUBSCRIBING: readonly {
  readonly what: string
  readonly say: (conn: UpstreamConn, packetId: number) => void
  readonly ends: boolean
}[] = [
  { what: 'SUBACK with too many codes', say: (c, packetId) => suback(c, packetId, [0, 0]), ends: true },
  { what: 'SUBACK with a code that there is not', say: (c, packetId) => suback(c, packetId, [3]), ends: true },
  {
    what: 'UNSUBACK for SUBSCRIBE',
    say: (c, packetId) => c.send({ type: 'unsuback', packetId, reasons: [0], properties: NO_PROPERTIES }),
    ends: true,
  },
  { what: 'SUBACK without codes', say: (c, packetId) => suback(c, packetId, []), ends: true },
  { what: 'SUBACK of another packet id', say: (c, packetId) => suback(c, packetId + 1, [0]), ends: false },
  { what: 'SUBACK that refuses', say: (c, packetId) => suback(c, packetId, [0x87]), ends: false },
  { what: 'SUBACK with less QoS', say: (c, packetId) => suback(c, packetId, [0]), ends: false },
]
function suback(conn: UpstreamConn, packetId: number, reasons: readonly number[]): void {
  conn.send({ type: 'suback', packetId, reasons, properties: NO_PROPERTIES })
}
for (const { what, say, ends } of SUBSCRIBING)
  test(`an upstream that sends ${what}: ${ends ? 'the connection ends, and all is asked for again' : 'what goes up goes'}`, async (t) => {
    const r = await rig(t, [UP, DOWN])
    await r.publish('sensors/a', '1')
    const conn = await r.upstream.accepted()
    const { packetId } = await conn.take('subscribe')
    say(conn, packetId)
    await settle()
    assert.equal(conn.closed, ends)
    if (ends) {
      assert.deepEqual(await conn.seen(), ['disconnect 0x82'])
      const next = await r.reconnected({ sessionPresent: true })
      await next.granted()
      assert.deepEqual(await serve(next), ['publish sensors/a 1 q1 #1'])
      return
    }
    await r.clock.advance(10_000)
    assert.deepEqual(await serve(conn), ['publish sensors/a 1 q1 #1'])
  })

test('[MQTT-4.3.3-4] PUBREL before PUBREC ends the connection: its packet id is not kept for a message to come', async (t) => {
  const r = await rig(t, [DOWN])
  const conn = await r.upstream.accepted()
  await conn.granted()
  const local = r.local.open()
  await local.connect({ clientId: 'here' })
  await local.subscribe('commands/#')
  r.local.durability.hold()
  conn.publish('commands/a', '1', { qos: 2, packetId: 7 })
  await settle()
  conn.ack('pubrel', 7)
  assert.deepEqual(await conn.seen(), ['disconnect 0x82'])
  r.local.durability.resume()
  const next = await r.reconnected({ sessionPresent: true })
  next.ack('pubrel', 7)
  assert.deepEqual(await next.seen(), ['pubcomp #7'])
  next.publish('commands/a', '2', { qos: 2, packetId: 7 })
  assert.deepEqual(await next.seen(), ['pubrec #7'])
  assert.deepEqual((await local.seen()).slice(-2), ['publish commands/a 1 q0', 'publish commands/a 2 q0'])
})

test('whatever comes before CONNACK ends the connection, and a session after Clean Start is none [MQTT-3.2.2-2]', async (t) => {
  for (const hex of ['40 02 00 01', 'd0 00', '30 04 00 01 61 00', 'e0 00', 'f0 00', '90 04 00 01 00 00']) {
    const r = await rig(t, [UP])
    const conn = await r.upstream.next()
    await conn.take('connect')
    conn.raw(hex)
    await settle()
    assert.equal(conn.closed, true, hex)
    await r.reconnected()
    await settle()
    assert.equal(r.bridge.status()[0]?.state, 'connected')
  }
  const r = await rig(t, [UP], { cleanStart: true })
  const conn = await r.upstream.accepted({ sessionPresent: true })
  await settle()
  assert.equal(conn.closed, true)
})
