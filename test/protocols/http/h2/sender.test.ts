/** Windows both ways (RFC 9113 §5.2, §6.9), whose turn it is, and a socket that takes nothing. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import {
  data,
  END,
  frame,
  GET,
  headers,
  OK,
  ping,
  POST,
  rig,
  rst,
  settings,
  settle,
  windowUpdate,
  type Rig,
  type RigOptions,
} from './rig.ts'

const KIB = 1024
/** A server that answers with `bytes` and ends. */
async function answering(bytes: number, o: RigOptions = {}): Promise<Rig> {
  const r = await rig('server', o)
  r.told.serve = (stream) => {
    stream.sendHead(OK.flat(), false)
    stream.sendData(Buffer.alloc(bytes, 97))
    stream.sendEnd()
  }
  return r
}
const dataOf = (r: Rig, id: number): string[] => r.peer.take().filter((line) => line.startsWith(`DATA ${id} `))

test("DATA stops where the stream's window ends, and goes on with each WINDOW_UPDATE", async () => {
  const r = await answering(100, { first: settings([4, 10]) })
  await r.peer.say(headers(1, GET, true))
  assert.deepEqual(dataOf(r, 1), ['DATA 1 "aaaaaaaaaa"'])
  await r.peer.say(windowUpdate(1, 1))
  assert.deepEqual(dataOf(r, 1), ['DATA 1 "a"'])
  await r.peer.say(windowUpdate(1, 1000))
  assert.deepEqual(dataOf(r, 1), ['DATA 1 END 89'])
  assert.deepEqual(r.told.take().slice(1), ['1 over 0'])
})
test('an exactly used window: the end goes out with the last byte', async () => {
  const r = await answering(10, { first: settings([4, 10]) })
  await r.peer.say(headers(1, GET, true))
  assert.deepEqual(dataOf(r, 1), ['DATA 1 END "aaaaaaaaaa"'])
})
test("DATA stops where the connection's window ends, for all streams", async () => {
  const r = await answering(40_000)
  await r.peer.say(headers(1, GET, true), headers(3, GET, true))
  assert.equal(r.peer.dataBytes, 65_535)
  await r.peer.say(windowUpdate(1, 100_000), windowUpdate(3, 100_000))
  assert.equal(r.peer.dataBytes, 65_535)
  await r.peer.say(windowUpdate(0, 1000))
  assert.equal(r.peer.dataBytes, 66_535)
  await r.peer.say(windowUpdate(0, 1_000_000))
  assert.equal(r.peer.dataBytes, 80_000)
  assert.equal(r.session.streamCount, 0)
})
test('SETTINGS make windows smaller, below zero too, and larger (RFC 9113 §6.9.2); heads and trailers need none', async () => {
  const r = await rig('server', { first: settings([4, 100]) })
  await r.peer.say(headers(1, GET, true))
  const [stream] = r.told.streams
  stream!.sendHead(OK.flat(), false)
  stream!.sendData(Buffer.alloc(150, 97))
  await r.peer.say()
  assert.deepEqual(dataOf(r, 1), ['DATA 1 100'])
  await r.peer.say(settings([4, 20]))
  assert.equal(stream!.sendWindowBytes, -80)
  await r.peer.say(windowUpdate(1, 80))
  assert.deepEqual(r.peer.take(), [])
  await r.peer.say(windowUpdate(1, 5))
  assert.deepEqual(dataOf(r, 1), ['DATA 1 "aaaaa"'])
  await r.peer.say(settings([4, 60]))
  assert.deepEqual(dataOf(r, 1), ['DATA 1 40'])
  stream!.sendEnd(['x', 'y'])
  await r.peer.say()
  assert.deepEqual(r.peer.take(), [])
  await r.peer.say(settings([4, 65]))
  assert.deepEqual(r.peer.take(), ['DATA 1 "aaaaa"', 'HEADERS 1 END x=y'])
})
test('windows of one SETTINGS frame end where its last value says, and nothing is sent between them', async () => {
  const r = await rig('server', { first: settings([4, 30]) })
  await r.peer.say(headers(1, GET, true))
  const [stream] = r.told.streams
  stream!.sendHead(OK.flat(), false)
  stream!.sendData(Buffer.alloc(150, 97))
  await r.peer.say()
  assert.deepEqual(dataOf(r, 1), ['DATA 1 30'])
  const flips = Array.from({ length: 30 }, (_, i) => [4, i % 2 === 0 ? 1000 : 0] as const)
  await r.peer.say(settings(...flips, [4, 70]))
  assert.deepEqual(dataOf(r, 1), ['DATA 1 40'])
  assert.equal(stream!.sendWindowBytes, 0)
})
test('the end of a stream needs no window, not even one above zero', async () => {
  const r = await rig('server', { first: settings([4, 3]) })
  await r.peer.say(headers(1, GET, true), headers(3, GET, true))
  const [first, second] = r.told.streams
  for (const stream of r.told.streams) {
    stream.sendHead(OK.flat(), false)
    stream.sendData(Buffer.from('abc'))
  }
  await r.peer.say()
  r.peer.take()
  await r.peer.say(settings([4, 0]))
  first!.sendEnd()
  second!.sendEnd(['x', 'y'])
  await r.peer.say()
  assert.deepEqual(
    [first!.sendWindowBytes, r.peer.take(), r.told.take().slice(2)],
    [-3, ['DATA 1 END ""', 'HEADERS 3 END x=y'], ['1 over 0', '3 over 0']],
  )
})
test("windows above 2^31-1: the stream's ends the stream, the connection's and those of SETTINGS the connection", async () => {
  for (const [frames, heard] of [
    [[windowUpdate(1, 0x7fff_ffff - 65_535)], []],
    [[windowUpdate(1, 0x7fff_ffff - 65_534)], ['RST_STREAM 1 3']],
    [[windowUpdate(0, 0x7fff_ffff - 65_535)], []],
    [[windowUpdate(0, 0x7fff_ffff - 65_534)], ['GOAWAY 1 3']],
    [[windowUpdate(1, 1), settings([4, 0x7fff_ffff])], ['GOAWAY 1 3']],
    [[settings([4, 0x7fff_ffff])], []],
  ] as const) {
    const r = await rig('server')
    await r.peer.say(headers(1, GET, true), ...frames)
    assert.deepEqual(r.peer.take(), heard)
  }
})

