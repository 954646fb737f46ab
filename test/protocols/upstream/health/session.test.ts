/** One host, asked again and again. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { MeshError } from '../../../../core/errors.ts'
import { Host } from '../../../../protocols/upstream/host.ts'
import { CheckBudget } from '../../../../protocols/upstream/health/budget.ts'
import type { Ask } from '../../../../protocols/upstream/health/ask.ts'
import { createProgress } from '../../../../protocols/upstream/health/progress.ts'
import { CheckSession } from '../../../../protocols/upstream/health/session.ts'
import { seededRandom } from '../../../helpers/random.ts'
import { SimClock } from '../../../helpers/sim-clock.ts'
import { endpoint } from '../../http/harness.ts'
import { checkOf } from './rig.ts'

function rig(ask: Ask, budget = new CheckBudget(() => {})) {
  const clock = new SimClock()
  const told: string[] = []
  let disposed = 0
  const session = new CheckSession({
    host: new Host(endpoint('10.0.0.1', 80)),
    check: checkOf(),
    asker: { ask, [Symbol.dispose]: () => void disposed++ },
    progress: createProgress(false),
    budget,
    clock,
    random: seededRandom(3),
    wasUsed: () => true,
    told: (_host, verdict, change) => told.push(`${verdict?.kind ?? 'unknown'} ${change}`),
  })
  return { clock, told, session, disposed: () => disposed }
}
const never: Ask = () => new Promise(() => {})

test('the first question comes within the jitter, the next ones by the interval', async () => {
  const { clock, told, session } = rig(async () => ({ kind: 'passed', isDegraded: false }))
  session.start(5_000)
  assert.equal(told.length, 0)
  await clock.advance(5_000)
  assert.deepEqual(told, ['passed changed'])
  await clock.advance(10_000)
  assert.deepEqual(told, ['passed changed', 'passed none'])
})
test('who never answers has failed when the time is over, also when the question knows no signal', async () => {
  const { clock, told, session } = rig(never)
  session.start(0)
  await clock.advance(0)
  await clock.advance(999)
  assert.deepEqual(told, [])
  await clock.advance(1)
  assert.deepEqual(told, ['failed changed'])
  assert.match(session.reason!, /no answer within 1000 ms/)
})
test('what is missing here says nothing of the host, and is looked for soon', async () => {
  let isThere = false
  const { clock, told, session } = rig(async () => {
    if (!isThere) throw new MeshError('MESH_NO_IDENTITY', 'no certificate yet')
    return { kind: 'passed', isDegraded: false }
  })
  session.start(0)
  await clock.advance(0)
  assert.deepEqual([told, session.wasAsked, session.progress.isFirst], [['unknown none'], true, true])
  isThere = true
  await clock.advance(1_000)
  assert.deepEqual(told, ['unknown none', 'passed changed'])
})
test('a session that ends asks no more, tells nothing more, and gives its turn back', async () => {
  const budget = new CheckBudget(() => {}, 1)
  const { clock, told, session, disposed } = rig(never, budget)
  session.start(0)
  await clock.advance(0)
  assert.equal(budget.running, 1)
  session[Symbol.dispose]()
  await clock.advance(0)
  assert.deepEqual([budget.running, told, disposed(), clock.pendingTimers], [0, [], 1, 0])
})
test('turns go to those who wait, in their order; who leaves waits no more', () => {
  const order: string[] = []
  let deferred = 0
  const budget = new CheckBudget(() => deferred++, 1)
  const turns: Disposable[] = []
  const take = (name: string): Disposable =>
    budget.take({}, (turn) => {
      order.push(name)
      turns.push(turn)
    })
  take('a')
  using gone = take('b')
  take('c')
  gone[Symbol.dispose]()
  assert.deepEqual([order, deferred], [['a'], 2])
  turns[0]![Symbol.dispose]()
  assert.deepEqual(order, ['a', 'c'])
  turns[0]![Symbol.dispose]()
  assert.equal(budget.running, 1)
})
test('turns go round by cluster: the hosts of one that wait in thousands keep no other from being asked', () => {
  const [many, few] = [{ name: 'many' }, { name: 'few' }]
  const budget = new CheckBudget(() => {}, 1)
  const asked: string[] = []
  const turns: Disposable[] = []
  const ask = (of: { readonly name: string }): Disposable =>
    budget.take(of, (turn) => {
      asked.push(of.name)
      turns.push(turn)
    })
  for (let i = 0; i < 1_000; i++) ask(many)
  const gone = ask(few)
  for (let i = 0; i < 2; i++) ask(few)
  gone[Symbol.dispose]()
  for (let turn = turns.shift(); turn && asked.length < 8; turn = turns.shift()) turn[Symbol.dispose]()
  assert.deepEqual(asked, ['many', 'many', 'few', 'many', 'few', 'many', 'many', 'many'])
})
