import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { Publish } from '../../../../../protocols/mqtt/codec/packet.ts'
import { seededRandom } from '../../../../helpers/random.ts'
import type { UpstreamConn } from '../../../../helpers/mqtt/upstream.ts'
import { settle } from '../../../../helpers/sim-clock.ts'
import { bridgePolicy, rig, type Rig, type RouteInput, UP } from '../rig.ts'

const LIVE_FIRST: RouteInput = { ...UP, order: 'live-first' }

const textOf = ({ payload }: Publish): string => Buffer.from(payload).toString()
/** What has come and is not acknowledged; at the end nothing is left in `received`. */
async function published(conn: UpstreamConn): Promise<Publish[]> {
  for (let i = 0; i < 4; i++) await settle()
  return conn.received.splice(0).filter((packet) => packet.type === 'publish')
}
/** Acknowledges in rounds until nothing comes. @returns all that came */
async function drained(conn: UpstreamConn): Promise<string[]> {
  const all: string[] = []
  for (;;) {
    const packets = await published(conn)
    if (packets.length === 0) return all
    all.push(...packets.map(textOf))
    for (const { packetId } of packets) conn.ack('puback', packetId!)
  }
}
async function down(r: Rig): Promise<void> {
  r.upstream.refuse()
  r.upstream.cut()
  await settle()
}
async function up(r: Rig, receiveMaximum = 16, sessionPresent = true): Promise<UpstreamConn> {
  r.upstream.restore()
  return r.reconnected({ sessionPresent, properties: { receiveMaximum } })
}
async function publishMany(r: Rig, word: string, count: number): Promise<void> {
  for (let i = 0; i < count; i++) await r.publish('sensors/a', `${word} ${i}`)
}
const numbersOf = (texts: readonly string[], word: string): number[] =>
  texts.filter((text) => text.startsWith(word)).map((text) => Number(text.split(' ')[1]))
const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i)

test('by default what waited goes first, and everything in the order in which it was published', async (t) => {
  const r = await rig(t, [UP])
  await r.upstream.accepted()
  await down(r)
  await publishMany(r, 'old', 40)
  const conn = await up(r)
  await settle()
  await publishMany(r, 'new', 10)
  assert.deepEqual(await drained(conn), [...upTo(40).map((i) => `old ${i}`), ...upTo(10).map((i) => `new ${i}`)])
})

test('live-first: what is published while the broker is connected does not wait for the backlog, which fills three quarters of the window', async (t) => {
  const r = await rig(t, [LIVE_FIRST])
  await r.upstream.accepted()
  await down(r)
  await publishMany(r, 'old', 100)
  const conn = await up(r)
  assert.deepEqual(
    (await published(conn)).map(textOf),
    upTo(12).map((i) => `old ${i}`),
  )
  await r.publish('sensors/a', 'new 0')
  const [live, ...others] = await published(conn)
  assert.deepEqual([textOf(live!), others.length], ['new 0', 0], 'without any acknowledgement')
  for (let i = 1; i < 20; i++) await r.publish('sensors/a', `new ${i}`)
  const packets = await published(conn)
  assert.deepEqual(packets.map(textOf), ['new 1', 'new 2', 'new 3'], 'within the Receive Maximum')
})

test('live-first: both drain, each in its order, three live messages for one of the backlog', async (t) => {
  const r = await rig(t, [LIVE_FIRST])
  await r.upstream.accepted()
  await down(r)
  await publishMany(r, 'old', 200)
  const conn = await up(r)
  const first = await published(conn)
  await publishMany(r, 'new', 300)
  for (const { packetId } of first) conn.ack('puback', packetId!)
  const all = [...first.map(textOf), ...(await drained(conn))]
  assert.deepEqual(numbersOf(all, 'old'), upTo(200))
  assert.deepEqual(numbersOf(all, 'new'), upTo(300))
  const mixed = all.slice(16, 216)
  const live = numbersOf(mixed, 'new').length
  assert.ok(live >= 130 && live <= 170, `${live} of 200 are live`)
})

test('live-first: a Receive Maximum of 1 serves both, too', async (t) => {
  const r = await rig(t, [LIVE_FIRST])
  await r.upstream.accepted()
  await down(r)
  await publishMany(r, 'old', 30)
  const conn = await up(r, 1)
  const first = await published(conn)
  await publishMany(r, 'new', 30)
  conn.ack('puback', first[0]!.packetId!)
  const all = [...first.map(textOf), ...(await drained(conn))]
  assert.deepEqual([numbersOf(all, 'old'), numbersOf(all, 'new')], [upTo(30), upTo(30)])
  assert.ok(all.indexOf('new 0') < 6, `the first live message came as number ${all.indexOf('new 0')}`)
})

