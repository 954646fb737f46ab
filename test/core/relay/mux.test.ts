import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MeshError } from '../../../core/errors.ts'
import { encodeFrame, FRAME } from '../../../core/relay/frames.ts'
import { KINDS, type Kind } from '../../../core/relay/kinds.ts'
import { Mux, type RelayPort } from '../../../core/relay/mux.ts'
import { WINDOW_BYTES, type RelayStream } from '../../../core/relay/stream.ts'
import { waitForNextTurn } from '../../../core/os/time-slice.ts'

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('utf8')

/** What leaves one side and has not come at the other. */
class Wire implements RelayPort {
  readonly messages: { readonly bytes: Uint8Array; readonly done: () => void }[] = []
  sent = 0
  isHeld = false
  to: Mux | undefined

  get bufferedBytes(): number {
    return this.messages.reduce((sum, { bytes }) => sum + bytes.length, 0)
  }
  send(bytes: Uint8Array, done: () => void): void {
    this.sent++
    this.messages.push({ bytes: Uint8Array.from(bytes), done })
    if (!this.isHeld) setImmediate(() => this.deliver())
  }
  deliver(): void {
    for (const { bytes, done } of this.messages.splice(0)) {
      done()
      this.to?.receive(bytes)
    }
  }
}

type Side = { readonly mux: Mux; readonly wire: Wire; readonly opened: RelayStream[] }
/** @param listen what is done with a stream that the other side opens */
function twoSides(listen: (stream: RelayStream) => void = () => undefined, maxMessageBytes = 1_000_000) {
  const make = (side: 'agent' | 'hub'): Side => {
    const wire = new Wire()
    const opened: RelayStream[] = []
    const mux = new Mux({
      side,
      part: 'hub',
      port: wire,
      maxMessageBytes: () => maxMessageBytes,
      maxStreams: 3,
      onStream: (stream) => {
        opened.push(stream)
        listen(stream)
      },
    })
    return { mux, wire, opened }
  }
  const [agent, hub] = [make('agent'), make('hub')]
  agent.wire.to = hub.mux
  hub.wire.to = agent.mux
  return { agent, hub }
}
async function settle(): Promise<void> {
  for (let i = 0; i < 50; i++) await waitForNextTurn()
}

test('messages arrive whole and in order, whatever their size, and both ends end the stream', async () => {
  const got: string[] = []
  const { agent, hub } = twoSides((stream) =>
    stream.listen({
      onMessage: (message) => {
        got.push(`${message.length}`)
        stream.send(Buffer.from(`answer ${message.length}`))
      },
      onEnd: () => stream.end(),
    }),
  )
  const answers: string[] = []
  const stream = agent.mux.open('configuration')
  let ended = 0
  stream.listen({ onMessage: (m) => answers.push(text(m)), onEnd: () => ended++ })
  const sizes = [0, 1, 16_384, 16_385, 900_000]
  for (const size of sizes) stream.send(Buffer.alloc(size, 7))
  stream.end()
  await settle()
  assert.deepEqual(got, sizes.map(String))
  assert.deepEqual(
    answers,
    sizes.map((size) => `answer ${size}`),
  )
  assert.equal(ended, 1)
  assert.equal(agent.mux.openStreams + hub.mux.openStreams, 0)
})

test('what is sent in one turn leaves in one message', async () => {
  const { agent } = twoSides()
  const stream = agent.mux.open('configuration')
  for (let i = 0; i < 10; i++) stream.send(Buffer.from('small'))
  await settle()
  assert.equal(agent.wire.sent, 1)
})

test('a certificate passes a push that was there first', async () => {
  const order: string[] = []
  const { agent, hub } = twoSides((stream) => stream.listen({ onMessage: () => order.push(stream.kind) }))
  agent.wire.isHeld = true
  const push = agent.mux.open('configuration')
  push.send(Buffer.alloc(200_000))
  await settle()
  const certificate = agent.mux.open('certificate')
  certificate.send(Buffer.from('csr'))
  agent.wire.isHeld = false
  agent.wire.deliver()
  await settle()
  assert.deepEqual(order, ['certificate', 'configuration'])
  assert.equal(hub.opened.length, 2)
})

test('a stream of low priority goes on beside one that never ends', async () => {
  let reports = 0
  const { agent } = twoSides((stream) =>
    stream.listen({ onMessage: () => (reports += stream.kind === 'report' ? 1 : 0) }),
  )
  const push = agent.mux.open('configuration').listen({ onMessage: () => undefined })
  const report = agent.mux.open('report')
  for (let i = 0; i < 40; i++) push.send(Buffer.alloc(16_384))
  report.send(Buffer.from('small'))
  for (let i = 0; i < 1_000 && reports === 0; i++) {
    push.send(Buffer.alloc(16_384))
    await waitForNextTurn()
  }
  assert.equal(reports, 1)
})

test('a reader that pauses holds the writer, and gets everything when it goes on', async () => {
  let bytes = 0
  const { agent, hub } = twoSides((stream) => {
    stream.pause()
    stream.listen({ onMessage: (m) => (bytes += m.length) })
  })
  const stream = agent.mux.open('tunnel')
  let drained = 0
  stream.listen({ onMessage: () => undefined, onDrain: () => drained++ })
  let isFull = false
  for (let i = 0; i < 100; i++) isFull = !stream.send(Buffer.alloc(10_000)) || isFull
  await settle()
  assert.equal(isFull, true)
  assert.equal(bytes, 0)
  assert.equal(drained, 0)
  hub.opened[0]!.resume()
  await settle()
  assert.equal(bytes, 1_000_000)
  assert.equal(drained, 1)
})

