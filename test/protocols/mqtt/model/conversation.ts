/** Conversations of several clients: what they may do, by chance. Each text is published once, so it can be traced. */
import fc from 'fast-check'

export const CLIENTS = ['c0', 'c1', 'c2'] as const
export const TOPICS = ['a', 'a/b', 'b'] as const
const FILTERS = ['a', 'a/b', 'a/#', '+', '#', 'b', '$share/g/a'] as const

export type Told =
  | { readonly kind: 'subscribe'; readonly filter: string; readonly qos: 0 | 1 | 2 }
  | { readonly kind: 'unsubscribe'; readonly filter: string }
  | { readonly kind: 'publish'; readonly topic: string; readonly qos: 0 | 1 | 2; readonly retain: boolean }
export type Act =
  | { readonly kind: 'segment'; readonly client: number; readonly packets: readonly Told[] }
  | { readonly kind: 'connect'; readonly client: number; readonly isKept: boolean }
  | { readonly kind: 'drop'; readonly client: number }
  /** More than a kept session may hold. */
  | { readonly kind: 'burst'; readonly client: number; readonly topic: string }
  | { readonly kind: 'illegal'; readonly client: number; readonly what: number }
/** What of it happens while nothing becomes durable. */
export type Step = { readonly isHeld: boolean; readonly acts: readonly Act[] }

/** Bytes that end the connection of who sends them, and touch nobody else. */
export const ILLEGAL: readonly string[] = [
  '82 08 00 01 00 00 02 61 23 00', // SUBSCRIBE to a#
  '82 05 00 01 00 00 00', // SUBSCRIBE without a filter's end
  '30 05 00 01 2b 00 78', // PUBLISH to +
  '36 06 00 01 61 00 01 00', // PUBLISH with QoS 3
  '32 06 00 01 61 00 00 00', // PUBLISH with packet id 0
  '10 10 00 04 4d 51 54 54 05 02 00 00 00 00 03 63 78 78', // a second CONNECT
  'f0 00', // AUTH without a method
  '20 03 00 00 00', // CONNACK from a client
]

const client = fc.nat(CLIENTS.length - 1)
const qos = fc.constantFrom(0 as const, 1 as const, 2 as const)
const topic = fc.constantFrom(...TOPICS)
const told: fc.Arbitrary<Told> = fc.oneof(
  fc.record({ kind: fc.constant('subscribe' as const), filter: fc.constantFrom(...FILTERS), qos }),
  fc.record({ kind: fc.constant('unsubscribe' as const), filter: fc.constantFrom(...FILTERS) }),
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('publish' as const), topic, qos, retain: fc.boolean() }) },
)
const act: fc.Arbitrary<Act> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('segment' as const),
      client,
      packets: fc.array(told, { minLength: 1, maxLength: 3 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('connect' as const), client, isKept: fc.boolean() }) },
  fc.record({ kind: fc.constant('drop' as const), client }),
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('burst' as const), client, topic }) },
  fc.record({ kind: fc.constant('illegal' as const), client, what: fc.nat(ILLEGAL.length - 1) }),
)
/** The first client has subscribed and is dead, as far as anybody knows; the second is there. */
export const beginningWithADeadReceiver: fc.Arbitrary<readonly Step[]> = fc
  .record({ filter: fc.constantFrom('a', '#', 'a/#'), qos: fc.constantFrom(1 as const, 2 as const) })
  .map((subscription) => [
    {
      isHeld: false,
      acts: [
        { kind: 'connect', client: 0, isKept: true },
        { kind: 'segment', client: 0, packets: [{ kind: 'subscribe', ...subscription }] },
        { kind: 'drop', client: 0 },
        { kind: 'connect', client: 1, isKept: false },
      ],
    },
  ])
export const conversation: fc.Arbitrary<readonly Step[]> = fc.array(
  fc.record({ isHeld: fc.boolean(), acts: fc.array(act, { minLength: 1, maxLength: 3 }) }),
  { minLength: 1, maxLength: 10 },
)