test('what has come and is taken is given back when it is half a window, of the stream while it has not ended', async () => {
  const r = await rig('server', { streamWindowBytes: 65_535, connectionWindowBytes: 65_535 })
  await r.peer.say(headers(1, POST, false), data(1, Buffer.alloc(16_384)), data(1, Buffer.alloc(16_383)))
  assert.deepEqual(r.peer.take(), [])
  await r.peer.say(data(1, Buffer.alloc(1)))
  assert.deepEqual(r.peer.take(), ['WINDOW_UPDATE 0 32768', 'WINDOW_UPDATE 1 32768'])
  r.told.streams[0]!.pause()
  await r.peer.say(data(1, Buffer.alloc(16_384)), data(1, Buffer.alloc(16_384), END))
  r.told.streams[0]!.resume()
  await r.peer.say()
  assert.deepEqual(r.peer.take(), ['WINDOW_UPDATE 0 32768'])
})
test('padding counts', async () => {
  const r = await rig('server')
  const padded = Buffer.concat([Buffer.from([255]), Buffer.from('x'), Buffer.alloc(255)])
  await r.peer.say(headers(1, POST, false), ...(Array(128).fill(frame(0, 8, 1, padded)) as Buffer[]))
  assert.deepEqual(r.peer.take(), ['WINDOW_UPDATE 1 32895'])
})
test('a paused stream holds its own window and keeps nobody else waiting; resume gives it back', async () => {
  const r = await rig('server')
  await r.peer.say(headers(1, POST, false), headers(3, POST, false))
  const [slow, fast] = r.told.streams
  slow!.pause()
  for (let i = 0; i < 4; i++) await r.peer.say(data(1, Buffer.alloc(16_383)), data(3, Buffer.alloc(16_383)))
  assert.deepEqual(r.peer.take(), ['WINDOW_UPDATE 3 49149'])
  assert.equal(slow!.unreadBytes, 4 * 16_383)
  assert.equal(fast!.unreadBytes, 0)
  assert.equal(r.told.take().filter((line) => line.startsWith('1 data')).length, 0)
  slow!.resume()
  await r.peer.say()
  assert.match(r.peer.take().join(), /^WINDOW_UPDATE 1 \d{5}$/)
  assert.equal(slow!.unreadBytes, 0)
})
test('more than the window: of the stream it ends the stream, of the connection the connection', async () => {
  const r = await rig('server', { connectionWindowBytes: 131_070 })
  await r.peer.say(headers(1, POST, false))
  r.told.streams[0]!.pause()
  for (let i = 0; i < 3; i++) await r.peer.say(data(1, Buffer.alloc(16_384)))
  await r.peer.say(data(1, Buffer.alloc(16_383)))
  assert.deepEqual(r.peer.take(), [])
  await r.peer.say(data(1, 'x'))
  assert.deepEqual(r.peer.take(), ['RST_STREAM 1 3', 'WINDOW_UPDATE 0 65536'])
  await r.peer.say(headers(3, POST, false), headers(5, POST, false), headers(7, POST, false))
  for (const stream of r.told.streams) stream.pause()
  for (const id of [3, 5])
    for (let i = 0; i < 4; i++) await r.peer.say(data(id, Buffer.alloc(i === 3 ? 16_383 : 16_384)))
  assert.equal(r.session.isClosed, false)
  await r.peer.say(data(7, 'x'))
  assert.deepEqual(r.peer.take(), ['GOAWAY 7 3'])
})
test('a smaller window of ours holds from the acknowledgement on: what was sent before may be as much as the default', async () => {
  const r = await rig('server', { streamWindowBytes: 1000 })
  await r.peer.say(headers(1, POST, false))
  r.told.streams[0]!.pause()
  await r.peer.say(data(1, Buffer.alloc(16_000)))
  assert.equal(r.told.streams[0]!.unreadBytes, 16_000)
  await r.peer.say(frame(4, 1, 0, Buffer.alloc(0)), headers(3, POST, false))
  r.told.streams[1]!.pause()
  await r.peer.say(data(3, Buffer.alloc(1001)))
  assert.deepEqual(r.peer.take(), ['RST_STREAM 3 3'])
})

