/** Frames that do not end: what they hold, what of it counts, and when it does no longer. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { MemoryBudget } from '../../../../core/runtime/memory-budget.ts'
import { Metrics } from '../../../../core/metrics.ts'
import { FrameReader } from '../../../../protocols/http/codec/h2-frame-reader.ts'
import { UnfinishedHold } from '../../../../protocols/http/h2/unfinished.ts'
import { Waiting } from '../../../../protocols/waiting.ts'
import { frame, PREFACE } from '../../../helpers/raw-h2.ts'
import { SimClock } from '../../../helpers/sim-clock.ts'

const HEADERS = 1
const END_HEADERS = 4
const ignore = (): void => {}
const sink = {
  onData: ignore,
  onHeaders: ignore,
  onPriority: ignore,
  onReset: ignore,
  onSettings: ignore,
  onSettingsAck: ignore,
  onPing: ignore,
  onGoaway: ignore,
  onWindowUpdate: ignore,
  onStreamError: ignore,
  onEmptyFrame: ignore,
  onEndlessBlock: ignore,
  onOpenBlock: ignore,
}

function reading(): { read: (bytes: Buffer) => void; unfinished: () => number } {
  let last = 0
  const reader = new FrameReader(sink, {
    expectPreface: true,
    maxBlockBytes: 128 * 1024,
    onRead: (_received, unfinished) => {
      last = unfinished
    },
  })
  reader.read(PREFACE)
  return {
    read: (bytes) => {
      reader.read(bytes)
    },
    unfinished: () => last,
  }
}

test('a frame that promises much holds about as much as has come of it', () => {
  const { read, unfinished } = reading()
  const whole = frame(HEADERS, END_HEADERS, 1, Buffer.alloc(16_000))
  read(whole.subarray(0, 10))
  assert.ok(unfinished() > 0 && unfinished() <= 512, String(unfinished()))
  read(whole.subarray(10, 5_000))
  assert.ok(unfinished() >= 5_000 && unfinished() <= 10_000, String(unfinished()))
  read(whole.subarray(5_000))
  assert.equal(unfinished(), 0)
})

test('who holds most goes when the budget is used up; what is finished, or over, counts no longer', async () => {
  const metrics = new Metrics()
  const waiting = new Waiting({ metrics, clock: new SimClock(0), budget: new MemoryBudget({ maxBytes: 100_000 }) })
  const gone: string[] = []
  const of = (client: string): UnfinishedHold =>
    new UnfinishedHold(waiting, {
      client,
      giveUp: () => {
        gone.push(client)
      },
    })
  const counted = (): number => metrics.total('mesh_stream_waiting_bytes')
  const [small, large, last] = [of('127.0.0.1'), of('127.0.0.2'), of('127.0.0.3')]
  small.read(500, 500)
  assert.equal(counted(), 0)
  small.read(40_000, 30_000)
  assert.equal(counted(), 30_000)
  small.read(10, 0)
  assert.equal(counted(), 0)
  large.read(80_000, 80_000)
  last.read(50_000, 50_000)
  await Promise.resolve()
  assert.deepEqual(gone, ['127.0.0.2'])
  assert.equal(counted(), 50_000)
  last.end()
  assert.equal(counted(), 0)
})