test('a stream is reset with its reason, and frames that were under way are no mistake', async () => {
  const { agent, hub } = twoSides((stream) => stream.listen({ onMessage: () => undefined }))
  const stream = agent.mux.open('configuration')
  const reasons: MeshError[] = []
  stream.listen({ onMessage: () => undefined, onReset: (reason) => reasons.push(reason) })
  stream.send(Buffer.from('one'))
  await settle()
  hub.opened[0]!.reset(new MeshError('MESH_CONTROL_FORBIDDEN', 'not you\u001b[31m'))
  stream.send(Buffer.from('two'))
  await settle()
  assert.equal(reasons[0]?.code, 'MESH_CONTROL_FORBIDDEN')
  assert.equal(reasons[0]?.message, 'not you\\u001b[31m')
  assert.equal(agent.mux.openStreams + hub.mux.openStreams, 0)
})

test('more streams than there may be, and those of an unknown kind, are refused one by one', async () => {
  const { agent, hub } = twoSides()
  const refused: string[] = []
  for (let i = 0; i < 5; i++)
    agent.mux.open('configuration').listen({ onMessage: () => undefined, onReset: (r) => refused.push(r.code) })
  await settle()
  assert.deepEqual(refused, ['MESH_CONTROL_SLOW_DOWN', 'MESH_CONTROL_SLOW_DOWN'])
  hub.wire.isHeld = true
  hub.mux.receive(encodeFrame({ type: FRAME.open, stream: 99, payload: Buffer.of(200) }))
  await settle()
  assert.equal(hub.opened.length, 3)
  assert.match(text(hub.wire.messages[0]!.bytes), /MESH_CONTROL_UNIMPLEMENTED/)
})

test('the end of the connection resets every stream, and one that is opened afterwards', async () => {
  const { agent } = twoSides()
  const codes: string[] = []
  const listen = { onMessage: () => undefined, onReset: (r: MeshError) => codes.push(r.code) }
  agent.mux.open('configuration').listen(listen)
  agent.mux.end(new MeshError('MESH_CONTROL_UNREACHABLE', 'gone'))
  agent.mux.open('certificate').listen(listen)
  await settle()
  assert.deepEqual(codes, ['MESH_CONTROL_UNREACHABLE', 'MESH_CONTROL_UNREACHABLE'])
})

const open = (stream: number, kind: Kind = 'configuration'): Uint8Array =>
  encodeFrame({ type: FRAME.open, stream, payload: Buffer.of(KINDS[kind]) })
const part = (stream: number, size: number): Uint8Array =>
  encodeFrame({ type: FRAME.part, stream, payload: Buffer.alloc(size) })
const repeat = (frame: Uint8Array, times: number): Uint8Array => Buffer.concat(Array<Uint8Array>(times).fill(frame))

for (const [what, bytes] of [
  ['an unknown type', Buffer.of(9, 1, 0)],
  ['a payload that is cut off', Buffer.of(FRAME.part, 1, 5, 1)],
  ['a payload above the limit', Buffer.of(FRAME.part, 1, 0xff, 0xff, 0x7f)],
  ['a number without an end', Buffer.of(FRAME.part, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)],
  ['a number above 32 bits', Buffer.of(FRAME.part, 0xff, 0xff, 0xff, 0xff, 0x7f, 0)],
  ["a stream of this side's numbers", open(2)],
  ['a stream that was opened before', Buffer.concat([open(1), open(1)])],
  ['an opening without a kind', Buffer.of(FRAME.open, 1, 0)],
  ['a stream that was never open', part(7, 3)],
  ['two ends', Buffer.concat([open(1), repeat(Buffer.of(FRAME.end, 1, 0), 2)])],
  ['a message after the end', Buffer.concat([open(1), Buffer.of(FRAME.end, 1, 0), part(1, 1)])],
  [
    'more than there was credit for',
    Buffer.concat([open(1, 'tunnel'), repeat(part(1, 16_384), WINDOW_BYTES / 16_384 + 1)]),
  ],
  [
    'credit without end',
    Buffer.concat([open(1), repeat(Buffer.of(FRAME.credit, 1, 5, 0xff, 0xff, 0xff, 0xff, 0x0f), 2)]),
  ],
  [
    'questions without end',
    Buffer.concat(
      Array.from({ length: 2_000 }, (_, i) =>
        encodeFrame({ type: FRAME.open, stream: 2 * i + 1, payload: Buffer.of(77) }),
      ),
    ),
  ],
] as const)
  test(`${what} ends the connection`, () => {
    const { hub } = twoSides((stream) => stream.pause(), 16 * 1024 * 1024)
    hub.wire.isHeld = true
    assert.throws(() => hub.mux.receive(bytes), { code: 'MESH_CONTROL_PROTOCOL' })
  })

test('a message above its limit ends its stream only', async () => {
  const codes: string[] = []
  const { agent, hub } = twoSides(
    (stream) => stream.listen({ onMessage: () => undefined, onReset: (r) => codes.push(`hub ${r.code}`) }),
    50_000,
  )
  const stream = agent.mux.open('configuration')
  stream.listen({ onMessage: () => undefined, onReset: (r) => codes.push(`agent ${r.code}`) })
  stream.send(Buffer.alloc(60_000))
  await settle()
  assert.deepEqual(codes, ['hub MESH_CONTROL_PROTOCOL', 'agent MESH_CONTROL_PROTOCOL'])
  assert.equal(agent.mux.openStreams + hub.mux.openStreams, 0)
})
