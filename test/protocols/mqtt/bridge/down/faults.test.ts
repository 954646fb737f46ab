/**
 * Messages come down while the disk is full, fails or stands still, the wall clock jumps, the connection breaks and the
 * agent is killed: a ledger of what the upstream broker has had acknowledged and what a kept session has.
 */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import type { Packet, Qos } from '../../../../../protocols/mqtt/codec/packet.ts'
import { publishPacket } from '../../../../../protocols/mqtt/codec/encode.ts'
import { NO_PROPERTIES } from '../../../../../protocols/mqtt/codec/properties.ts'
import { seededRandom } from '../../../../helpers/random.ts'
import { settle } from '../../../../helpers/sim-clock.ts'
import type { UpstreamConn } from '../../../../helpers/mqtt/upstream.ts'
import { DOWN, type Rig, rig } from '../rig.ts'

const SEEDS = 40
const STEPS = 60
const TRUE_MS = 1_700_000_000_000
const DAY_MS = 86_400_000
const NEVER_SEC = 0xffff_ffff
const RECEIVE_MAXIMUM = 100

type Sent = { readonly text: string; readonly qos: 1 | 2; isReleased: boolean }

/** A broker as the standard has it: what is not acknowledged it sends again over the next connection, in order. */
class Upstream {
  readonly #r: () => Rig
  #conn: UpstreamConn | undefined
  #known = 0
  /** It has its CONNACK. */
  #isAccepted = false
  readonly #waiting: { readonly text: string; readonly qos: 1 | 2; readonly expirySec: number | undefined }[] = []
  readonly #flying = new Map<number, Sent & { readonly expirySec: number | undefined }>()
  readonly acknowledged: string[] = []

  constructor(r: () => Rig) {
    this.#r = r
  }
  get owes(): number {
    return this.#waiting.length + this.#flying.size
  }
  publish(text: string, qos: 1 | 2, expirySec: number | undefined): void {
    this.#waiting.push({ text, qos, expirySec })
  }
  async serve(): Promise<void> {
    for (let i = 0; i < 6; i++) {
      await settle()
      const { connections } = this.#r().upstream
      if (connections.length > this.#known) {
        this.#conn = connections.at(-1)!
        this.#conn.isAlive = true
        this.#known = connections.length
        this.#isAccepted = false
      }
      const conn = this.#conn
      if (!conn || conn.closed) continue
      for (const packet of conn.received.splice(0)) this.#take(conn, packet)
    }
  }
  #take(conn: UpstreamConn, packet: Packet): void {
    if (packet.type === 'connect') {
      this.#isAccepted = true
      conn.connack(0, { sessionPresent: this.#known > 1 })
      for (const [packetId, one] of this.#flying)
        if (one.isReleased) conn.ack('pubrel', packetId)
        else this.#send(conn, packetId, true)
    } else if (packet.type === 'subscribe') {
      const reasons = packet.subscriptions.map(({ qos }) => qos)
      conn.send({ type: 'suback', packetId: packet.packetId, reasons, properties: NO_PROPERTIES })
    } else if (packet.type === 'puback' || packet.type === 'pubrec' || packet.type === 'pubcomp') {
      const one = this.#flying.get(packet.packetId)
      assert.ok(one, `${packet.type} of an unknown packet id`)
      assert.ok(packet.reason < 0x80, `${packet.type} refuses`)
      if (packet.type !== 'pubcomp') this.acknowledged.push(one.text)
      if (packet.type === 'pubrec') {
        one.isReleased = true
        conn.ack('pubrel', packet.packetId)
      } else this.#flying.delete(packet.packetId)
    }
    while (this.#waiting.length > 0 && this.#flying.size < RECEIVE_MAXIMUM) {
      let packetId = 1
      while (this.#flying.has(packetId)) packetId++
      this.#flying.set(packetId, { ...this.#waiting.shift()!, isReleased: false })
      this.#send(conn, packetId, false)
    }
  }
  #send(conn: UpstreamConn, packetId: number, dup: boolean): void {
    const { text, qos, expirySec } = this.#flying.get(packetId)!
    const payload = Buffer.from(text)
    conn.send(publishPacket({ topic: 'commands/a', payload, qos, packetId, dup, messageExpirySec: expirySec }))
  }
  /** What waits goes, as far as the window has room. */
  nudge(): void {
    if (this.#conn && !this.#conn.closed && this.#isAccepted) this.#take(this.#conn, { type: 'pingresp' })
  }
}

async function hear(r: Rig): Promise<readonly string[]> {
  const entries = [...r.local.durability.queue('session/keeps')!.entries.values()]
  return entries.map(({ message }) => Buffer.from(message.payload).toString())
}

async function start(t: TestContext): Promise<Rig> {
  const r = await rig(t, [DOWN])
  const policy = { limits: { maxSessionExpirySec: NEVER_SEC } }
  const client = r.local.open({ policy })
  await client.connect({ clientId: 'keeps', cleanStart: false, properties: { sessionExpirySec: NEVER_SEC } })
  await client.subscribe('#', { qos: 2 })
  client.disconnect()
  await settle()
  return r
}

for (let seed = 1; seed <= SEEDS; seed++)
  test(`nothing that came down is lost, or twice with QoS 2, or out of order, whatever disk and clock do (seed ${seed})`, async (t) => {
    const random = seededRandom(seed)
    const below = (count: number): number => Math.floor(random.float() * count)
    let r = await start(t)
    const upstream = new Upstream(() => r)
    const published: { readonly text: string; readonly qos: Qos }[] = []
    const steps: readonly (() => void | Promise<void>)[] = [
      () => {
        for (let i = below(8); i >= 0; i--) {
          const one = { text: `m${published.length + 1}`, qos: below(2) === 0 ? 1 : 2 } as const
          published.push(one)
          upstream.publish(one.text, one.qos, below(3) === 0 ? 10 * 365 * 86_400 : undefined)
        }
        upstream.nudge()
      },
      () =>
        r.local.durability.refuse((['MESH_STORAGE_FULL', 'MESH_MQTT_QUOTA', 'MESH_STORAGE_FAILED'] as const)[below(3)]),
      () => r.local.durability.refuse(undefined),
      () => r.local.durability.hold(),
      () => r.local.durability.resume(),
      () => r.local.durability.fail(),
      () => r.clock.advance(500 + below(2_500)),
      () => r.clock.setWallMs([0, TRUE_MS - DAY_MS, TRUE_MS + DAY_MS, TRUE_MS, TRUE_MS - 3_600_000][below(5)]!),
      () => r.upstream.cut(),
      async () => {
        if (below(3) > 0) return
        r.upstream.cut()
        r = await r.restart([DOWN])
      },
    ]
    for (let i = 0; i < STEPS; i++) {
      await steps[below(3) === 0 ? 0 : below(steps.length)]!()
      await upstream.serve()
    }
    r.local.durability.refuse(undefined)
    r.local.durability.resume()
    for (let i = 0; i < 400 && upstream.owes > 0; i++) {
      await r.clock.advance(1_000)
      await upstream.serve()
      upstream.nudge()
    }
    await r.bridge[Symbol.asyncDispose]()
    assert.equal(upstream.owes, 0, 'everything is acknowledged in the end')
    const heard = await hear(r)
    const first = [...new Set(heard)]
    assert.deepEqual(
      first,
      published.map(({ text }) => text),
      'nothing is lost or out of order',
    )
    for (const { text } of published.filter(({ qos }) => qos === 2))
      assert.equal(heard.filter((one) => one === text).length, 1, `${text} has QoS 2`)
  })
