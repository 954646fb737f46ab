import { test } from 'node:test'
import assert from 'node:assert/strict'
import fc from 'fast-check'
import type { Session } from '../../../../protocols/mqtt/session/session.ts'
import { Group } from '../../../../protocols/mqtt/session/groups.ts'

/** As much of a session as a group asks. */
type Fake = {
  link: object | undefined
  stored: boolean
  looks: number
  join(): void
  leave(): void
  mayHave(): boolean
}
const fake = (isConnected = true, stored = true): Fake & Session =>
  ({
    link: isConnected ? {} : undefined,
    stored,
    join() {},
    leave() {},
    looks: 0,
    mayHave() {
      this.looks++
      return true
    },
    // Nothing else is asked.
  }) as Fake as Fake & Session
const SUBSCRIPTION = {
  filter: '$share/g/t',
  qos: 1,
  noLocal: false,
  retainAsPublished: false,
  retainHandling: 0,
  subscriptionId: undefined,
} as const

test('whoever joins, leaves, comes and goes: each connected member has its turn, and one look finds the next', () => {
  const step = fc.record({ what: fc.constantFrom('join', 'leave', 'come', 'go'), which: fc.nat(20) })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const group = new Group('$share/g/t')
      const all = Array.from({ length: 8 }, () => fake(false))
      const members = new Set<Session>()
      for (const { what, which } of steps) {
        const session = all[which % all.length]!
        if (what === 'join') assert.equal(group.join(session, SUBSCRIPTION), !members.has(session))
        if (what === 'leave') assert.equal(group.leave(session), members.has(session))
        if (what === 'join') members.add(session)
        if (what === 'leave') members.delete(session)
        if (what === 'come' || what === 'go') {
          session.link = what === 'come' ? ({} as never) : undefined
          if (members.has(session)) group.noteConnection(session)
        }
      }
      const connected = [...members].filter(({ link }) => link !== undefined)
      const expected = connected.length > 0 ? connected : [...members]
      for (const one of all) one.looks = 0
      const chosen = expected.map(() => group.next('t')?.session)
      assert.deepEqual(new Set(chosen), new Set(expected))
      assert.equal(group.next('t') === undefined, members.size === 0)
      const looks = all.reduce((sum, one) => sum + one.looks, 0)
      assert.equal(looks, members.size === 0 ? 0 : expected.length + 1)
    }),
  )
})

test('with 20,000 members of whom one is connected, one look finds it', () => {
  const group = new Group('$share/g/t')
  const all = Array.from({ length: 20_000 }, (_, i) => fake(i === 15_000))
  for (const one of all) group.join(one, SUBSCRIPTION)
  for (let i = 0; i < 100; i++) assert.equal(group.next('t')?.session, all[15_000])
  assert.equal(
    all.reduce((sum, one) => sum + one.looks, 0),
    100,
  )
})
