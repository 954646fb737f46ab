/** How many requests of one source begin in one turn of the event loop, and whose. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { setImmediate as turn } from 'node:timers/promises'
import { SourceTurns, type SourceTurn, type Starter } from '../../../../protocols/http/server/source-turn.ts'

class Connection implements Starter {
  readonly turn: SourceTurn
  waiting = 0
  begun = 0
  constructor(turns: SourceTurns, source: string) {
    this.turn = turns.join(source, this)
  }
  ask(requests: number): void {
    for (let i = 0; i < requests; i++) {
      if (this.waiting === 0 && this.turn.take()) this.begun++
      else if (++this.waiting === 1) this.turn.wait(this)
    }
  }
  beginNext(): boolean {
    this.begun++
    return --this.waiting > 0
  }
  broken(): void {
    assert.fail('no defect')
  }
}
const connections = (turns: SourceTurns, source: string, count: number): Connection[] =>
  Array.from({ length: count }, () => new Connection(turns, source))
const total = (of: readonly Connection[]): number => of.reduce((sum, c) => sum + c.begun, 0)

test('one connection begins 16 in a turn, and all that wait in the end', async () => {
  const [c] = connections(new SourceTurns(), 'a', 1) as [Connection]
  c.ask(40)
  assert.equal(c.begun, 16)
  await turn()
  assert.equal(c.begun, 32)
  await turn()
  assert.equal(c.begun, 40)
  await turn()
  c.ask(1)
  assert.equal(c.begun, 41, 'at once, for nothing waits')
})
test('many connections of one source share 64 in a turn, one each in rotation', async () => {
  const many = connections(new SourceTurns(), 'a', 100)
  for (const c of many) c.ask(3)
  assert.equal(total(many), 64)
  for (let turns = 1; turns < 5; turns++) {
    const before = total(many)
    await turn()
    assert.equal(total(many) - before, Math.min(64, 300 - before))
    const counts = many.map((c) => c.begun)
    assert.ok(Math.max(...counts.slice(22)) - Math.min(...counts.slice(22)) <= 1, String(counts))
  }
  assert.equal(total(many), 300)
})
test('sources do not wait for each other', () => {
  const turns = new SourceTurns()
  const many = connections(turns, 'a', 100)
  const [other] = connections(turns, 'b', 1) as [Connection]
  for (const c of many) c.ask(3)
  other.ask(5)
  assert.equal(other.begun, 5)
})
test('who has left begins nothing more, and a source without connections is forgotten', async () => {
  const turns = new SourceTurns()
  const [one, two] = connections(turns, 'a', 2) as [Connection, Connection]
  one.ask(40)
  two.ask(40)
  one.turn.leave(one)
  const { begun } = one
  await turn()
  assert.equal(one.begun, begun)
  assert.ok(two.begun > 0)
  assert.equal(turns.sources, 1)
  two.turn.leave(two)
  two.turn.leave(two)
  assert.equal(turns.sources, 0)
  await turn()
})
