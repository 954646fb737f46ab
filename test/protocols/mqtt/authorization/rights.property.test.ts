/**
 * Whatever clients of several identities do with the same client ids, and however rules change in between: nobody gets
 * a message that the rules of that moment do not let it have, and nobody gets a session of another.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fc from 'fast-check'
import type { MqttPolicy, MqttRule } from '../../../../model/mqtt-policy.ts'
import { TestBroker } from '../../../helpers/mqtt/broker.ts'
import { settle } from '../../../helpers/sim-clock.ts'
import { connectPacket } from '../../../helpers/mqtt/peer.ts'

const WHO = ['spiffe://t/ns/x/sa/a', 'spiffe://t/ns/x/sa/b', undefined] as const
const IDS = ['one', 'two'] as const
const TOPICS = ['red/x', 'blue/x'] as const
const FILTERS = ['red/x', 'red/#', 'blue/+', '#', '$share/g/red/x', '$share/g/#'] as const
type Who = 0 | 1 | 2
/** For each identity the colours that it may have. */
type Rights = readonly [number, number, number]

type Step =
  | { readonly do: 'connect'; readonly who: Who; readonly id: number; readonly isClean: boolean }
  | { readonly do: 'leave' | 'vanish'; readonly nth: number }
  | { readonly do: 'subscribe'; readonly nth: number; readonly filter: number; readonly qos: 0 | 1 | 2 }
  | { readonly do: 'publish'; readonly topic: number; readonly qos: 0 | 1 | 2; readonly retain: boolean }
  | { readonly do: 'rules'; readonly rights: Rights }
  | { readonly do: 'acknowledge'; readonly nth: number }
  | { readonly do: 'restart' }

const qos = fc.constantFrom(0 as const, 1 as const, 2 as const)
const nth = fc.nat(3)
const LAST = -1
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('connect' as const),
      who: fc.constantFrom(0 as Who, 1 as Who, 2 as Who),
      id: fc.nat(1),
      isClean: fc.boolean(),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('leave' as const, 'vanish' as const), nth }) },
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constant('subscribe' as const), nth, filter: fc.nat(FILTERS.length - 1), qos }),
  },
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constant('publish' as const), topic: fc.nat(1), qos, retain: fc.boolean() }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('rules' as const), rights: fc.tuple(fc.nat(3), fc.nat(3), fc.nat(3)) }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('acknowledge' as const), nth }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('restart' as const) }) },
)

/** What chance alone seldom puts together: away with something in the queue, while the rules change. */
const absence: fc.Arbitrary<Step[]> = fc
  .record({
    who: fc.constantFrom(0 as Who, 1 as Who, 2 as Who),
    id: fc.nat(1),
    filter: fc.nat(FILTERS.length - 1),
    qos: fc.constantFrom(1 as const, 2 as const),
    topic: fc.nat(1),
    rights: fc.tuple(fc.nat(3), fc.nat(3), fc.nat(3)),
    restarts: fc.boolean(),
    returns: fc.boolean(),
  })
  .map(({ who, id, filter, qos: level, topic, rights, restarts, returns }) => [
    { do: 'rules', rights: [3, 3, 3] },
    { do: 'connect', who, id, isClean: false },
    { do: 'subscribe', nth: LAST, filter, qos: level },
    { do: 'vanish', nth: LAST },
    { do: 'publish', topic, qos: level, retain: false },
    ...(restarts ? [{ do: 'restart' } as const] : []),
    { do: 'rules', rights },
    ...(returns ? [{ do: 'rules', rights: [3, 3, 3] } as const] : []),
    { do: 'connect', who, id, isClean: false },
  ])

type Wide = MqttPolicy['wideSubscriptions']
type RuleInput = Pick<MqttRule, 'action' | 'effect' | 'topics' | 'principals'>
/** Bit 1: red, bit 2: blue. Of the anonymous, who have no principal, last: all others have their verdict by then. */
function rulesOf(rights: Rights): RuleInput[] {
  return WHO.flatMap((uri, who) =>
    ['red', 'blue'].map((colour, bit): RuleInput => ({
      action: 'subscribe',
      topics: [`${colour}/#`],
      principals: uri === undefined ? [] : [uri],
      effect: ((rights[who]! >> bit) & 1) === 1 ? 'allow' : 'deny',
    })),
  )
}
const may = (rights: Rights, who: Who, topic: string): boolean =>
  ((rights[who] >> (topic.startsWith('red') ? 0 : 1)) & 1) === 1

type Open = ReturnType<TestBroker['open']> & { readonly who: Who; readonly id: string }

