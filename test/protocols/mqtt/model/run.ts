/** One conversation with the real broker over a simulated network, its disk held or not, and with the model beside it. */
import assert from 'node:assert/strict'
import type { Packet } from '../../../../protocols/mqtt/codec/packet.ts'
import { encode, publishPacket } from '../../../../protocols/mqtt/codec/encode.ts'
import { NO_PROPERTIES } from '../../../../protocols/mqtt/codec/properties.ts'
import { TestBroker } from '../../../helpers/mqtt/broker.ts'
import type { MemoryDurability } from '../../../helpers/mqtt/memory-durability.ts'
import { settle, SimClock } from '../../../helpers/sim-clock.ts'
import { Rig } from '../spool/rig.ts'
import { CLIENTS, ILLEGAL, type Act, type Step, type Told } from './conversation.ts'
import { Model } from './model.ts'
import { connectPacket } from '../../../helpers/mqtt/peer.ts'

const BURST = 12
export const LIMITS = { maxQueuedMessages: 10 }
type Peer = ReturnType<TestBroker['open']>
/** What becomes durable, and when. */
type Disk = { hold(): void; commit(): void; resume(): void; idle(): Promise<void>; end(): Promise<void> }

/** @param file of a spool; undefined: in memory, without bounds */
export async function converse(steps: readonly Step[], file: string | undefined): Promise<void> {
  const { broker, disk } = file === undefined ? inMemory() : await onDisk(file)
  const run = new Run(broker, disk)
  try {
    for (const step of steps) await run.take(step)
  } finally {
    disk.resume()
    await disk.idle()
    await broker.broker[Symbol.asyncDispose]()
    await disk.end()
  }
}

function inMemory(): { broker: TestBroker; disk: Disk } {
  const broker = new TestBroker()
  const { durability } = broker
  const disk: Disk = {
    hold: () => durability.hold(),
    commit: () => durability.commit(),
    resume: () => durability.resume(),
    idle: async () => {
      for (let i = 0; i < 4; i++) await settle()
    },
    end: () => Promise.resolve(),
  }
  return { broker, disk }
}
async function onDisk(file: string): Promise<{ broker: TestBroker; disk: Disk }> {
  const rig = await new Rig(file).open({ limits: LIMITS })
  const { storage, spool } = rig
  // Of what the tests' durability can do more, nothing is asked.
  const broker = new TestBroker({ durability: spool as unknown as MemoryDurability, clock: new SimClock() })
  const disk: Disk = {
    hold: () => storage.hold(),
    commit: () => {
      storage.resume()
      storage.hold()
    },
    resume: () => storage.resume(),
    async idle() {
      for (let idle = 0; idle < 3;) {
        await settle()
        if (storage.busy === 0) idle++
        else {
          idle = 0
          await new Promise((resolve) => {
            setTimeout(resolve, 1)
          })
        }
      }
    },
    end: () => spool[Symbol.asyncDispose]() as Promise<void>,
  }
  return { broker, disk }
}

class Run {
  readonly #broker: TestBroker
  readonly #disk: Disk
  readonly #model = new Model()
  readonly #peers = new Map<string, Peer>()
  readonly #wrong: string[] = []
  #packetId = 0

  constructor(broker: TestBroker, disk: Disk) {
    this.#broker = broker
    this.#disk = disk
  }

