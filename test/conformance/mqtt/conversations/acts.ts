/** Conversations of three clients by chance, without what mosquitto 2.0 has otherwise than the standard. */
import type { Random } from '../../../../core/os/clock.ts'
import type { Properties, Qos, SubscriptionRequest, Version } from '../../../../protocols/mqtt/codec/packet.ts'

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
export type Act =
  | (Of & {
      readonly kind: 'connect'
      readonly version: Version
      readonly cleanStart: boolean
      readonly expirySec: number
      readonly receiveMaximum: number | undefined
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
    })
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
 * publishes no will when a client id is taken over. So a client has one QoS, a filter has its options for good, clients
 * leave before they come again, and there are no wills. It sends a copy for each filter that matches, so windows differ:
 * they are small, and acknowledgements late, only where filters are apart.
 */
export function makeConversation(random: Random, length: number): readonly Act[] {
  const chance = new Chance(random)
  const [versions, qosOf] = [CLIENTS.map(() => (chance.isIn(0.3) ? 4 : 5)), chance.below(3)]
  const isApart = chance.isIn(0.6)
  const filtersOf = CLIENTS.map(() => (isApart ? chance.of(APART) : FILTERS))
  let texts = 0
  const subscription = (client: number, filter: string): SubscriptionRequest => {
    const is5 = versions[client] === 5
    const number = filtersOf[client]!.indexOf(filter) + client
    return {
      filter,
      qos: ((qosOf + client) % 3) as Qos,
      noLocal: is5 && number % 3 === 0,
      retainAsPublished: is5 && number % 4 === 0,
      retainHandling: is5 ? chance.of([0, 0, 1, 2] as const) : 0,
    }
  }
  const filters = (client: number): readonly string[] => {
    const all = filtersOf[client]!
    return [...new Set([chance.of(all), chance.of(all)])]
  }
  const make = (): Act => {
    const [client, what] = [chance.below(CLIENTS.length), chance.below(20)]
    const version = versions[client] as Version
    if (what < 3)
      return {
        kind: 'connect',
        client,
        version,
        cleanStart: chance.isIn(0.3),
        expirySec: chance.of([0, 0, 1000, 0xffff_ffff]),
        receiveMaximum: isApart ? chance.of([undefined, 1, 2]) : undefined,
      }
    if (what < 7) {
      const id = version === 5 && chance.isIn(0.3) ? 1 + chance.below(5) : undefined
      return { kind: 'subscribe', client, id, to: filters(client).map((filter) => subscription(client, filter)) }
    }
    if (what < 8) return { kind: 'unsubscribe', client, filters: filters(client) }
    if (what < 9)
      return { kind: 'disconnect', client, reason: chance.of([0, 4]), expirySec: chance.of([undefined, 0, 500]) }
    if (what < 10) return { kind: 'drop', client }
    if (what < 11) return { kind: 'acknowledge', client, isOn: !isApart || chance.isIn(0.5) }
    if (what < 12 && chance.isIn(0.5)) return { kind: 'restart', how: chance.of(['kill', 'stop']) }
    return {
      kind: 'publish',
      client,
      topic: chance.of(TOPICS),
      qos: chance.below(3) as Qos,
      retain: chance.isIn(0.3),
      text: chance.isIn(0.15) ? '' : `m${++texts}`,
      properties: version === 5 ? propertiesBy(chance) : {},
    }
  }
  return Array.from({ length }, make)
}

function propertiesBy(chance: Chance): Properties {
  return {
    contentType: chance.isIn(0.2) ? 'text/plain' : undefined,
    responseTopic: chance.isIn(0.1) ? 'r/t' : undefined,
    correlationData: chance.isIn(0.1) ? Buffer.from('cd') : undefined,
    payloadFormat: chance.isIn(0.2) ? 1 : undefined,
    messageExpirySec: chance.isIn(0.2) ? 5000 : undefined,
    userProperties: chance.isIn(0.2)
      ? [
          ['z', '1'],
          ['a', '2'],
          ['z', '3'],
        ]
      : undefined,
  }
}
