/** GOAWAY both ways (RFC 9113 §6.8), and the end of a connection at any moment. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { MeshError } from '../../../../core/errors.ts'
import { ErrorCode } from '../../../../protocols/http/codec/h2-frames.ts'
import { SimClock } from '../../../helpers/sim-clock.ts'
import { data, END, frame, GET, goaway, headers, OK, ping, POST, rig, rst, settings, windowUpdate } from './rig.ts'

const LAST = 0x7fff_ffff
const DRAIN_PING = 'drain...'

test('server, close: the open stream is served to its end, later ones are not worked on, and their fields still enter the table', async () => {
  const r = await rig('server')
  await r.peer.say(headers(1, POST, false))
  r.session.close()
  r.session.close()
  await r.peer.say()
  assert.deepEqual(r.peer.take(), ['GOAWAY 1 0'])
  // `:path /later` with indexing, then by its index (62) on the stream that is served.
  const indexed = frame(
    1,
    4,
    3,
    Buffer.concat([Buffer.from('8286', 'hex'), Buffer.from([0x44, 6]), Buffer.from('/later')]),
  )
  await r.peer.say(indexed, data(3, 'x'), windowUpdate(3, 1), rst(3, 8), headers(5, GET, true))
  assert.equal(r.session.isClosed, false)
  await r.peer.say(data(1, 'abc'), headers(1, [['x', 'y']], true))
  r.told.streams[0]!.sendHead(OK.flat(), true)
  await r.peer.say()
  assert.deepEqual(r.told.take().slice(1), ['1 data "abc"', '1 end x=y', '1 over 0', 'session over'])
  assert.deepEqual(r.peer.take(), ['HEADERS 1 END :status=200'])
  assert.ok(r.peer.ended)
})
test('server, close with nothing open: GOAWAY and the end', async () => {
  const r = await rig('server')
  r.session.close()
  await r.peer.say()
  assert.deepEqual([r.peer.take(), r.told.take(), r.peer.ended], [['GOAWAY 0 0'], ['session over'], true])
})

test('server, drain: what was on its way is served; the last GOAWAY follows the answer to a PING', async () => {
  const clock = new SimClock()
  const r = await rig('server', { clock })
  await r.peer.say(headers(1, GET, true))
  r.session.drain()
  r.session.drain()
  await r.peer.say()
  assert.deepEqual(r.peer.take(), [`GOAWAY ${LAST} 0`, `PING ${DRAIN_PING}`])
  // On its way when the client had not read that.
  await r.peer.say(ping(), headers(3, GET, true), ping(1))
  assert.deepEqual(r.peer.take(), ['PING ACK 12345678'])
  await r.peer.say(ping(1, DRAIN_PING), headers(5, GET, true))
  assert.deepEqual(r.peer.take(), ['GOAWAY 3 0'])
  assert.equal(clock.pendingTimers, 0)
  for (const stream of r.told.streams) stream.sendHead(OK.flat(), true)
  await r.peer.say()
  assert.deepEqual(r.peer.take(), ['HEADERS 1 END :status=200', 'HEADERS 3 END :status=200'])
  assert.deepEqual(
    r.told.take().map((line) => line.slice(0, 9)),
    ['1 request', '3 request', '1 over 0', '3 over 0', 'session o'],
  )
  await r.peer.say(ping(1, DRAIN_PING))
  assert.equal(r.told.closes, 1)
})
test('server, drain: who does not answer the PING has two seconds', async () => {
  const clock = new SimClock()
  const r = await rig('server', { clock })
  r.session.drain()
  await r.peer.say()
  r.peer.take()
  await clock.advance(1999)
  assert.equal(r.session.isClosed, false)
  await clock.advance(1)
  assert.deepEqual([r.peer.take(), r.session.isClosed, r.peer.ended], [['GOAWAY 0 0'], true, true])
})
test('server, drain: its timer ends with the connection, and close after it says the last GOAWAY at once', async () => {
  for (const end of ['close', 'destroy', 'socket'] as const) {
    const clock = new SimClock()
    const r = await rig('server', { clock })
    await r.peer.say(headers(1, GET, true))
    r.session.drain()
    if (end === 'close') r.session.close()
    else if (end === 'destroy') r.session.destroy(ErrorCode.NO_ERROR)
    else r.peer.socket.destroy()
    await r.peer.say()
    assert.equal(clock.pendingTimers, 0, end)
    if (end === 'close') assert.deepEqual(r.peer.take(), [`GOAWAY ${LAST} 0`, `PING ${DRAIN_PING}`, 'GOAWAY 1 0'])
  }
})
test('a client, and a session without a clock, drain in one step', async () => {
  for (const r of [await rig('server'), await rig('client', { clock: new SimClock() })]) {
    r.session.drain()
    await r.peer.say()
    assert.deepEqual([r.peer.take(), r.session.isClosed], [['GOAWAY 0 0'], true])
  }
})

test('client, told GOAWAY: what is above the last stream may be repeated, the rest comes to its end, nothing more is opened', async () => {
  const r = await rig('client')
  for (let i = 0; i < 3; i++) r.told.open(GET)
  await r.peer.say()
  r.told.open(GET)
  await r.peer.say(goaway(3, 0))
  assert.deepEqual(r.told.take(), ['0 over 7', '5 over 7', 'goaway 0'])
  assert.deepEqual([r.session.canOpen, r.session.isClosing, r.session.isClosed], [false, true, false])
  await r.peer.say(headers(1, OK, true))
  await r.peer.say(headers(3, OK, true))
  assert.deepEqual(r.told.take(), [
    '1 head END :status=200',
    '1 end',
    '1 over 0',
    '3 head END :status=200',
    '3 end',
    '3 over 0',
    'session over',
  ])
  assert.ok(r.peer.ended)
})
test('client, told GOAWAY in two steps: the second one counts', async () => {
  const r = await rig('client')
  r.told.open(GET)
  r.told.open(GET)
  await r.peer.say()
  await r.peer.say(goaway(LAST, 0))
  assert.deepEqual([r.told.take(), r.session.canOpen], [['goaway 0'], false])
  await r.peer.say(goaway(1, 0))
  assert.deepEqual(r.told.take(), ['3 over 7', 'goaway 0'])
  await r.peer.say(headers(1, OK, true))
  assert.deepEqual(r.told.take().slice(-2), ['1 over 0', 'session over'])
})
test('client, told GOAWAY with nothing open: the end', async () => {
  const r = await rig('client')
  await r.peer.say(goaway(0, 11))
  assert.deepEqual([r.told.take(), r.peer.ended], [['goaway 11', 'session over'], true])
})
test('client, close: GOAWAY; what is open goes on, also what has not left yet', async () => {
  const r = await rig('client')
  r.told.open(GET)
  r.session.close()
  await r.peer.say()
  assert.deepEqual(
    r.peer.take().map((line) => line.slice(0, 15)),
    ['GOAWAY 0 0', 'HEADERS 1 END :'],
  )
  assert.equal(r.session.canOpen, false)
  await r.peer.say(headers(1, OK, true))
  assert.deepEqual(r.told.take().slice(-2), ['1 over 0', 'session over'])
})
test('server, told GOAWAY: what is open is served, then the end', async () => {
  const r = await rig('server')
  await r.peer.say(headers(1, GET, true), goaway(0, 0))
  assert.deepEqual(r.told.take().slice(-1), ['goaway 0'])
  r.told.streams[0]!.sendHead(OK.flat(), true)
  await r.peer.say()
  assert.deepEqual([r.told.take(), r.peer.ended], [['1 over 0', 'session over'], true])
})

test('destroy: GOAWAY with the reason behind what is gathered; every stream is told once', async () => {
  const r = await rig('server')
  await r.peer.say(headers(1, GET, true), headers(3, POST, false))
  r.told.take()
  const error = new MeshError('MESH_HTTP2_FLOOD', 'too much')
  r.session.destroy(ErrorCode.ENHANCE_YOUR_CALM, error)
  r.session.destroy(ErrorCode.NO_ERROR)
  await r.peer.say(headers(5, GET, true))
  assert.deepEqual(
    [r.peer.take(), r.told.take()],
    [['GOAWAY 3 11'], ['1 over -1: too much', '3 over -1: too much', 'session over: too much']],
  )
  assert.equal(r.told.closed?.error, error)
})
test('the peer breaks the connection: it is told how, the owner is told what', async () => {
  const r = await rig('server')
  await r.peer.say(headers(1, GET, true), data(0, 'x'))
  assert.deepEqual(r.peer.take(), ['GOAWAY 1 1'])
  assert.deepEqual(r.told.take().slice(1), [
    '1 over -1: the HTTP/2 connection broke: DATA for the connection',
    'session over: the HTTP/2 connection broke: DATA for the connection',
  ])
  assert.equal(r.told.closed?.error?.code, 'MESH_MALFORMED_INPUT')
})
test('a header block that cannot be decoded breaks the connection (RFC 9113 §4.3)', async () => {
  const r = await rig('server')
  await r.peer.say(frame(1, 5, 1, Buffer.from('ff', 'hex')))
  assert.deepEqual(r.peer.take(), ['GOAWAY 0 9'])
})

const MOMENTS: readonly (readonly [name: string, sent: readonly Buffer[]])[] = [
  ['before the preface', []],
  ['in the middle of a head', [headers(1, GET, false).subarray(0, 5)]],
  ['in the middle of a block', [frame(1, 0, 1, Buffer.from('82', 'hex'))]],
  ['in a request', [headers(1, POST, false), data(1, 'abc')]],
  ['in the middle of DATA', [headers(1, POST, false), data(1, 'abcdef').subarray(0, 11)]],
  ['after a request', [headers(1, GET, true)]],
]
for (const [name, sent] of MOMENTS) {
  for (const how of ['end', 'destroy', 'error', 'own error'] as const) {
    test(`the connection ends by ${how} ${name}: all streams and the session are told once`, async () => {
      const r = await rig('server')
      await r.peer.say(...sent)
      for (const stream of r.told.streams) {
        stream.sendHead(OK.flat(), false)
        stream.sendData(Buffer.alloc(500_000))
      }
      await r.peer.say()
      if (how === 'end') r.peer.socket.end()
      else if (how === 'destroy') r.peer.socket.destroy()
      else if (how === 'error') r.peer.socket.destroy(new Error('reset'))
      else r.socket.destroy(new Error('reset'))
      await r.peer.say()
      assert.deepEqual(
        r.told.take().filter((line) => line.includes('over')),
        [...r.told.streams.map(() => '1 over -1'), 'session over'],
      )
      // What the owner still says goes nowhere.
      for (const stream of r.told.streams) {
        stream.sendData(Buffer.alloc(10))
        stream.sendEnd()
        stream.reset(8)
        stream.resume()
      }
      r.session.close()
      r.session.destroy(0)
      await r.peer.say()
      assert.equal(r.told.closes, 1)
      assert.deepEqual(r.told.take(), [])
    })
  }
}
test('client: every call is told once when the connection ends, those too that have not left', async () => {
  const r = await rig('client')
  r.told.open(GET)
  await r.peer.say()
  r.told.open(GET)
  r.socket.destroy()
  await r.peer.say()
  assert.deepEqual(r.told.take(), ['0 over -1', '1 over -1', 'session over'])
})
test('the other end may end inside any callback: what comes behind it is not told', async () => {
  for (const at of ['onData', 'onEnd', 'serve'] as const) {
    const r = await rig('server')
    r.told[at] = () => {
      r.session.destroy(ErrorCode.NO_ERROR)
    }
    await r.peer.say(headers(1, POST, false), data(1, 'x', END), headers(3, GET, true))
    assert.equal(r.told.lines.at(-1), 'session over', at)
    assert.equal(r.told.lines.filter((line) => line.startsWith('3')).length, 0)
    assert.equal(r.told.closes, 1)
  }
})
test('SETTINGS that are no SETTINGS break the connection', async () => {
  for (const [id, value, code] of [
    [2, 2, 1],
    [4, 0x8000_0000, 3],
    [5, 16_383, 1],
    [5, 16_777_216, 1],
    [8, 2, 1],
  ] as const) {
    const r = await rig('server')
    await r.peer.say(settings([id, value]))
    assert.deepEqual(r.told.take(), [
      `session over: the HTTP/2 connection broke: ${{ 2: 'SETTINGS_ENABLE_PUSH', 4: 'SETTINGS_INITIAL_WINDOW_SIZE', 5: 'SETTINGS_MAX_FRAME_SIZE', 8: 'SETTINGS_ENABLE_CONNECT_PROTOCOL' }[id]}`,
    ])
    assert.deepEqual(r.peer.take(), [`GOAWAY 0 ${code}`])
  }
  assert.ok((await rig('client', { first: settings([2, 1]) })).session.isClosed)
  assert.equal((await rig('server', { first: settings([2, 1], [99, 7], [3, 0]) })).session.isClosed, false)
})
test('client: what the server permits', async () => {
  const r = await rig('client')
  assert.deepEqual([r.session.peerMaxStreams, r.session.peerExtendedConnect], [undefined, false])
  await r.peer.say(settings([3, 7], [8, 1]))
  assert.deepEqual([r.session.peerMaxStreams, r.session.peerExtendedConnect], [7, true])
  // RFC 8441 §3.
  await r.peer.say(settings([8, 0]))
  assert.ok(r.session.isClosed)
})