test('streams take turns, a frame each, whatever the others have waiting', async () => {
  const r = await answering(64 * KIB, { first: settings([4, 1_000_000]) })
  await r.peer.say(windowUpdate(0, 1_000_000), headers(1, GET, true), headers(3, GET, true), headers(5, GET, true))
  const order = r.peer
    .take()
    .filter((line) => line.startsWith('DATA'))
    .map((line) => line.split(' ')[1])
    .join('')
  assert.equal(order, '135135135135')
})
test('a small answer does not wait behind a large one that fills the socket', async () => {
  const r = await answering(4 * KIB * KIB, { reads: false, first: settings([4, 0x7fff_ffff]) })
  await r.peer.say(windowUpdate(0, 0x7fff_0000), headers(1, GET, true))
  r.told.serve = (stream) => {
    stream.sendHead(OK.flat(), false)
    stream.sendData(Buffer.from('small'))
    stream.sendEnd()
  }
  await r.peer.say(headers(3, GET, true))
  r.peer.read()
  for (let i = 0; i < 50; i++) await settle()
  const lines = r.peer.take()
  assert.equal(r.peer.dataBytes, 4 * KIB * KIB + 5)
  const at = lines.indexOf('DATA 3 END "small"')
  assert.ok(at > 0 && at < 15, `after ${at} frames`)
})

