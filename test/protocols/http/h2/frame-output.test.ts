/** Frames as bytes, how they are gathered, and what waits when the socket takes nothing. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { Writable, type Duplex } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import { HpackDecoder } from '../../../../protocols/http/codec/hpack/decoder.ts'
import { HpackEncoder } from '../../../../protocols/http/codec/hpack/encoder.ts'
import { FrameOutput } from '../../../../protocols/http/h2/frame-output.ts'

class Socket extends Writable {
  readonly writes: Buffer[] = []
  readonly #wait: (() => void)[] = []
  takes = true
  constructor() {
    super({ highWaterMark: 1024 })
  }
  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.writes.push(chunk)
    if (this.takes) done()
    else this.#wait.push(done)
  }
  take(): string {
    return Buffer.concat(this.writes.splice(0)).toString('hex')
  }
}
function rig(fill = (): boolean => false) {
  const socket = new Socket()
  return { socket, output: new FrameOutput('server', socket as unknown as Duplex, fill) }
}

for (const { name, write, hex } of [
  { name: 'DATA', write: (o: FrameOutput) => o.data(3, Buffer.from('hi'), false), hex: '000002 00 00 00000003 6869' },
  {
    name: 'DATA with END_STREAM',
    write: (o: FrameOutput) => o.data(3, Buffer.alloc(0), true),
    hex: '000000 00 01 00000003',
  },
  { name: 'RST_STREAM', write: (o: FrameOutput) => o.reset(5, 8), hex: '000004 03 00 00000005 00000008' },
  {
    name: 'SETTINGS',
    write: (o: FrameOutput) =>
      o.settings([
        [3, 100],
        [4, 65_536],
      ]),
    hex: '00000c 04 00 00000000 0003 00000064 0004 00010000',
  },
  { name: 'SETTINGS, acknowledged', write: (o: FrameOutput) => o.settingsAck(), hex: '000000 04 01 00000000' },
  {
    name: 'PING',
    write: (o: FrameOutput) => o.ping(Buffer.from('12345678')),
    hex: '000008 06 00 00000000 3132333435363738',
  },
  {
    name: 'PING, answered',
    write: (o: FrameOutput) => o.pingAck(Buffer.from('12345678')),
    hex: '000008 06 01 00000000 3132333435363738',
  },
  { name: 'GOAWAY', write: (o: FrameOutput) => o.goaway(7, 2), hex: '000008 07 00 00000000 00000007 00000002' },
  {
    name: 'WINDOW_UPDATE',
    write: (o: FrameOutput) => o.windowUpdate(0, 0x7fffffff),
    hex: '000004 08 00 00000000 7fffffff',
  },
])
  test(`${name} as bytes`, () => {
    const { socket, output } = rig()
    write(output)
    output.flush()
    assert.equal(socket.take(), hex.replaceAll(' ', ''))
  })

test('all frames of a turn leave in one write, at its end', async () => {
  const { socket, output } = rig()
  output.settingsAck()
  output.data(1, Buffer.from('a'), false)
  output.windowUpdate(1, 1)
  assert.equal(socket.writes.length, 0)
  assert.equal(output.unsentBytes, 9 + 10 + 13)
  await turn()
  assert.equal(socket.writes.length, 1)
  assert.equal(output.unsentBytes, 0)
})
test('a large payload is not copied, and stands between what was written before and after it', () => {
  const { socket, output } = rig()
  const large = Buffer.alloc(4096, 7)
  output.settingsAck()
  output.data(1, large, false)
  output.settingsAck()
  output.flush()
  assert.ok(socket.writes.some((chunk) => chunk.buffer === large.buffer && chunk.byteOffset === large.byteOffset))
  assert.deepEqual(
    Buffer.concat(socket.writes),
    Buffer.concat([
      Buffer.from('000000040100000000', 'hex'),
      Buffer.from('001000000000000001', 'hex'),
      large,
      Buffer.from('000000040100000000', 'hex'),
    ]),
  )
})
test("outputs of two connections share memory, and neither has what is the other's", () => {
  const [a, b] = [rig(), rig()]
  a.output.reset(1, 1)
  b.output.reset(2, 2)
  a.output.reset(3, 3)
  a.output.flush()
  b.output.flush()
  assert.equal(a.socket.take(), '00000403000000000100000001' + '00000403000000000300000003')
  assert.equal(b.socket.take(), '00000403000000000200000002')
})

for (const { name, bytes, types } of [
  { name: 'short', bytes: 100, types: ['1 05'] },
  { name: 'of several frames', bytes: 40_000, types: ['1 01', '9 00', '9 04'] },
])
  test(`a field list, ${name}`, () => {
    const { socket, output } = rig()
    const fields = ['x', '\0'.repeat(0) + '~'.repeat(bytes)]
    output.headers(1, fields, true, new HpackEncoder())
    output.flush()
    const all = Buffer.concat(socket.writes)
    const blocks: Buffer[] = []
    const seen: string[] = []
    for (let at = 0; at < all.length;) {
      const length = all.readUIntBE(at, 3)
      seen.push(`${all[at + 3]} ${all[at + 4]!.toString(16).padStart(2, '0')}`)
      assert.equal(all.readUInt32BE(at + 5), 1)
      blocks.push(all.subarray(at + 9, at + 9 + length))
      at += 9 + length
    }
    assert.deepEqual(seen, types)
    const block = Buffer.concat(blocks)
    const decoder = new HpackDecoder({ maxTableBytes: 4096, maxListBytes: 1 << 20, maxFields: 10 })
    assert.deepEqual([...decoder.decode(block, 0, block.length).fields], fields)
  })

test('answers to the peer are counted while it takes nothing, until it takes something', () => {
  const { socket, output } = rig()
  output.settingsAck()
  assert.equal(output.unreadAnswerBytes, 0, 'there is room')
  socket.takes = false
  output.data(1, Buffer.alloc(3000), false)
  output.flush()
  assert.equal(output.isFull, true)
  output.settingsAck()
  output.pingAck(Buffer.alloc(8))
  output.ping(Buffer.alloc(8))
  output.reset(1, 0)
  assert.equal(output.unreadAnswerBytes, 9 + 17 + 13)
  output.drained()
  assert.equal(output.unreadAnswerBytes, 0)
})
test('nothing leaves after the end, nor to a socket that is gone', () => {
  const ended = rig()
  ended.output.settingsAck()
  ended.output.close()
  assert.equal(ended.socket.writes.length, 1)
  ended.output.settingsAck()
  ended.output.flush()
  assert.equal(ended.socket.writes.length, 1)
  const gone = rig()
  gone.socket.destroy()
  gone.output.settingsAck()
  gone.output.flush()
  assert.equal(gone.socket.writes.length, 0)
})

test("a client's first frames wait until its socket was read from once more, a server's do not", async () => {
  for (const [role, first] of [
    ['server', 1],
    ['client', 0],
  ] as const) {
    const socket = new Socket()
    const output = new FrameOutput(role, socket as unknown as Duplex, () => false)
    output.settingsAck()
    await turn()
    assert.equal(socket.writes.length, first, role)
    await turn()
    assert.equal(socket.writes.length, 1, role)
    output.settingsAck()
    await turn()
    assert.equal(socket.writes.length, 2, `${role}: only the first`)
  }
})