test('live-first: live traffic is not held back by the rate of the replay, and takes nothing of it', async (t) => {
  const r = await rig(t, [LIVE_FIRST], { replay: { messagesPerSec: 10 } })
  await r.upstream.accepted()
  await down(r)
  await publishMany(r, 'old', 50)
  const conn = await up(r, 1_000)
  const all: string[] = []
  for (let second = 0; second < 5; second++) {
    await publishMany(r, 'new', 100)
    all.push(...(await drained(conn)))
    const counts = [numbersOf(all, 'new').length, numbersOf(all, 'old').length] as const
    assert.equal(counts[0], (second + 1) * 100)
    assert.ok(counts[1] >= (second + 1) * 9 && counts[1] <= (second + 1) * 11, `${counts[1]} after ${second} s`)
    await r.clock.advance(1_000)
  }
  all.push(...(await drained(conn)))
  assert.deepEqual(numbersOf(all, 'old'), upTo(50))
})

test('live-first: what was published while connected and did not get through is live still after an outage', async (t) => {
  const r = await rig(t, [LIVE_FIRST])
  await r.upstream.accepted({ properties: { receiveMaximum: 2 } })
  await publishMany(r, 'live', 4)
  await down(r)
  await publishMany(r, 'old', 4)
  const all = await drained(await up(r, 4))
  assert.deepEqual(all.slice(0, 3), ['live 0', 'live 1', 'live 2'])
  assert.deepEqual([numbersOf(all, 'live'), numbersOf(all, 'old')], [upTo(4), upTo(4)])
})

test('live-first: a change of the setting loses nothing; what waits goes first', async (t) => {
  const r = await rig(t, [UP])
  await r.upstream.accepted()
  await down(r)
  await publishMany(r, 'old', 20)
  await r.bridge.apply(bridgePolicy([LIVE_FIRST]))
  await publishMany(r, 'later', 5)
  const conn = await up(r)
  await settle()
  await publishMany(r, 'new', 5)
  const all = await drained(conn)
  assert.deepEqual(
    all.slice(0, 20),
    upTo(20).map((i) => `old ${i}`),
  )
  assert.deepEqual([numbersOf(all, 'later'), numbersOf(all, 'new')], [upTo(5), upTo(5)])
  await down(r)
  await publishMany(r, 'last', 3)
  await r.bridge.apply(bridgePolicy([UP]))
  await publishMany(r, 'end', 3)
  assert.deepEqual(await drained(await up(r)), [...upTo(3).map((i) => `last ${i}`), ...upTo(3).map((i) => `end ${i}`)])
})

const retainsOf = (packets: readonly Publish[]): string[] =>
  packets.map((packet) => `${packet.topic} ${textOf(packet)}${packet.retain ? ' retained' : ''}`)

test('live-first: an older message does not become the retained one in place of a newer', async (t) => {
  const r = await rig(t, [LIVE_FIRST])
  await r.upstream.accepted()
  await down(r)
  for (const topic of ['sensors/a', 'sensors/b']) await r.publish(topic, 'old', { retain: true })
  // Nothing of the backlog goes before the live one has.
  await r.bridge.apply(bridgePolicy([LIVE_FIRST], { replay: { messagesPerSec: 1 } }))
  const conn = await up(r)
  assert.deepEqual(retainsOf(await published(conn)), ['sensors/a old retained'])
  await r.publish('sensors/b', 'new', { retain: true })
  assert.deepEqual(retainsOf(await published(conn)), ['sensors/b new retained'])
  await r.clock.advance(2_000)
  assert.deepEqual(retainsOf(await published(conn)), ['sensors/b old'])
})

test('live-first: where it is not known what went before, what is retained goes again after the backlog', async (t) => {
  const r = await rig(t, [LIVE_FIRST])
  const conn = await r.upstream.accepted()
  await settle()
  await r.publish('sensors/a', '1', { retain: true })
  await published(conn)
  await down(r)
  await r.publish('sensors/b', '1', { retain: true })
  await r.bridge.apply(bridgePolicy([LIVE_FIRST]))
  const next = await r.restart([LIVE_FIRST])
  t.after(() => next.bridge[Symbol.asyncDispose]())
  next.upstream.restore()
  const again = await next.reconnected({ sessionPresent: true })
  const packets = await published(again)
  assert.deepEqual(retainsOf(packets), ['sensors/a 1 retained', 'sensors/b 1 retained'])
  for (const { packetId } of packets) again.ack('puback', packetId!)
  assert.deepEqual(retainsOf(await published(again)), [], 'what it has is not sent twice')
})

