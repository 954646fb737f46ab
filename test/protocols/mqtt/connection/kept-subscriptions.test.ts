/**
 * What a kept session has subscribed, in memory and on a disk that fails: both are what the answers said, whatever was
 * on its way together, and whichever connection it came over.
 */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import path from 'node:path'
import type { Packet } from '../../../../protocols/mqtt/codec/packet.ts'
import { NO_PROPERTIES } from '../../../../protocols/mqtt/codec/properties.ts'
import { TestBroker } from '../../../helpers/mqtt/broker.ts'
import type { MemoryDurability } from '../../../helpers/mqtt/memory-durability.ts'
import type { Fault } from '../../../helpers/disk/faulty-storage.ts'
import { seededRandom } from '../../../helpers/random.ts'
import { settle } from '../../../helpers/sim-clock.ts'
import { temporaryFolder } from '../../../helpers/temporary-folder.ts'
import { Rig } from '../spool/rig.ts'

type Value = 'none' | 0 | 1 | 2
type Request = { readonly filter: string; readonly value: Value }
type Peer = ReturnType<TestBroker['open']>
const KEEP = { clientId: 'c', cleanStart: false, properties: { sessionExpirySec: 3600 } } as const
const FILTERS = ['a', 'b', '$share/g/a']
const FAILS: Fault = { when: 'before', code: 'MESH_STORAGE_FULL' }

/** What a filter may be, by the answers and by what was asked for and never answered. */
class Ledger {
  readonly possible = new Map<string, Set<Value>>()
  readonly log: string[] = []

  of(filter: string): Set<Value> {
    return this.possible.get(filter) ?? new Set(['none'])
  }
  answered({ filter, value }: Request, isDone: boolean): void {
    this.log.push(`${filter} ${value} ${isDone ? 'done' : 'refused'}`)
    if (isDone) this.possible.set(filter, new Set([value]))
  }
  unanswered({ filter, value }: Request): void {
    this.log.push(`${filter} ${value} unanswered`)
    this.possible.set(filter, new Set([...this.of(filter), value]))
  }
}

/** One client id, over one connection after the other. */
class Run {
  readonly rig: Rig
  readonly broker: TestBroker
  readonly ledger = new Ledger()
  #peer: Peer | undefined
  #asked: Request[] = []
  #id = 0
  #checks = 0

  constructor(rig: Rig) {
    this.rig = rig
    // Of what the tests' durability can do more, nothing is asked.
    this.broker = new TestBroker({ durability: rig.spool as unknown as MemoryDurability, clock: rig.clock })
  }
  static async start(t: TestContext): Promise<Run> {
    return new Run(await new Rig(path.join(temporaryFolder(t), 'spool.db')).open())
  }

