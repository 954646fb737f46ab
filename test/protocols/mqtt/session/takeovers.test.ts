import { test } from 'node:test'
import assert from 'node:assert/strict'
import { Takeovers } from '../../../../protocols/mqtt/session/takeovers.ts'
import { SimClock } from '../../../helpers/sim-clock.ts'

test('two devices with one client id are told from one that comes back', async () => {
  const clock = new SimClock()
  const seen = new Takeovers(clock)
  for (let i = 0; i < 3; i++) {
    assert.deepEqual(seen.listClones(), [])
    seen.note('pump-1')
    await clock.advance(5_000)
  }
  assert.deepEqual(seen.listClones(), [{ clientId: 'pump-1', times: 3 }])
  // One that loses its connection once in a while.
  for (let i = 0; i < 10; i++) {
    seen.note('pump-2')
    await clock.advance(61_000)
  }
  assert.deepEqual(seen.listClones(), [], 'and what is over for five minutes is told no more')
})
test('nobody fills it with names', () => {
  const seen = new Takeovers(new SimClock())
  for (let i = 0; i < 3; i++) seen.note('clone')
  for (let i = 0; i < 99; i++) seen.note(`c${i}`)
  assert.deepEqual(seen.listClones(), [{ clientId: 'clone', times: 3 }])
  for (let i = 0; i < 200; i++) seen.note(`d${i}`)
  assert.deepEqual(seen.listClones(), [])
})
