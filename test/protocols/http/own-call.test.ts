/** A request of our own: it is over once, however it ends, and is cancelled only where it goes on by itself. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { MeshError } from '../../../core/errors.ts'
import type { CallEvents, HttpCall, HttpUpstreams, ResponseHead } from '../../../protocols/http/message.ts'
import { OwnCall, type OwnCallEnd } from '../../../protocols/http/own-call.ts'
import { SimClock } from '../../helpers/sim-clock.ts'
import { cluster, endpoint } from './harness.ts'

const HEAD: ResponseHead = { status: 200, headers: ['a', 'b'], contentLength: 3 }
const FAULT = new MeshError('MESH_UPSTREAM_RESET', 'x')
const REQUEST = {
  method: 'POST',
  scheme: 'http',
  authority: 'a',
  path: '/',
  headers: [],
  bodyLength: 2,
  maybeTrailers: false,
  upgrade: undefined,
} as const

type Rig = {
  readonly events: CallEvents
  readonly call: OwnCall
  readonly clock: SimClock
  readonly ends: OwnCallEnd[]
  /** What was done with the call. */
  readonly done: string[]
  /** A connection is there. */
  open(): void
}
function begin(body: readonly Buffer[] = [Buffer.from('hi')], keepsAnswer = true): Rig {
  const [done, ends, clock]: [string[], OwnCallEnd[], SimClock] = [[], [], new SimClock()]
  let events: CallEvents | undefined
  const upstreams = {
    startCall: (_cluster: unknown, _options: unknown, told: CallEvents) => {
      events = told
      return { cancel: () => done.push('cancel waiting') }
    },
  } as unknown as HttpUpstreams
  const options = { speaks: 'http1', fresh: false, maxHostPicks: 0, timeoutMs: 1_000, maxAnswerBytes: 4 } as const
  const call = new OwnCall(
    '10.0.0.1',
    { head: REQUEST, body },
    { ...options, host: 'a', originalDst: undefined, keepsAnswer },
    { onSent: () => done.push('sent'), onOver: (end) => ends.push(end) },
  )
  call.start(upstreams, clock, cluster([endpoint('10.0.0.2', 80)]))
  const opened = {
    sendHead: (_head: unknown, end: boolean) => done.push(end ? 'head, end' : 'head'),
    sendData: (chunk: Buffer) => done.push(chunk.toString()),
    sendEnd: () => done.push('end'),
    flush: () => true,
    cancel: () => done.push('cancel'),
  } as unknown as HttpCall
  return { events: events!, call, clock, ends, done, open: () => events!.onCall(opened) }
}

test('the request goes as a whole, one without a body ends with its head', () => {
  const whole = begin()
  whole.open()
  assert.deepEqual(whole.done, ['head', 'hi', 'end', 'sent'])
  const bodiless = begin([])
  bodiless.open()
  assert.deepEqual(bodiless.done, ['head, end', 'sent'])
})

for (const keepsAnswer of [true, false])
  test(`an answer is told when it has come as a whole, ${keepsAnswer ? 'with' : 'without'} its bytes, and nothing is cancelled`, () => {
    const { events, open, ends, done } = begin(undefined, keepsAnswer)
    open()
    events.onCallHead(HEAD, false)
    events.onCallData(Buffer.from('abc'))
    assert.deepEqual(ends, [])
    events.onCallEnd(['grpc-status', '0'])
    const bytes = Buffer.from(keepsAnswer ? 'abc' : '')
    assert.deepEqual(ends, [{ kind: 'answered', answer: { head: HEAD, bytes, trailers: ['grpc-status', '0'] } }])
    assert.equal(done.includes('cancel'), false)
  })

for (const { name, happens, end, cancels } of [
  { name: 'the cluster was replaced', happens: ({ events }) => events.onCallMoved(), end: { kind: 'moved' } },
  {
    name: 'no connection',
    happens: ({ events }) => events.onCallFailed(FAULT, 'nothing'),
    end: { kind: 'failed', error: FAULT, mayRepeat: false },
  },
  {
    name: 'a connection of the pool that had been closed',
    happens: ({ events, open }) => {
      open()
      events.onCallFailed(FAULT, 'all', true)
    },
    end: { kind: 'failed', error: FAULT, mayRepeat: true },
  },
  {
    name: 'late while it waits',
    happens: ({ clock }) => clock.advance(1_000),
    end: { kind: 'late' },
    cancels: 'cancel waiting',
  },
  {
    name: 'late while it is answered',
    happens: ({ open, clock }) => {
      open()
      return clock.advance(1_000)
    },
    end: { kind: 'late' },
    cancels: 'cancel',
  },
  {
    name: 'an answer above the bound',
    happens: ({ open, events }) => {
      open()
      events.onCallHead(HEAD, false)
      events.onCallData(Buffer.from('abcde'))
    },
    end: { kind: 'too-large' },
    cancels: 'cancel',
  },
  {
    name: 'another protocol',
    happens: ({ open, events }) => {
      open()
      events.onCallUpgraded(HEAD, new PassThrough(), undefined)
    },
    end: { kind: 'upgraded' },
  },
] satisfies readonly {
  name: string
  happens: (rig: Rig) => unknown
  end: OwnCallEnd
  cancels?: string
}[] as readonly { name: string; happens: (rig: Rig) => unknown; end: OwnCallEnd; cancels?: string }[])
  test(`it is over once: ${name}`, async () => {
    const rig = begin()
    await happens(rig)
    rig.call.cancel()
    await rig.clock.advance(5_000)
    assert.deepEqual(rig.ends, [end])
    assert.deepEqual(
      rig.done.filter((what) => what.startsWith('cancel')),
      cancels === undefined ? [] : [cancels],
    )
  })

test('who cancels it hears nothing more', async () => {
  const rig = begin()
  rig.open()
  rig.call.cancel()
  await rig.clock.advance(5_000)
  assert.deepEqual([rig.ends, rig.done.at(-1)], [[], 'cancel'])
})
