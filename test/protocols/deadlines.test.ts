import { test } from 'node:test'
import assert from 'node:assert/strict'
import { listenForDefects } from '../../core/defects/guard.ts'
import { Deadlines, type Deadline } from '../../protocols/deadlines.ts'
import { SimClock } from '../helpers/sim-clock.ts'

const entry = (): Deadline & { fired: number } => ({
  dueMs: Infinity,
  fired: 0,
  onDue() {
    this.fired++
  },
})

test('many deadlines need one timer, fire once each and no earlier than due', async () => {
  const clock = new SimClock()
  const deadlines = new Deadlines(clock)
  const entries = [100, 200, 300].map((ms) => {
    const e = entry()
    deadlines.add(e)
    deadlines.arm(e, ms)
    return e
  })
  assert.equal(clock.pendingTimers, 1)
  await clock.advance(199)
  assert.deepEqual(
    entries.map((e) => e.fired),
    [1, 0, 0],
  )
  await clock.advance(1000)
  assert.deepEqual(
    entries.map((e) => e.fired),
    [1, 1, 1],
  )
  assert.equal(clock.pendingTimers, 0)
})
test('a deadline that is moved back fires at its new time, an earlier one is not missed', async () => {
  const clock = new SimClock()
  const deadlines = new Deadlines(clock)
  const [late, early] = [entry(), entry()]
  deadlines.add(late)
  deadlines.add(early)
  deadlines.arm(late, 100)
  deadlines.arm(late, 1000)
  deadlines.arm(early, 50)
  await clock.advance(60)
  assert.deepEqual([late.fired, early.fired], [0, 1])
  await clock.advance(930)
  assert.equal(late.fired, 0)
  await clock.advance(20)
  assert.equal(late.fired, 1)
})
test("what is deleted does not fire, also when another one's firing deletes it", async () => {
  const clock = new SimClock()
  const deadlines = new Deadlines(clock)
  const second = entry()
  const first: Deadline = {
    dueMs: Infinity,
    onDue() {
      deadlines.delete(second)
    },
  }
  for (const e of [first, second]) {
    deadlines.add(e)
    deadlines.arm(e, 10)
  }
  await clock.advance(20)
  assert.equal(second.fired, 0)
})
test('one that throws is ended, and keeps no other from its turn', async () => {
  const told: string[] = []
  using _heard = listenForDefects((part, { message }) => {
    told.push(`${part} ${message}`)
  })
  const clock = new SimClock()
  const deadlines = new Deadlines(clock)
  let ended = ''
  const broken: Deadline = {
    dueMs: Infinity,
    onDue() {
      throw new Error('late')
    },
    broken({ code }) {
      ended = code
    },
  }
  const other = entry()
  for (const one of [broken, other]) {
    deadlines.add(one)
    deadlines.arm(one, 100)
  }
  await clock.advance(200)
  assert.deepEqual([told, ended, other.fired], [['timer late'], 'MESH_INTERNAL', 1])
})
