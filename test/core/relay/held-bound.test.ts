import { test } from 'node:test'
import assert from 'node:assert/strict'
import { limitHeld } from '../../../core/relay/held-bound.ts'
import { encodeFrame, FRAME } from '../../../core/relay/frames.ts'
import { KINDS } from '../../../core/relay/kinds.ts'
import { Mux } from '../../../core/relay/mux.ts'
import type { RelayStream } from '../../../core/relay/stream.ts'

const frame = (type: number, payload = Buffer.alloc(0)): Uint8Array =>
  encodeFrame({ type, stream: 2, payload } as Parameters<typeof encodeFrame>[0])

function agent(maxBytes: number) {
  const streams: RelayStream[] = []
  const mux = new Mux({
    side: 'agent',
    part: 'control',
    port: { bufferedBytes: 0, send: (_message, done) => done() },
    maxMessageBytes: () => 1_000_000,
    maxStreams: 4,
    onStream: (stream) => {
      stream.listen({ onMessage: () => undefined }).pause()
      streams.push(stream)
    },
    held: limitHeld(maxBytes),
  })
  mux.receive(frame(FRAME.open, Buffer.of(KINDS.tunnel)))
  return { mux, streams }
}

test('messages that nobody takes have a bound, also those that need no credit', () => {
  const { mux } = agent(10_000)
  assert.throws(
    () => {
      for (let i = 0; i < 1_000; i++) mux.receive(frame(FRAME.last))
    },
    { code: 'MESH_CONTROL_PROTOCOL' },
  )
})
test('what is taken, and what ends with its stream, does not count any more', () => {
  const { mux, streams } = agent(10_000)
  for (let i = 0; i < 1_000; i++) {
    mux.receive(frame(FRAME.last))
    streams[0]!.resume()
    streams[0]!.pause()
  }
  for (let i = 0; i < 30; i++) mux.receive(frame(FRAME.last))
  mux.receive(frame(FRAME.reset))
  assert.equal(streams[0]!.isOver, true)
})
