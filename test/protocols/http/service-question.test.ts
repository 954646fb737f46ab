/** One question to a service: how often it is asked, and what comes of each way that a call may end. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { MeshError } from '../../../core/errors.ts'
import type { Cluster } from '../../../model/cluster.ts'
import { Metrics } from '../../../core/metrics.ts'
import { MemoryBudget } from '../../../core/runtime/memory-budget.ts'
import { Current } from '../../../core/current.ts'
import type { CallEvents, HttpUpstreams } from '../../../protocols/http/message.ts'
import { ServiceQuestion, type ServiceAnswer } from '../../../protocols/http/service-question.ts'
import { settle, SimClock } from '../../helpers/sim-clock.ts'
import { cluster, tablesOf } from './harness.ts'

const RESET = new MeshError('MESH_UPSTREAM_RESET', 'it is closed')
const HEAD = { status: 200, headers: [] } as never
type End = (events: CallEvents) => void
const answer: End = (events) => {
  events.onCallHead(HEAD, false)
  events.onCallEnd(undefined)
}
const moved: End = (events) => events.onCallMoved()
const closed: End = (events) => events.onCallFailed(RESET, 'all', true)
const broken: End = (events) => events.onCallFailed(RESET, 'all', false)

function ask(
  ends: readonly End[],
  known = true,
  bytes = 1,
  budgetBytes = Infinity,
  giveUp?: (error: MeshError) => void,
) {
  const clock = new SimClock()
  const asked: boolean[] = []
  const said: ServiceAnswer[] = []
  const upstreams = {
    startCall: (_: Cluster, { fresh }: { fresh: boolean }, events: CallEvents) => {
      queueMicrotask(() => ends[asked.push(fresh) - 1]?.(events))
    },
  } as unknown as HttpUpstreams
  const metrics = new Metrics()
  const budget = new MemoryBudget({ maxBytes: budgetBytes, metrics })
  const ctx = { clock, metrics, budget, tables: new Current(tablesOf(known ? [cluster([], { name: 'auth' })] : [])) }
  const service = { kind: 'grpc', cluster: 'auth', authority: 'a', timeoutMs: 500 } as const
  const question = { head: {} as never, bytes: Buffer.alloc(bytes) }
  const one = new ServiceQuestion(
    { ctx, upstreams },
    { source: '', service, question, ...(giveUp && { giveUp }) },
    (a) => said.push(a),
  )
  one.start()
  const waits = (): number => metrics.total('mesh_stream_waiting_bytes')
  return { one, clock, asked, said, budget, waits }
}
const words = (said: readonly ServiceAnswer[]): string[] =>
  said.map((one) => (one.kind === 'answered' ? 'answered' : one.why))

for (const { name, ends, asked, want } of [
  { name: 'an answer', ends: [answer], asked: [false], want: 'answered' },
  {
    name: 'a cluster that is replaced twice',
    ends: [moved, moved, answer],
    asked: [false, false, false],
    want: 'answered',
  },
  {
    name: 'a connection of the pool that had been closed',
    ends: [closed, answer],
    asked: [false, true],
    want: 'answered',
  },
  { name: 'one that was closed, and again', ends: [closed, closed], asked: [false, true], want: 'it is closed' },
  { name: 'one that breaks', ends: [broken], asked: [false], want: 'it is closed' },
  {
    name: 'too much',
    ends: [(events: CallEvents) => events.onCallData(Buffer.alloc(64 * 1024 + 1))],
    asked: [false],
    want: 'the answer of the service is larger than 65536 bytes',
  },
])
  test(`a service is asked, and there comes ${name}`, async () => {
    const q = ask(ends)
    await settle()
    assert.deepEqual([q.asked, words(q.said)], [asked, [want]])
    await q.clock.advance(1_000)
    assert.equal(q.said.length, 1, 'the time of a question that is over is over')
  })
test('nothing within its time', async () => {
  const q = ask([])
  await q.clock.advance(500)
  assert.deepEqual(words(q.said), ['the service gave no answer within 500 ms'])
})
test('a cluster that nobody knows', () => {
  assert.deepEqual(words(ask([], false).said), ["the service's cluster auth is unknown"])
})
test('who does not wait any more is told nothing', async () => {
  const q = ask([answer])
  q.one.cancel()
  await q.clock.advance(1_000)
  assert.deepEqual(q.said, [])
})

for (const { name, does } of [
  { name: 'it is answered', does: () => settle() },
  { name: 'nobody waits any more', does: async ({ one }: ReturnType<typeof ask>) => one.cancel() },
  { name: 'the service is silent', does: ({ clock }: ReturnType<typeof ask>) => clock.advance(500) },
])
  test(`a question with a body is counted until ${name}`, async () => {
    const asking = ask(name === 'it is answered' ? [answer] : [() => {}], true, 100_000)
    assert.equal(asking.waits(), 100_000)
    await does(asking)
    assert.equal(asking.waits(), 0)
  })
test('memory that others need ends a question, in the way of whoever asks', async () => {
  const { budget, said, waits } = ask([() => {}], true, 100_000, 150_000)
  budget.take(100_000)
  await settle()
  assert.deepEqual([said.length, said[0]?.kind, waits()], [1, 'error', 0])
  const told: MeshError[] = []
  const other = ask([() => {}], true, 100_000, 150_000, (error) => told.push(error))
  other.budget.take(100_000)
  await settle()
  assert.deepEqual([told.length, other.said.length], [1, 0])
})