test('a socket that takes nothing: what waits stays where its owner can see it, is bounded, and leaves when there is room', async () => {
  const r = await rig('server', { reads: false, first: settings([4, 0x7fff_ffff]) })
  await r.peer.say(windowUpdate(0, 0x7fff_0000), headers(1, GET, true))
  const [stream] = r.told.streams
  let written = 0
  r.told.onWritten = () => {
    written++
  }
  stream!.sendHead(OK.flat(), false)
  let sentBytes = 0
  while (!stream!.mustWait) {
    stream!.sendData(Buffer.alloc(10_000))
    sentBytes += 10_000
    await settle()
  }
  assert.ok(sentBytes < 350 * KIB, `${sentBytes} bytes before it had to wait`)
  assert.ok(stream!.queuedBytes > 64 * KIB && stream!.queuedBytes <= 74 * KIB)
  assert.ok(r.session.unsentBytes < 200 * KIB, `${r.session.unsentBytes}`)
  await settle()
  assert.ok(stream!.mustWait)
  const before = written
  r.peer.read()
  for (let i = 0; i < 20; i++) await settle()
  assert.ok(written > before)
  assert.deepEqual([stream!.mustWait, stream!.queuedBytes, r.peer.dataBytes], [false, 0, sentBytes])
})
for (const highWaterMark of [1, 16 * KIB, 1024 * KIB]) {
  test(`an answer of 3 MiB through a socket with a high water mark of ${highWaterMark}`, async () => {
    const r = await answering(3 * KIB * KIB, { highWaterMark, first: settings([4, 0x7fff_ffff]) })
    await r.peer.say(windowUpdate(0, 0x7fff_0000), headers(1, GET, true))
    for (let i = 0; i < 200 && r.session.streamCount > 0; i++) await settle()
    for (let i = 0; i < 20; i++) await settle()
    assert.equal(r.peer.dataBytes, 3 * KIB * KIB)
  })
}
test('answers that nobody reads are told, whichever frames they answer; nothing else is counted', async () => {
  for (const frames of [[ping()], [settings()], [headers(1, POST, false), rst(1, 8)]] as const) {
    const r = await rig('server', { reads: false, maxConcurrentStreams: 0 })
    let told = 0
    r.told.onCostly = (what) => {
      if (what === 'unread answers') {
        told++
        r.session.destroy(11)
      }
    }
    for (let i = 0; i < 20_000 && told === 0; i++)
      await (i % 500 === 499
        ? r.peer.say()
        : Promise.resolve(
            r.peer.socket.write(Buffer.concat(frames.length === 2 ? [headers(2 * i + 1, POST, false)] : frames)),
          ))
    assert.equal(told, 1)
    assert.ok(r.session.isClosed)
    assert.ok(r.session.unsentBytes < 300 * KIB, `${r.session.unsentBytes} bytes`)
  }
  const reading = await rig('server')
  for (let i = 0; i < 100; i++) await reading.peer.say(...(Array(100).fill(ping()) as Buffer[]))
  assert.equal(reading.told.costly.includes('unread answers'), false)
})
test('a header block that repeats its fields ends the connection, and is counted', async () => {
  const r = await rig('server')
  const long = Buffer.concat([Buffer.from([0x40, 1, 0x78, 0x7f, 0xa1, 0x1e]), Buffer.alloc(4000, 0x76)])
  await r.peer.say(frame(1, 0x5, 1, Buffer.concat([long, Buffer.alloc(20, 0xbe)])))
  assert.equal(r.told.costly.at(-1), 'repeated fields')
  assert.ok(r.session.isClosed)
})

test('small pieces that wait are put together: they cost what they hold', async () => {
  const r = await rig('server', { first: settings([4, 0]) })
  await r.peer.say(headers(1, POST, false))
  const [stream] = r.told.streams
  stream!.sendHead(OK.flat(), false)
  stream!.pause()
  const parents: WeakRef<ArrayBuffer>[] = []
  for (let i = 0; i < 200; i++) {
    const chunk = Buffer.allocUnsafeSlow(64 * KIB)
    chunk.fill(i)
    parents.push(new WeakRef(chunk.buffer))
    stream!.sendData(chunk.subarray(0, 10))
    await r.peer.say(data(1, 'x'))
  }
  assert.deepEqual([stream!.queuedBytes, stream!.unreadBytes], [2000, 200])
  let pieces = 0
  r.told.onData = () => {
    pieces++
  }
  stream!.resume()
  assert.ok(pieces < 10, `${pieces} pieces`)
  await r.peer.say(windowUpdate(1, 10_000))
  assert.ok(r.peer.take().filter((line) => line.startsWith('DATA')).length < 10)
  assert.equal(r.peer.dataBytes, 2000)
  assert.equal(stream!.queuedBytes, 0)
})
test('pieces that wait arrive in order and unchanged, small and large ones, taken bit by bit', async () => {
  const r = await rig('client', { highWaterMark: 100 })
  await r.peer.say(settings([4, 0]))
  const stream = r.told.open(POST, false)
  await r.peer.say()
  const said: Buffer[] = []
  for (let i = 0; i < 300; i++) {
    const chunk = Buffer.allocUnsafeSlow(i % 7 === 0 ? 5000 : 100)
      .subarray(0, i % 7 === 0 ? 5000 : 1 + (i % 50))
      .fill(i)
    said.push(Buffer.from(chunk))
    stream.sendData(chunk)
    if (i % 3 === 0) await r.peer.say(windowUpdate(1, 40))
  }
  stream.sendEnd()
  await r.peer.say(windowUpdate(1, 1_000_000), windowUpdate(0, 1_000_000))
  for (let i = 0; i < 500; i++) await settle()
  assert.ok(Buffer.concat(r.peer.payloads).equals(Buffer.concat(said)))
  assert.ok(stream.localEnded)
})
