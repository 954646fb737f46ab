import { test } from 'node:test'
import assert from 'node:assert/strict'
import fc from 'fast-check'
import type { StoredSubscription } from '../../../../protocols/mqtt/durability.ts'
import type { Session } from '../../../../protocols/mqtt/session/session.ts'
import { Subscriptions } from '../../../../protocols/mqtt/topics/subscriptions.ts'
import { matches } from '../../../../protocols/mqtt/topics/topics.ts'
import type { View } from '../../../../protocols/mqtt/topics/view.ts'
import { settle } from '../../../helpers/sim-clock.ts'
import { TestBroker } from '../../../helpers/mqtt/broker.ts'
import type { MqttPeer } from '../../../helpers/mqtt/peer.ts'

const KEEP = { cleanStart: false, properties: { sessionExpirySec: 3600 } } as const

test("[MQTT-3.8.3-3] No Local keeps a client's own messages from it", async () => {
  const t = new TestBroker()
  const [a, b] = [t.open(), t.open()]
  await a.connect({ clientId: 'a' })
  await b.connect({ clientId: 'b' })
  await a.subscribe('x', { noLocal: true })
  a.publish('x', 'mine')
  b.publish('x', 'yours')
  assert.deepEqual(await a.seen(), ['publish x yours q0'])
})

test('[MQTT-4.8.2-4] a shared subscription gives each message to one member, and to a connected one before one that is away', async () => {
  const t = new TestBroker()
  const [a, b, pub] = [t.open(), t.open(), t.open()]
  await a.connect({ clientId: 'a', ...KEEP })
  await b.connect({ clientId: 'b', ...KEEP })
  await pub.connect({ clientId: 'pub' })
  await a.subscribe('$share/g/x', { qos: 1 })
  await b.subscribe('$share/g/x', { qos: 1 })
  for (let i = 1; i <= 4; i++) pub.publish('x', String(i), { qos: 1, packetId: i })
  assert.deepEqual([(await a.seen()).length, (await b.seen()).length], [2, 2])
  b.stream.destroy()
  await settle()
  for (let i = 5; i <= 8; i++) pub.publish('x', String(i), { qos: 1, packetId: i })
  assert.equal((await a.seen()).length, 4)
})

test('a shared group goes on in turn when members come and go, and a kept one gets what no connected one can', async () => {
  const t = new TestBroker()
  const pub = t.open()
  await pub.connect({ clientId: 'pub' })
  const open = async (clientId: string, p = {}): Promise<MqttPeer> => {
    const c = t.open()
    await c.connect({ clientId, ...p })
    await c.subscribe('$share/g/a', { qos: 1 })
    return c
  }
  const members = [await open('m1'), await open('m2'), await open('m3')]
  const round = async (texts: string[]): Promise<number[]> => {
    for (const text of texts) pub.publish('a', text)
    await pub.seen()
    return await Promise.all(members.map(async (m) => (await m.seen()).length))
  }
  assert.deepEqual(await round(['1', '2', '3']), [1, 1, 1])
  await members[1]!.unsubscribe('$share/g/a')
  assert.deepEqual(await round(['4', '5', '6', '7']), [2, 0, 2])
  const kept = await open('kept', { cleanStart: false, properties: { sessionExpirySec: 100 } })
  for (const one of [...members, kept]) one.stream.destroy()
  await pub.seen()
  pub.publish('a', 'later', { qos: 1, packetId: 1 })
  assert.deepEqual(await pub.seen(), ['puback #1'])
  assert.equal(t.durability.queue('session/kept')!.depth, 1)
})

const TOPICS = ['a', 'a/b', 'a/c', 'b']
const FILTERS = [...TOPICS, 'a/+', '+/b', '#', 'a/#', '$share/g/a/b', '$share/h/a/+']
/** The sessions are compared only. */
const named = (share: string): Session =>
  ({
    share,
    queue: undefined,
    link: {},
    stored: false,
    join() {},
    leave() {},
    mayHave: () => true,
  }) as unknown as Session
type Held = { readonly session: Session; readonly subscription: StoredSubscription }
const view = (one: View | undefined): unknown =>
  one && [one.qos, one.retainAsPublished, one.ids.toSorted((a, b) => a - b)]
const viewOf = (all: readonly StoredSubscription[]): unknown =>
  all.length === 0
    ? undefined
    : view({
        qos: Math.max(...all.map((one) => one.qos)) as 0 | 1 | 2,
        retainAsPublished: all.some((one) => one.retainAsPublished),
        ids: all.flatMap((one) => one.subscriptionId ?? []),
      })

