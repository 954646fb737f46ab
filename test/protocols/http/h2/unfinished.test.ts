/** Frames that do not end: what they hold, what of it counts, and when it does no longer. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { MemoryBudget } from '../../../../core/runtime/memory-budget.ts'
import { Metrics } from '../../../../core/metrics.ts'
import { FrameReader } from '../../../../protocols/http/codec/h2-frame-reader.ts'
import { Unfinished } from '../../../../protocols/http/h2/unfinished.ts'
import { Waiting, type Holder } from '../../../../protocols/waiting.ts'
import { frame, PREFACE } from '../../../helpers/raw-h2.ts'
import { SimClock } from '../../../helpers/sim-clock.ts'

const HEADERS = 1
const CONTINUATION = 9
const END_HEADERS = 4
const NONE = Buffer.alloc(0)
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
}

function reading(): { read: (bytes: Buffer) => void; unfinished: () => number; block: () => number } {
  let last = 0
  let block = 0
  const reader = new FrameReader(sink, {
    expectPreface: true,
    maxBlockBytes: 128 * 1024,
    onRead: (_received, unfinished, blockStreamId) => {
      last = unfinished
      block = blockStreamId
    },
  })
  reader.read(PREFACE)
  return {
    read: (bytes) => {
      reader.read(bytes)
    },
    unfinished: () => last,
    block: () => block,
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

test('a header block without its end is there with all its frames, and by whose it is', () => {
  const { read, unfinished, block } = reading()
  read(frame(HEADERS, 0, 1, Buffer.alloc(300)))
  assert.deepEqual([unfinished(), block()], [300, 1])
  const more = frame(CONTINUATION, 0, 1, Buffer.alloc(200))
  read(more.subarray(0, 100))
  assert.ok(unfinished() > 300, String(unfinished()))
  read(more.subarray(100))
  assert.deepEqual([unfinished(), block()], [500, 1])
  read(Buffer.concat([frame(CONTINUATION, END_HEADERS, 1, NONE), frame(HEADERS, 0, 3, Buffer.alloc(10))]))
  assert.deepEqual([unfinished(), block()], [10, 3])
  read(frame(CONTINUATION, END_HEADERS, 3, NONE))
  assert.deepEqual([unfinished(), block()], [0, 0])
})

test('who holds most goes when the budget is used up; what is finished, or over, counts no longer', async () => {
  const metrics = new Metrics()
  const waiting = new Waiting({ metrics, clock: new SimClock(0), budget: new MemoryBudget({ maxBytes: 100_000 }) })
  const gone: string[] = []
  const holder = (client: string): Holder => ({ client, giveUp: () => gone.push(client) })
  const of = (client: string): Unfinished =>
    new Unfinished({ waiting, holder: holder(client), clock: new SimClock(0), blockMs: 1000, onTimeout: assert.fail })
  const counted = (): number => metrics.total('mesh_stream_waiting_bytes')
  const [small, large, last] = [of('127.0.0.1'), of('127.0.0.2'), of('127.0.0.3')]
  small.read(500, 500, 0)
  assert.equal(counted(), 0)
  small.read(40_000, 30_000, 0)
  assert.equal(counted(), 30_000)
  small.read(10, 0, 0)
  assert.equal(counted(), 0)
  large.read(80_000, 80_000, 0)
  last.read(50_000, 50_000, 0)
  await Promise.resolve()
  assert.deepEqual(gone, ['127.0.0.2'])
  assert.equal(counted(), 50_000)
  last.end()
  assert.equal(counted(), 0)
})

test('a header block counts however short it is, and has so much time from its begin', async () => {
  const metrics = new Metrics()
  const clock = new SimClock(0)
  const waiting = new Waiting({ metrics, clock, budget: new MemoryBudget({ maxBytes: 1 << 20 }) })
  let ended = 0
  const unfinished = new Unfinished({
    waiting,
    holder: { client: '127.0.0.1', giveUp: ignore },
    clock,
    blockMs: 1_000,
    onTimeout: () => {
      ended++
    },
  })
  const counted = (): number => metrics.total('mesh_stream_waiting_bytes')
  unfinished.read(16, 16, 1)
  assert.equal(counted(), 16)
  await clock.advance(900)
  unfinished.read(16_000, 16_016, 1)
  assert.equal(counted(), 16_016)
  unfinished.read(1, 0, 0)
  await clock.advance(2_000)
  assert.deepEqual([counted(), ended], [0, 0], 'it has ended')
  unfinished.read(16_000, 16_000, 3)
  await clock.advance(600)
  unfinished.read(1_000, 17_000, 5)
  await clock.advance(600)
  assert.equal(ended, 0, 'another block has its own time')
  unfinished.read(1_000, 18_000, 5)
  await clock.advance(600)
  assert.equal(ended, 1, 'more of it does not give it more time')
  unfinished.read(1_000, 18_000, 7)
  unfinished.end()
  await clock.advance(2_000)
  assert.deepEqual([counted(), ended], [0, 1])
})