  async take({ isHeld, acts }: Step): Promise<void> {
    this.#model.step++
    if (isHeld) this.#disk.hold()
    for (const act of acts) {
      await this.#act(act, isHeld)
      if (isHeld) for (let i = 0; i < 2; i++) await settle()
      else await this.#disk.idle()
      this.#receive()
    }
    for (let i = 0; isHeld && i < 3; i++) {
      this.#disk.commit()
      for (let turns = 0; turns < 3; turns++) await settle()
      this.#receive()
    }
    this.#disk.resume()
    // Acknowledgements bring more, and QoS 2 takes three rounds.
    for (let round = 0; round < 5; round++) {
      await this.#disk.idle()
      this.#receive()
    }
    assert.deepEqual([...this.#wrong, ...this.#model.check()], [])
  }

  async #act(act: Act, isHeld: boolean): Promise<void> {
    const id = CLIENTS[act.client]!
    const model = this.#model.client(id)
    const peer = this.#peers.get(id)
    if (act.kind === 'connect') {
      await this.#connect(id, act.isKept)
      return
    }
    if (!peer || !model.isConnected) return
    if (act.kind === 'drop') this.#drop(id, peer)
    else if (act.kind === 'segment') this.#send(id, peer, act.packets)
    else if (act.kind === 'illegal') {
      peer.raw(ILLEGAL[act.what]!)
      this.#model.dropped(id)
      this.#peers.delete(id)
      for (let i = 0; i < 3; i++) await settle()
      if (!isHeld) assert.ok(peer.closed, `${ILLEGAL[act.what]} does not end the connection`)
    } else if (!isHeld)
      for (let i = 0; i < BURST; i++) {
        this.#send(id, peer, [{ kind: 'publish', topic: act.topic, qos: 1, retain: false }])
        await this.#disk.idle()
        this.#receive()
      }
  }
  async #connect(id: string, isKept: boolean): Promise<void> {
    const before = this.#peers.get(id)
    if (before) this.#drop(id, before)
    // An end waits for the disk, and with it who begins anew.
    this.#disk.resume()
    await this.#disk.idle()
    const peer = this.#broker.open({ policy: { limits: LIMITS } })
    peer.send(
      connectPacket({
        cleanStart: !isKept,
        clientId: id,
        properties: isKept ? { sessionExpirySec: 3_600 } : NO_PROPERTIES,
      }),
    )
    // The disk may take its time with what was there before.
    for (let waits = 0; waits < 200 && peer.received.length === 0; waits++) await this.#disk.idle()
    assert.equal((await peer.take('connack')).reason, 0)
    this.#peers.set(id, peer)
    this.#model.connected(id, isKept)
  }
  #drop(id: string, peer: Peer): void {
    peer.stream.destroy()
    this.#peers.delete(id)
    this.#model.dropped(id)
  }
  /** In one segment. */
  #send(id: string, peer: Peer, packets: readonly Told[]): void {
    peer.stream.write(Buffer.concat(packets.map((one) => encode(this.#packetOf(id, one), 5))))
  }
  #packetOf(id: string, told: Told): Packet {
    const text = this.#model.told(id, told)
    const packetId = (this.#packetId = (this.#packetId % 60_000) + 1)
    if (told.kind === 'publish') {
      const { topic, qos, retain } = told
      return publishPacket({ topic, payload: Buffer.from(text), qos, retain, packetId: qos > 0 ? packetId : 0 })
    }
    if (told.kind === 'unsubscribe')
      return { type: 'unsubscribe', packetId, filters: [told.filter], properties: NO_PROPERTIES }
    const options = { noLocal: false, retainAsPublished: false, retainHandling: 0 } as const
    return {
      type: 'subscribe',
      packetId,
      properties: NO_PROPERTIES,
      subscriptions: [{ filter: told.filter, qos: told.qos, ...options }],
    }
  }

  /** Takes what has come to each, and acknowledges it. */
  #receive(): void {
    for (const [id, peer] of this.#peers) for (const packet of peer.received.splice(0)) this.#received(id, peer, packet)
  }
  #received(id: string, peer: Peer, packet: Packet): void {
    if (packet.type === 'publish') {
      const { topic, payload, retain, dup, qos, packetId } = packet
      this.#model.client(id).got({ topic, text: Buffer.from(payload).toString(), retain, dup })
      if (qos > 0) peer.ack(qos === 1 ? 'puback' : 'pubrec', packetId)
    } else if (packet.type === 'pubrel') peer.ack('pubcomp', packet.packetId)
    else if ((packet.type === 'puback' || packet.type === 'pubrec') && packet.reason >= 0x80)
      this.#wrong.push(`${id} was refused with 0x${packet.reason.toString(16)}: what others hold is not its business`)
    else if (packet.type === 'pubrec') peer.ack('pubrel', packet.packetId)
    else if (packet.type === 'disconnect')
      this.#wrong.push(`${id} was disconnected with 0x${packet.reason.toString(16)}`)
    else if (packet.type === 'suback')
      for (const reason of packet.reasons) if (reason > 2) this.#wrong.push(`${id}: SUBACK ${reason}`)
  }
}