test('live-first: an older message that may have gone after a newer is put right when the backlog is sent', async (t) => {
  const r = await rig(t, [LIVE_FIRST])
  await r.upstream.accepted()
  await down(r)
  await r.publish('sensors/a', 'old', { retain: true })
  r.upstream.restore()
  const conn = await r.reconnected({ sessionPresent: true, properties: { receiveMaximum: 1 } })
  await published(conn)
  await r.publish('sensors/a', 'new', { retain: true })
  await down(r)
  const again = await up(r, 10)
  const packets = await published(again)
  assert.deepEqual(retainsOf(packets), ['sensors/a new retained', 'sensors/a old retained'])
  for (const { packetId } of packets) again.ack('puback', packetId!)
  assert.deepEqual(retainsOf(await published(again)), ['sensors/a new retained'])
})

/** An upstream broker over many connections, by the rules of QoS 1 and 2. */
class Ledger {
  readonly delivered: string[] = []
  readonly #begun = new Set<number>()
  readonly #random
  constructor(seed: number) {
    this.#random = seededRandom(seed)
  }
  /** Takes what has come; what it answers is now and then lost with the connection. */
  async take(conn: UpstreamConn, chance: number): Promise<void> {
    for (let i = 0; i < 4; i++) await settle()
    for (const packet of conn.received.splice(0)) {
      const answers = this.#random.float() < chance
      if (packet.type === 'publish') {
        if (packet.qos === 1 || !this.#begun.has(packet.packetId!)) this.delivered.push(textOf(packet))
        if (packet.qos === 2) this.#begun.add(packet.packetId!)
        if (answers) conn.ack(packet.qos === 1 ? 'puback' : 'pubrec', packet.packetId!)
      } else if (packet.type === 'pubrel') {
        this.#begun.delete(packet.packetId)
        if (answers) conn.ack('pubcomp', packet.packetId)
      }
    }
  }
}

for (const seed of [1, 2, 3, 4, 5, 6])
  test(`live-first over cuts, restarts and answers that are lost: nothing lost, QoS 2 once, in order (seed ${seed})`, async (t) => {
    const random = seededRandom(seed)
    const ledger = new Ledger(seed + 100)
    let r = await rig(t, [LIVE_FIRST])
    let conn: UpstreamConn | undefined = await r.upstream.accepted()
    const published: Record<'live' | 'backlog', string[]> = { live: [], backlog: [] }
    for (let step = 0; step < 120; step++) {
      const dice = random.float()
      if (dice < 0.12) {
        if (conn) {
          await down(r)
          conn = undefined
        } else {
          conn = await up(r, 1 + Math.floor(random.float() * 20))
          await settle()
        }
      } else if (dice < 0.15) {
        await down(r)
        conn = undefined
        r = await r.restart([LIVE_FIRST])
        const { bridge } = r
        t.after(() => bridge[Symbol.asyncDispose]())
      } else if (conn && dice < 0.5) await ledger.take(conn, 0.8)
      else
        for (let i = 0; i < 1 + random.float() * 12; i++) {
          const traffic = conn ? 'live' : 'backlog'
          const qos = random.float() < 0.5 ? 1 : 2
          const text = `${traffic} ${published[traffic].length} q${qos}`
          published[traffic].push(text)
          await r.publish('sensors/a', text, { qos })
        }
    }
    for (let tries = 0; tries < 40 && r.bridge.status()[0]!.queued > 0; tries++) {
      if (conn) await down(r)
      conn = await up(r, 20)
      for (let i = 0; i < 40; i++) await ledger.take(conn, 1)
    }
    const firsts = [...new Set(ledger.delivered)]
    for (const traffic of ['live', 'backlog'] as const)
      assert.deepEqual(
        firsts.filter((text) => text.startsWith(traffic)),
        published[traffic],
      )
    assert.ok(published.live.length > 20 && published.backlog.length > 20)
    const twice = ledger.delivered.filter((text, i) => text.endsWith('q2') && ledger.delivered.indexOf(text) < i)
    assert.deepEqual(twice, [])
  })
