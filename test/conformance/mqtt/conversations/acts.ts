/** Conversations of three clients by chance, without what mosquitto 2.0 has otherwise than the standard. */
import type { Random } from '../../../../core/os/clock.ts'
import type { Properties, Qos, SubscriptionRequest, Version } from '../../../../protocols/mqtt/codec/packet.ts'

/** What expires within a wait, and does not between two acts: mosquitto counts whole seconds. */
const SHORT_SEC = 2
export const WAIT_MS = 4_500
/** What is short goes into a packet of this size with whatever properties, and what is long does not. */
const MAX_PACKET_BYTES = 160
const LONG = '.'.repeat(200)

export const CLIENTS = ['a', 'b', 'c'] as const
export const TOPICS = ['t', 't/u', 't/u/v', 'x', '/x', '$d/x', 't/', 'x//y'] as const
const FILTERS = ['t', 't/u', 't/#', '+', '#', '+/+', 't/+/v', '/+', '$d/#', '$d/+', 't/u/#', '+/#', '/#', 'x//+', '+/']
/** Of those of one no two match one topic. */
const APART = [
  ['t', 't/u', 't/+/v', 'x', '/+', '$d/#', 'x//+'],
  ['t/#', '/#', '$d/+', 'x//y', 'x'],
  ['+', '+/+', 't/+/v', '$d/x', 'x//+'],
  ['#', '$d/#'],
]

type Of = { readonly client: number }
export type Will = {
  readonly topic: string
  readonly qos: Qos
  readonly retain: boolean
  readonly text: string
  readonly delaySec: number
}
export type Act =
  | (Of & {
      readonly kind: 'connect'
      readonly version: Version
      readonly cleanStart: boolean
      readonly expirySec: number
      readonly receiveMaximum: number | undefined
      readonly topicAliasMaximum: number | undefined
      readonly maximumPacketBytes: number | undefined
      readonly will: Will | undefined
    })
  | (Of & { readonly kind: 'subscribe'; readonly id: number | undefined; readonly to: readonly SubscriptionRequest[] })
  | (Of & { readonly kind: 'unsubscribe'; readonly filters: readonly string[] })
  | (Of & { readonly kind: 'disconnect'; readonly reason: number; readonly expirySec: number | undefined })
  | (Of & { readonly kind: 'drop' })
  /** It acknowledges nothing until it is told to. */
  | (Of & { readonly kind: 'acknowledge'; readonly isOn: boolean })
  | (Of & {
      readonly kind: 'publish'
      readonly topic: string
      readonly qos: Qos
      readonly retain: boolean
      readonly text: string
      readonly properties: Properties
      /** By its Topic Alias, where the broker takes one. */
      readonly isAliased: boolean
    })
  /** Longer than SHORT_SEC. */
  | { readonly kind: 'wait' }
  /** All connections break; what keeps sessions starts again. */
  | { readonly kind: 'restart'; readonly how: 'kill' | 'stop' }

class Chance {
  readonly #random: Random
  constructor(random: Random) {
    this.#random = random
  }
  below(count: number): number {
    return Math.floor(this.#random.float() * count)
  }
  isIn(share: number): boolean {
    return this.#random.float() < share
  }
  of<T>(all: readonly T[]): T {
    return all[this.below(all.length)]!
  }
}

/**
 * mosquitto 2.0.11 takes the QoS of the first of several filters that match, keeps No Local as it was first, and
 * publishes no will when a client id is taken over. So a client has one QoS, a filter has its options for good, and clients
 * leave before they come again. It sends a copy for each filter that matches, so windows differ:
 * they are small, and acknowledgements late, only where filters are apart.
 */
export function makeConversation(random: Random, length: number, time: 'stands' | 'passes'): readonly Act[] {
  const maker = new Maker(new Chance(random), time)
  return Array.from({ length }, () => maker.make())
}

class Maker {
  readonly #chance: Chance
  readonly #time: 'stands' | 'passes'
  readonly #versions: readonly Version[]
  readonly #qosOf: number
  readonly #isApart: boolean
  readonly #filtersOf: readonly (readonly string[])[]
  /** Clients that may have a will which waits. */
  readonly #delayed = new Set<number>()
  #texts = 0
  #waits = 2

  constructor(chance: Chance, time: 'stands' | 'passes') {
    this.#chance = chance
    this.#time = time
    this.#versions = CLIENTS.map(() => (chance.isIn(0.3) ? 4 : 5))
    this.#qosOf = chance.below(3)
    this.#isApart = chance.isIn(0.6)
    this.#filtersOf = CLIENTS.map(() => (this.#isApart ? chance.of(APART) : FILTERS))
  }

