import assert from 'node:assert/strict'
import { test } from 'node:test'
import { silentLog } from '../../../core/log.ts'
import { MeshError } from '../../../core/errors.ts'
import { unpackMessage } from '../../../core/relay/compression.ts'
import type { Mux } from '../../../core/relay/mux.ts'
import { makeMuxPair } from '../../core/relay/mux-pair.ts'
import type { RelayStream } from '../../../core/relay/stream.ts'
import { Reporter } from '../../../control-sync/fleet/reporter.ts'
import type { Quantities, Report } from '../../../model/fleet/report.ts'
import { decodeReport } from '../../../model/fleet/report-message.ts'
import { DETAILS, REPORT } from '../../helpers/control-plane/report.ts'
import { seededRandom } from '../../helpers/random.ts'
import { SimClock } from '../../helpers/sim-clock.ts'

const INTERVAL_MS = 15_000
const DAY_MS = 86_400_000

/** A reporter, and a hub that reads what it says. */
function rig() {
  const clock = new SimClock()
  const state = { report: REPORT, bytes: 0, collected: 0 }
  const got: { readonly report: Report; readonly atMs: number; readonly size: number }[] = []
  const streams: RelayStream[] = []
  const reporter = new Reporter({
    clock,
    random: seededRandom(7),
    log: silentLog,
    intervalMs: INTERVAL_MS,
    collect: () => {
      state.collected++
      return state.report
    },
    bytes: (purpose, _direction, bytes) => {
      assert.equal(purpose, 'report')
      state.bytes += bytes
    },
  })
  const connect = (): Disposable & { readonly agent: Mux } => {
    let before: Report | undefined
    const { agent } = makeMuxPair({
      delivers: 'now',
      maxMessageBytes: 32 * 1024,
      maxStreams: 4,
      onStream: (stream) => {
        assert.equal(stream.kind, 'report')
        streams.push(stream)
        stream.listen({
          onMessage: (message) => {
            before = decodeReport(unpackMessage(message, 32 * 1024), before)
            got.push({ report: before, atMs: clock.monotonicMs(), size: message.length })
          },
        })
      },
    })
    const attached = reporter.attach({ mux: agent, withDictionary: true })
    return { agent, [Symbol.dispose]: () => attached[Symbol.dispose]() }
  }
  const change = (over: Partial<Report>): void => {
    state.report = { ...state.report, ...over }
  }
  const count = (over: Partial<Quantities>): void => change({ quantities: { ...state.report.quantities, ...over } })
  return { clock, state, got, streams, reporter, connect, change, count }
}

test('a device at rest says how it is once, and then nothing for a month', async (t) => {
  const { clock, got, connect, state, change } = rig()
  change({ details: DETAILS })
  using _connection = connect()
  await clock.advance(30 * DAY_MS)
  assert.deepEqual(
    got.map(({ report }) => report),
    [{ ...REPORT, details: DETAILS }],
  )
  t.diagnostic(`reports of a month at rest, with services and queues: ${state.bytes} bytes`)
  assert.ok(state.bytes < 500)
})

test('what reports and pings move is no reason for a report: each would be that for the next', async (t) => {
  const { clock, got, connect, state, count } = rig()
  using _connection = connect()
  const days = 30
  for (let minutes = 0; minutes < days * 24 * 60; minutes += 30) {
    const bytes = [...REPORT.quantities.bytes, { purpose: 'transport', sent: 9 * minutes, received: 0 }].map((one) =>
      one.purpose === 'report' ? { ...one, sent: one.sent + state.bytes } : one,
    )
    count({ bytes, rttMs: 40 + (minutes % 90) })
    await clock.advance(30 * 60_000)
  }
  t.diagnostic(`reports of a month in which the link alone is counted: ${state.bytes} bytes`)
  assert.equal(got.length, 1)
  count({ requests: 5 })
  await clock.advance(30 * 60_000)
  assert.equal(got.at(-1)!.report.quantities.rttMs, state.report.quantities.rttMs, 'they are told along')
})

test('a change is told soon, and not more often than is set', async () => {
  const { clock, got, connect, change, reporter } = rig()
  using _connection = connect()
  await clock.advance(60_000)
  change({ revision: 'r2' })
  reporter.changed()
  await clock.advance(1_300)
  assert.equal(got.at(-1)!.report.revision, 'r2')
  for (let i = 0; i < 600; i++) {
    change({ revision: `r${i}` })
    reporter.changed()
    await clock.advance(100)
  }
  await clock.advance(INTERVAL_MS * 2)
  assert.equal(got.at(-1)!.report.revision, 'r599')
  for (const [i, { atMs }] of got.entries())
    if (i > 0) assert.ok(atMs - got[i - 1]!.atMs >= INTERVAL_MS || i === 1, `${atMs - got[i - 1]!.atMs} ms`)
  assert.ok(got.length >= 4, `${got.length}`)
})

test('counts go seldom, and often for a while after the configuration has changed', async () => {
  const { clock, got, connect, count, change, state } = rig()
  using _connection = connect()
  // The first revision is one, too.
  await clock.advance(11 * 60_000)
  const hour = async (): Promise<number> => {
    const before = got.length
    for (let i = 0; i < 360; i++) {
      count({ requests: state.report.quantities.requests + 10 })
      await clock.advance(10_000)
    }
    return got.length - before
  }
  const atRest = await hour()
  assert.ok(atRest >= 9 && atRest <= 12, `${atRest}`)
  change({ revision: 'r2' })
  const watched = await hour()
  assert.ok(watched >= 35 && watched <= 60, `${watched}`)
})

test('the next connection begins with the whole, and a stream that is over is not written to', async () => {
  const { clock, got, connect, change } = rig()
  const first = connect()
  await clock.advance(60_000)
  first[Symbol.dispose]()
  change({ state: 'draining' })
  await clock.advance(60_000)
  assert.equal(got.length, 1)
  using _second = connect()
  await clock.advance(60_000)
  assert.equal(got.length, 2)
  assert.equal(got[1]!.report.state, 'draining')
})

test('a hub that takes none is left in peace for minutes', async () => {
  const { clock, streams, connect, change, got } = rig()
  using _connection = connect()
  await clock.advance(10_000)
  streams[0]!.reset(new MeshError('MESH_CONTROL_SLOW_DOWN', 'too many'))
  for (let i = 0; i < 28; i++) {
    change({ revision: `r${i}` })
    await clock.advance(10_000)
  }
  assert.equal(streams.length, 1)
  await clock.advance(120_000)
  assert.equal(streams.length, 2)
  assert.equal(got.at(-1)!.report.revision, 'r27')
})

test('a hub that takes nothing is told no more than waits for it, and how the device is once it does', async () => {
  const { clock, state, got, streams, connect, change } = rig()
  using _connection = connect()
  await clock.advance(INTERVAL_MS)
  streams[0]!.pause()
  const random = seededRandom(3)
  const say = async (text: string): Promise<void> => {
    change({ problems: [{ code: 'MESH_INTERNAL', text }] })
    await clock.advance(2 * INTERVAL_MS)
  }
  for (let i = 0; i < 3_000; i++) await say(Array.from({ length: 60 }, () => random.float().toString(36)).join(''))
  assert.ok(state.bytes < 600_000, `${state.bytes} bytes`)
  await say('now')
  streams[0]!.resume()
  await clock.advance(2 * INTERVAL_MS)
  assert.equal(got.at(-1)?.report.problems[0]?.text, 'now')
})