  /** Takes over from the last connection. */
  connect(): void {
    this.hear()
    this.#lose()
    const peer = this.broker.open()
    this.#peer = peer
    peer.send({
      type: 'connect',
      version: 5,
      keepAliveSec: 0,
      username: undefined,
      password: undefined,
      will: undefined,
      ...KEEP,
    })
  }
  ask(...requests: Request[]): void {
    this.hear()
    if (this.#peer?.closed !== false) this.connect()
    this.ledger.log.push(`ask ${requests.map(({ filter, value }) => `${filter} ${value}`).join(', ')}`)
    this.#asked.push(...requests)
    this.#peer!.send(...requests.map((request) => this.#packetOf(request)))
  }
  #packetOf({ filter, value }: Request): Packet {
    const packetId = (this.#id++ % 65_535) + 1
    if (value === 'none') return { type: 'unsubscribe', packetId, filters: [filter], properties: NO_PROPERTIES }
    const one = { filter, qos: value, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const
    return { type: 'subscribe', packetId, subscriptions: [one], properties: NO_PROPERTIES }
  }
  hear(): void {
    for (const packet of this.#peer?.received.splice(0) ?? [])
      if (packet.type === 'suback' || packet.type === 'unsuback') {
        const request = this.#asked.shift()!
        assert.equal(packet.type === 'unsuback', request.value === 'none')
        this.ledger.answered(request, packet.type === 'unsuback' || packet.reasons[0]! <= 2)
      }
    if (this.#peer?.closed) this.#lose()
  }
  #lose(): void {
    for (const request of this.#asked.splice(0)) this.ledger.unanswered(request)
    this.#peer = undefined
  }

  async idle(): Promise<void> {
    for (let idle = 0; idle < 4; idle++) {
      await settle()
      if (this.rig.storage.busy > 0) {
        idle = -1
        await new Promise((resolve) => {
          setTimeout(resolve, 1)
        })
      }
      this.hear()
    }
  }
  /** @returns what differs from the answers, after one more commit that works */
  async differences(): Promise<string[]> {
    await this.idle()
    this.rig.storage.faults = []
    this.ask({ filter: 'last', value: (this.#checks++ % 3) as 0 | 1 | 2 })
    await this.idle()
    const [item] = this.broker.broker.operations.sessions({ limit: 1 } as never, 'c').items
    const memory = new Map((item?.filters ?? []).map(({ filter, qos }) => [filter, qos]))
    const image = `${this.rig.storage.path}.image`
    this.rig.storage.crashImage(image)
    const after = await new Rig(image).open()
    const stored = after.spool.sessions.get('c')?.subscriptions ?? []
    const disk = new Map(stored.map(({ filter, qos }) => [filter, qos]))
    await after.spool[Symbol.asyncDispose]()
    const wrong: string[] = []
    for (const filter of FILTERS) {
      const may = this.ledger.of(filter)
      const [inMemory, onDisk] = [memory.get(filter) ?? 'none', disk.get(filter) ?? 'none'] as [Value, Value]
      if (!may.has(inMemory) || !may.has(onDisk) || inMemory !== onDisk)
        wrong.push(`${filter}: answers ${[...may].join('|')}, memory ${inMemory}, disk ${onDisk}`)
    }
    return wrong
  }
  async end(): Promise<void> {
    this.rig.storage.resume()
    await this.broker.broker[Symbol.asyncDispose]()
    await this.rig.spool[Symbol.asyncDispose]()
  }
}

test('a subscription that was acknowledged outlives a change of it that came meanwhile and fails', async (t) => {
  const run = await Run.start(t)
  run.ask({ filter: 'b', value: 1 })
  await run.idle()
  run.rig.storage.hold()
  run.ask({ filter: 'a', value: 1 })
  await settle()
  run.ask({ filter: 'a', value: 2 })
  await settle()
  run.rig.storage.faults = [undefined, FAILS]
  run.rig.storage.resume()
  assert.deepEqual(await run.differences(), [])
  assert.deepEqual(run.ledger.of('a'), new Set([1]))
  await run.end()
})

test('an UNSUBSCRIBE that the disk refused is not acknowledged later without it', async (t) => {
  const run = await Run.start(t)
  run.ask({ filter: 'a', value: 1 })
  await run.idle()
  run.rig.storage.faults = [FAILS]
  run.ask({ filter: 'a', value: 'none' })
  await run.idle()
  run.ask({ filter: 'a', value: 'none' })
  assert.deepEqual(await run.differences(), [])
  assert.deepEqual(run.ledger.of('a'), new Set(['none']))
  await run.end()
})

test('SUBSCRIBE and UNSUBSCRIBE by chance, on a disk that fails, over connections that are taken over', async (t) => {
  for (let seed = 1; seed <= 8; seed++) {
    const random = seededRandom(seed)
    const pick = (n: number): number => Math.floor(random.float() * n)
    const run = await Run.start(t)
    for (let round = 0; round < 4; round++) {
      run.rig.storage.hold()
      for (let burst = 0; burst < 3; burst++) {
        if (pick(5) === 0) run.connect()
        const values = ['none', 0, 1, 2] as const
        run.ask(...Array.from({ length: 1 + pick(4) }, () => ({ filter: FILTERS[pick(3)]!, value: values[pick(4)]! })))
        await settle()
      }
      const codes = ['MESH_STORAGE_FULL', 'MESH_STORAGE_FAILED'] as const
      run.rig.storage.faults = Array.from({ length: 4 }, () =>
        pick(3) === 0 ? { when: pick(3) === 0 ? 'after' : 'before', code: codes[pick(2)]! } : undefined,
      )
      run.rig.storage.resume()
      assert.deepEqual(await run.differences(), [], `seed ${seed}, round ${round}: ${run.ledger.log.join('; ')}`)
    }
    await run.end()
  }
})
