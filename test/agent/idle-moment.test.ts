import { test } from 'node:test'
import assert from 'node:assert/strict'
import { inIdleMoment } from '../../agent/idle-moment.ts'
import { SimClock } from '../helpers/sim-clock.ts'

class Agent {
  readonly clock = new SimClock()
  isIdle = false
  worked = 0
  constructor() { inIdleMoment(() => { this.worked++ }, { isIdle: () => this.isIdle, after: (ms, fn) => { this.clock.after(ms, fn) } }) }
}

test('the work is done once, as soon as nobody is connected', async () => {
  const agent = new Agent()
  await agent.clock.advance(5_000)
  assert.equal(agent.worked, 0)
  agent.isIdle = true
  await agent.clock.advance(500)
  assert.equal(agent.worked, 1)
  await agent.clock.advance(60_000)
  assert.equal(agent.worked, 1)
})
test('somebody who stays connected puts it off for ten seconds', async () => {
  const agent = new Agent()
  await agent.clock.advance(9_900)
  assert.equal(agent.worked, 0)
  await agent.clock.advance(500)
  assert.equal(agent.worked, 1)
})
