import { test } from 'node:test'
import assert from 'node:assert/strict'
import { MeshError } from '../../../core/errors.ts'
import { FRAME, readVarint, type Frame } from '../../../core/relay/frames.ts'
import { RelayStream, WINDOW_BYTES } from '../../../core/relay/stream.ts'

function open(maxMessageBytes = 1_000_000) {
  const control: Frame[] = []
  const got: number[] = []
  const held = { bytes: 0 }
  const stream = new RelayStream({
    id: 1,
    kind: 'tunnel',
    maxMessageBytes,
    owner: {
      control: (frame) => control.push(frame),
      wake: () => undefined,
      closed: () => undefined,
      held: (change) => {
        held.bytes += change
      },
      later: queueMicrotask,
    },
  })
  stream.listen({ onMessage: (message) => got.push(message.length) })
  const credit = (): number =>
    control
      .filter(({ type }) => type === FRAME.credit)
      .reduce((sum, { payload }) => sum + readVarint(payload, 0).value, 0)
  return { stream, control, got, credit, held }
}
const part = (bytes: number): Frame => ({ type: FRAME.part, stream: 1, payload: Buffer.alloc(bytes) })
const last = (bytes: number): Frame => ({ type: FRAME.last, stream: 1, payload: Buffer.alloc(bytes) })

test('so much is sent as the other side has room for, and the rest when it gives credit', () => {
  const { stream } = open()
  stream.send(Buffer.alloc(WINDOW_BYTES + 10))
  let sent = 0
  const drain = (): void => {
    for (let frame = stream.next(); frame; frame = stream.next()) sent += frame.payload.length
  }
  drain()
  assert.equal(sent, WINDOW_BYTES)
  stream.addCredit(7)
  drain()
  stream.addCredit(100)
  drain()
  assert.equal(sent, WINDOW_BYTES + 10)
})

test('an empty message needs no credit', () => {
  const { stream } = open()
  stream.send(Buffer.alloc(WINDOW_BYTES))
  stream.send(Buffer.alloc(0))
  let last: Frame | undefined
  for (let frame = stream.next(); frame; frame = stream.next()) last = frame
  assert.equal(last?.type, FRAME.last)
  assert.equal(last?.payload.length, 0)
})

test('a reader that keeps up gives back all that came; one that pauses gives back nothing until it goes on', () => {
  const { stream, got, credit } = open()
  for (let i = 0; i < 32; i++) stream.receive(last(16_384))
  assert.equal(credit(), 32 * 16_384)
  stream.pause()
  for (let i = 0; i < 16; i++) stream.receive(last(16_384))
  assert.equal(credit(), 32 * 16_384)
  assert.equal(got.length, 32)
  stream.resume()
  assert.equal(got.length, 48)
  assert.equal(credit(), 48 * 16_384)
})

test('a reader may pause again over each message', () => {
  const { stream, got } = open()
  stream.pause()
  for (let i = 1; i <= 3; i++) stream.receive(last(i))
  stream.listen({
    onMessage: (message) => {
      got.push(message.length)
      stream.pause()
    },
  })
  stream.resume()
  assert.deepEqual(got, [1])
  stream.resume()
  assert.deepEqual(got, [1, 2])
})

test('after a reset nothing is sent and nothing is heard', () => {
  const { stream, control, got } = open()
  stream.send(Buffer.from('waits'))
  stream.reset(new MeshError('MESH_DRAINING', 'x'.repeat(5_000)))
  assert.equal(control.at(-1)?.type, FRAME.reset)
  assert.ok(control.at(-1)!.payload.length <= 1_024)
  assert.equal(stream.next(), undefined)
  stream.receive(last(3))
  assert.deepEqual(got, [])
})

test('an error of the other side has a code of the catalogue, whatever it says', () => {
  const { stream } = open()
  const reasons: string[] = []
  stream.listen({ onMessage: () => undefined, onReset: ({ code, message }) => reasons.push(`${code} ${message}`) })
  stream.receive({ type: FRAME.reset, stream: 1, payload: Buffer.from('__proto__\nboo') })
  assert.deepEqual(reasons, ['MESH_CONTROL_PROTOCOL boo'])
})

test('what is held of messages that are not whole, or that nobody takes, is counted and given back', () => {
  const { stream, held, got } = open()
  for (let i = 0; i < 1_000; i++) stream.receive(part(1))
  assert.equal(held.bytes, 1_000)
  stream.receive(last(1))
  assert.deepEqual([held.bytes, got], [0, [1_001]])
  stream.pause()
  for (let i = 0; i < 10; i++) stream.receive(last(0))
  assert.ok(held.bytes >= 10 * 100, 'an empty message is not free')
  stream.resume()
  assert.deepEqual([held.bytes, got.length], [0, 11])
  stream.pause()
  stream.receive(last(7))
  stream.receive(part(5))
  stream.abort(new MeshError('MESH_DRAINING', 'over'))
  assert.equal(held.bytes, 0)
})

test('parts that hold nothing end the connection: they would need no credit', () => {
  const { stream } = open()
  assert.throws(() => stream.receive(part(0)), /MESH_CONTROL_PROTOCOL|is empty/)
})

test('who has paused hears of the end when it resumes, whether something waits or nothing', () => {
  for (const waiting of [0, 5]) {
    const { stream } = open()
    stream.pause()
    if (waiting > 0) stream.receive(last(waiting))
    stream.receive({ type: FRAME.end, stream: 1, payload: Buffer.alloc(0) })
    const heard: (number | string)[] = []
    stream.listen({ onMessage: ({ length }) => heard.push(length), onEnd: () => heard.push('end') })
    stream.resume()
    stream.resume()
    assert.deepEqual(heard, waiting > 0 ? [waiting, 'end'] : ['end'])
  }
})