  make(): Act {
    const chance = this.#chance
    const [client, what] = [chance.below(CLIENTS.length), chance.below(20)]
    if (what < 3) return this.#connect(client)
    if (what < 7) {
      const id = this.#versions[client] === 5 && chance.isIn(0.3) ? 1 + chance.below(5) : undefined
      const to = this.#filters(client).map((filter) => this.#subscription(client, filter))
      return { kind: 'subscribe', client, id, to }
    }
    if (what < 8) {
      // Of a tree that nobody had subscribed to mosquitto says that the subscription was there.
      const filters = this.#filters(client).map((filter) => (filter.startsWith('$d') ? 't' : filter))
      return { kind: 'unsubscribe', client, filters }
    }
    if (what < 9)
      return { kind: 'disconnect', client, reason: chance.of([0, 4]), expirySec: chance.of([undefined, 0, 500]) }
    if (what < 10) return { kind: 'drop', client }
    if (what < 11) return { kind: 'acknowledge', client, isOn: !this.#isApart || chance.isIn(0.5) }
    if (what < 12 && this.#time === 'passes' && this.#waits > 0 && chance.isIn(0.5)) {
      this.#waits--
      return { kind: 'wait' }
    }
    if (what < 12 && chance.isIn(0.5)) return { kind: 'restart', how: chance.of(['kill', 'stop']) }
    return this.#publish(client)
  }

  #isShort(share: number): boolean {
    return this.#time === 'passes' && this.#chance.isIn(share)
  }
  #connect(client: number): Act {
    const chance = this.#chance
    const delaySec = this.#isShort(0.5) ? SHORT_SEC : 0
    const receiveMaximum = this.#isApart ? chance.of([undefined, 1, 2]) : undefined
    const act: Act = {
      kind: 'connect',
      client,
      version: this.#versions[client]!,
      // There a delayed will is forgotten with the session that a clean start ends (§3.1.4).
      cleanStart: chance.isIn(0.3) && !this.#delayed.has(client),
      expirySec: this.#isShort(0.5) ? SHORT_SEC : chance.of([0, 0, 1000, 0xffff_ffff]),
      receiveMaximum,
      topicAliasMaximum: chance.of([undefined, 1, 5]),
      // What is too large keeps its place in the window there.
      maximumPacketBytes:
        this.#isApart && receiveMaximum === undefined ? chance.of([undefined, MAX_PACKET_BYTES]) : undefined,
      will: chance.isIn(0.4) ? this.#will(delaySec) : undefined,
    }
    if (delaySec > 0 && act.will) this.#delayed.add(client)
    return act
  }
  #will(delaySec: number): Will {
    const chance = this.#chance
    const [topic, qos, retain] = [chance.of(TOPICS), chance.below(3) as Qos, chance.isIn(0.3)]
    return { topic, qos, retain, text: `w${++this.#texts}`, delaySec }
  }
  /** One of a group that nobody else is in: who gets what comes to several is not said. */
  #filters(client: number): readonly string[] {
    const chance = this.#chance
    const all = this.#filtersOf[client]!
    const one = chance.of(all)
    const isShared = this.#versions[client] === 5 && !one.startsWith('$') && chance.isIn(0.2)
    return [...new Set([chance.of(all), isShared ? `$share/${CLIENTS[client]}/${one}` : one])]
  }
  #subscription(client: number, filter: string): SubscriptionRequest {
    const is5 = this.#versions[client] === 5
    const isShared = filter.startsWith('$share/')
    const number = this.#filtersOf[client]!.indexOf(filter) + client
    return {
      filter,
      qos: ((this.#qosOf + client) % 3) as Qos,
      noLocal: is5 && !isShared && number % 3 === 0,
      retainAsPublished: is5 && number % 4 === 0,
      // There some shared subscriptions bring what is retained, which none should (§4.8.2).
      retainHandling: isShared ? 2 : is5 ? this.#chance.of([0, 0, 1, 2] as const) : 0,
    }
  }
  #publish(client: number): Act {
    const chance = this.#chance
    return {
      kind: 'publish',
      client,
      topic: chance.of(TOPICS),
      qos: chance.below(3) as Qos,
      retain: chance.isIn(0.3),
      text: chance.isIn(0.15) ? '' : `m${++this.#texts}${chance.isIn(0.2) ? LONG : ''}`,
      properties: this.#versions[client] === 5 ? propertiesBy(chance, this.#isShort(0.3)) : {},
      isAliased: chance.isIn(0.5),
    }
  }
}

function propertiesBy(chance: Chance, isShort: boolean): Properties {
  return {
    contentType: chance.isIn(0.2) ? 'text/plain' : undefined,
    responseTopic: chance.isIn(0.1) ? 'r/t' : undefined,
    correlationData: chance.isIn(0.1) ? Buffer.from('cd') : undefined,
    payloadFormat: chance.isIn(0.2) ? 1 : undefined,
    messageExpirySec: isShort ? SHORT_SEC : chance.isIn(0.2) ? 5000 : undefined,
    userProperties: chance.isIn(0.2)
      ? [
          ['z', '1'],
          ['a', '2'],
          ['z', '3'],
        ]
      : undefined,
  }
}