type Asked = { readonly sessions: readonly Session[]; readonly topics: readonly string[] }
function told(all: Subscriptions, { sessions, topics }: Asked): unknown {
  return topics.map((topic) => {
    const { targets, groups, plans } = all.match(topic)
    return {
      targets: sessions.map((session) => {
        const target = targets.get(session)
        return [view(target), target?.hasNoLocal ? view(target.withoutLocal) : view(target)]
      }),
      shared: groups.flatMap((group) => Array.from({ length: group.size }, () => group.filter)).toSorted(),
      isPlanned: plans !== undefined,
      views: sessions.map((session) => view(all.findView(session, topic))),
    }
  })
}
/** The same, each subscription compared with each topic. */
function compared(held: readonly Held[], { sessions, topics }: Asked): unknown {
  const isShared = ({ filter }: StoredSubscription): boolean => filter.startsWith('$share/')
  const plain = (filter: string): string => (filter.startsWith('$share/') ? filter.slice(9) : filter)
  return topics.map((topic) => {
    const matching = held.filter(({ subscription }) => matches(plain(subscription.filter), topic))
    const of = (session: Session): StoredSubscription[] =>
      matching.flatMap((one) => (one.session === session ? one.subscription : []))
    const own = (session: Session): StoredSubscription[] => of(session).filter((one) => !isShared(one))
    const shared = matching.flatMap(({ subscription: one }) => (isShared(one) ? one.filter : []))
    return {
      targets: sessions.map((s) => [viewOf(own(s)), viewOf(own(s).filter((one) => !one.noLocal))]),
      shared: shared.toSorted(),
      isPlanned: shared.length === 0 && !sessions.some((s) => own(s).some((one) => one.noLocal)),
      views: sessions.map((s) => viewOf(own(s).length > 0 ? own(s) : of(s))),
    }
  })
}

class Both {
  readonly #all = new Subscriptions(1e9)
  readonly #held = new Map<string, Held>()
  readonly #asked: Asked

  constructor(asked: Asked) {
    this.#asked = asked
  }

  change(at: number, subscription: StoredSubscription, isGone: boolean): void {
    const session = this.#asked.sessions[at]!
    const key = `${at} ${subscription.filter}`
    if (isGone) {
      this.#all.remove(session, subscription.filter)
      this.#held.delete(key)
    } else {
      this.#all.add(session, subscription)
      this.#held.set(key, { session, subscription })
    }
  }
  check(): void {
    const want = compared([...this.#held.values()], this.#asked)
    // The second time it is remembered.
    for (let i = 0; i < 3; i++) assert.deepEqual(told(this.#all, this.#asked), want)
  }
}
const elevenSessions = (): Session[] => Array.from({ length: 11 }, (_, i) => named(String(i)))

test('whatever was asked before, a changed subscription gives what comparing each with each topic gives', () => {
  const step = fc.record({
    session: fc.nat({ max: 10 }),
    filter: fc.constantFrom(...FILTERS),
    qos: fc.constantFrom(0, 1, 2),
    noLocal: fc.boolean(),
    retainAsPublished: fc.boolean(),
    subscriptionId: fc.option(fc.nat({ max: 3 }), { nil: undefined }),
    isGone: fc.boolean(),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const both = new Both({ sessions: elevenSessions(), topics: TOPICS })
      for (const { session, isGone, ...options } of steps) {
        both.change(session, { ...options, retainHandling: 0 }, isGone)
        both.check()
      }
    }),
    { numRuns: 200 },
  )
})

/** `x` or `+` in each of seven levels: a topic of the same levels is matched by all of them. */
const crossed = (i: number): string => Array.from({ length: 7 }, (_, bit) => ((i >> bit) & 1 ? '+' : 'x')).join('/')
const LONG_WALKS = ['x/x/x/x/x/x/x', 'x/x/x/x/x/x/x/y', 'x/x/y/x/x/x/x', 'y/y/y/y/y/y/y/y']

test('the same of sessions with hundreds of filters that all match, of which a search leaves most out', () => {
  const step = fc.record({
    session: fc.oneof(fc.nat({ max: 1 }), fc.nat({ max: 10 })),
    from: fc.nat({ max: 127 }),
    // One, so that it is the only one that asks for something, or most of them.
    count: fc.constantFrom(1, 1, 1, 16, 128),
    behind: fc.constantFrom('', '/#', '/+'),
    share: fc.constantFrom(...Array.from({ length: 9 }, () => ''), '$share/g/'),
    qos: fc.constantFrom(0, 0, 1, 2),
    noLocal: fc.constantFrom(false, false, false, true),
    retainAsPublished: fc.constantFrom(false, false, true),
    subscriptionId: fc.constantFrom(undefined, undefined, undefined, 1, 2),
    isGone: fc.constantFrom(false, false, true),
  })
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 12 }), (steps) => {
      const both = new Both({ sessions: elevenSessions(), topics: LONG_WALKS })
      for (const { session, from, count, behind, share, isGone, ...options } of steps) {
        for (let i = from; i < Math.min(128, from + count); i++)
          both.change(session, { filter: share + crossed(i) + behind, ...options, retainHandling: 0 }, isGone)
        both.check()
      }
    }),
    { numRuns: 60 },
  )
})