/** A broker, whoever is connected to it, and the rules that are in force. */
class Site {
  #broker: TestBroker
  #publisher: ReturnType<TestBroker['open']>
  #rights: Rights = [3, 3, 3]
  #open: Open[] = []
  readonly #owners = new Map<string, Who>()
  #packetId = 0

  readonly #wideSubscriptions: Wide

  private constructor(wide: Wide, broker: TestBroker, publisher: ReturnType<TestBroker['open']>) {
    this.#wideSubscriptions = wide
    this.#broker = broker
    this.#publisher = publisher
  }

  static async start(wide: Wide): Promise<Site> {
    const broker = new TestBroker()
    return new Site(wide, broker, await publisherOf(broker))
  }
  get #policy(): { readonly rules: RuleInput[]; readonly wideSubscriptions: Wide } {
    return { rules: rulesOf(this.#rights), wideSubscriptions: this.#wideSubscriptions }
  }

  async take(s: Step): Promise<void> {
    switch (s.do) {
      case 'connect':
        this.#connect(s)
        break
      case 'leave':
        this.#at(s.nth)?.disconnect()
        break
      case 'vanish':
        this.#at(s.nth)?.stream.destroy()
        break
      case 'subscribe':
        this.#subscribe(s)
        break
      case 'publish':
        this.#publisher.publish(TOPICS[s.topic]!, 'x', {
          qos: s.qos,
          retain: s.retain,
          packetId: s.qos === 0 ? 0 : ++this.#packetId,
        })
        break
      case 'rules':
        this.#rights = s.rights
        this.#broker.usePolicy(this.#policy, this.#open)
        break
      case 'acknowledge':
        this.#at(s.nth)?.ack('puback', 1)
        break
      case 'restart':
        await this.#restart()
        break
      default:
        s satisfies never
    }
  }

  async check(): Promise<void> {
    await settle()
    for (const client of this.#open) for (const packet of client.received.splice(0)) this.#checkPacket(client, packet)
    this.#open = this.#open.filter((client) => !client.closed)
  }

  #checkPacket(client: Open, packet: Open['received'][number]): void {
    if (packet.type === 'publish')
      assert.ok(may(this.#rights, client.who, packet.topic), `${client.who} got ${packet.topic}`)
    if (packet.type !== 'connack') return
    assert.ok(packet.reason === 0 || packet.reason === 0x87, String(packet.reason))
    if (packet.reason === 0 && packet.sessionPresent)
      assert.equal(this.#owners.get(client.id), client.who, `the session of ${client.id}`)
    if (packet.reason === 0) this.#owners.set(client.id, client.who)
  }

  #at(n: number): Open | undefined {
    return this.#open.at(n === LAST ? -1 : n % Math.max(1, this.#open.length))
  }

  #connect(s: Step & { do: 'connect' }): void {
    const spiffe = WHO[s.who]
    const client: Open = Object.assign(
      this.#broker.open({ policy: this.#policy, ...(spiffe !== undefined && { spiffe }) }),
      { who: s.who, id: IDS[s.id]! },
    )
    client.send(
      connectPacket({
        cleanStart: s.isClean,
        clientId: client.id,
        username: 'admin',
        properties: { sessionExpirySec: 600 },
      }),
    )
    this.#open.push(client)
  }

  #subscribe(s: Step & { do: 'subscribe' }): void {
    const filter = FILTERS[s.filter]!
    this.#at(s.nth)?.send({
      type: 'subscribe',
      packetId: ++this.#packetId,
      properties: {},
      subscriptions: [{ filter, qos: s.qos, noLocal: false, retainAsPublished: false, retainHandling: 0 }],
    })
  }

  async #restart(): Promise<void> {
    this.#broker = this.#broker.restart()
    this.#open = []
    this.#publisher = await publisherOf(this.#broker)
    this.#broker.usePolicy(this.#policy)
  }
}

async function play(wide: Wide, steps: readonly Step[]): Promise<void> {
  const site = await Site.start(wide)
  for (const s of steps) {
    await site.take(s)
    await site.check()
  }
}

async function publisherOf(t: TestBroker): Promise<ReturnType<TestBroker['open']>> {
  const publisher = t.open({ listener: 'inside' })
  await publisher.connect({ clientId: 'publisher' })
  return publisher
}

for (const wide of ['refuse', 'filter'] as const)
  test(`nobody gets what it may not have, nor a session of another: wide subscriptions, ${wide}`, async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.oneof({ weight: 8, arbitrary: step.map((one) => [one]) }, { weight: 1, arbitrary: absence }), {
          minLength: 5,
          maxLength: 40,
        }),
        (steps) => play(wide, steps.flat()),
      ),
      { numRuns: 120 },
    )
  })
