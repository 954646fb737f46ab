import { test } from 'node:test'
import assert from 'node:assert/strict'
import { type Turn, Turns } from '../../../../../protocols/mqtt/bridge/sending/turns.ts'

/** Sends so many messages, each lane as many as it has. @returns how many went by lane */
function countBy<L extends Turn & { readonly name: string }>(lanes: readonly L[], messages: number): object {
  const turns = new Turns()
  const sent: Record<string, number> = Object.fromEntries(lanes.map(({ name }) => [name, 0]))
  for (let i = 0; i < messages; i++) {
    const lane = turns.next(lanes)!
    assert.ok(turns.left > 0)
    turns.sent(lane)
    sent[lane.name]!++
  }
  return sent
}
const lane = (name: string, priority: number, traffic: Turn['traffic'] = 'all') => ({ name, priority, traffic })

test('lanes of one priority have turns, live traffic three messages for one of its backlog', () => {
  assert.deepEqual(countBy([lane('a', 0), lane('b', 0), lane('c', 0)], 480), { a: 160, b: 160, c: 160 })
  assert.deepEqual(countBy([lane('l', 0, 'live'), lane('b', 0, 'backlog')], 400), { l: 300, b: 100 })
})
test('of several lower priorities each has its part of what goes beside the highest', () => {
  const sent = countBy([lane('high', 5), lane('middle', 3), lane('low', 0)], 9_000) as Record<string, number>
  assert.ok(sent['high']! > 7_800 && sent['high']! < 8_200, JSON.stringify(sent))
  assert.ok(sent['middle']! > 400 && sent['low']! > 400, JSON.stringify(sent))
})
test('a lane that was alone takes nothing from one that comes: the other has the next turn', () => {
  const turns = new Turns()
  const [backlog, live] = [lane('b', 0, 'backlog'), lane('l', 0, 'live')]
  for (let i = 0; i < 1_000; i++) turns.sent(turns.next([backlog])!)
  assert.equal(turns.next([live, backlog]), live)
  const [high, low] = [lane('h', 5), lane('low', 0)]
  for (let i = 0; i < 1_000; i++) turns.sent(turns.next([high])!)
  assert.equal(turns.next([high, low]), high, 'nobody waited')
})
test('without lanes there is no turn', () => assert.equal(new Turns().next([]), undefined))
