import { test } from 'node:test'
import assert from 'node:assert/strict'
import fc from 'fast-check'
import type { StoredSubscription } from '../../../../protocols/mqtt/durability.ts'
import type { Session } from '../../../../protocols/mqtt/session/session.ts'
import { Subscribers, Target, Targets } from '../../../../protocols/mqtt/topics/target.ts'

/** They are compared only. */
const sessions = Array.from({ length: 12 }, () => ({})) as Session[]
const one = (p: Partial<StoredSubscription> = {}): StoredSubscription => ({
  filter: 'a',
  qos: 0,
  noLocal: false,
  retainAsPublished: false,
  retainHandling: 0,
  subscriptionId: undefined,
  ...p,
})

test('subscribers of a filter are what a map would hold, whether none, one or many', () => {
  const step = fc.record({ at: fc.nat({ max: 3 }), isGone: fc.boolean() })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const [held, map] = [new Subscribers(), new Map<Session, StoredSubscription>()]
      for (const { at, isGone } of steps) {
        const [session, subscription] = [sessions[at]!, one()]
        if (isGone) assert.equal(held.delete(session), map.delete(session))
        else {
          held.set(session, subscription)
          map.set(session, subscription)
        }
        const seen = new Map<Session, StoredSubscription>()
        held.each((s, of) => seen.set(s, of))
        assert.deepEqual([...seen], [...map])
        assert.equal(held.size, map.size)
        for (const s of sessions) assert.equal(held.has(s), map.has(s))
      }
    }),
  )
})

test('each session is a target once, however many of them and of their subscriptions match', () => {
  const targets = new Targets()
  for (const id of [1, 2, 3])
    for (const session of sessions) targets.add(session, one({ qos: id === 2 ? 2 : 1, subscriptionId: id }))
  assert.equal(targets.all.length, sessions.length)
  for (const session of sessions) {
    const { qos, ids } = targets.get(session)!
    assert.deepEqual([qos, ids], [2, [1, 2, 3]])
  }
  assert.equal(targets.get({} as Session), undefined)
})

test('[MQTT-3.8.3-3] a copy, and a session as its own publisher, stay what they were when more is added', () => {
  const target = new Target(sessions[0]!).add(one({ subscriptionId: 1 })).add(one({ noLocal: true, qos: 2 }))
  const copy = target.copy().add(one({ subscriptionId: 2, retainAsPublished: true }))
  assert.deepEqual([target.qos, target.ids, target.withoutLocal?.qos, target.withoutLocal?.ids], [2, [1], 0, [1]])
  assert.deepEqual([copy.ids, copy.withoutLocal?.ids, copy.withoutLocal?.retainAsPublished], [[1, 2], [1, 2], true])
})
