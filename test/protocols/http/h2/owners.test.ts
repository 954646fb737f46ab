/** What the owner of a stream does: pause, reset, throw; and what it is told afterwards. */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { listenForDefects } from '../../../../core/defects/guard.ts'
import { ErrorCode } from '../../../../protocols/http/codec/h2-frames.ts'
import { data, END, frame, GET, headers, OK, POST, rig, rst } from './rig.ts'

const isTold = (line: string): boolean => /data|end|over/.test(line)
test('paused: nothing is told, resume tells all of it in order, pause within holds the rest', async () => {
  const r = await rig('server')
  await r.peer.say(headers(1, POST, false))
  const [stream] = r.told.streams
  stream!.pause()
  const chunk = (text: string): Buffer => data(1, Buffer.alloc(9000, text))
  await r.peer.say(chunk('a'), chunk('b'), chunk('c'), headers(1, [['x', 'y']], true))
  assert.deepEqual(r.told.take().filter(isTold), [])
  r.told.onData = () => {
    stream!.pause()
  }
  stream!.resume()
  const first = r.told.take()
  assert.equal(first.length, 1)
  r.told.onData = () => {}
  stream!.resume()
  assert.equal(r.told.take().at(-1), '1 end x=y')
  assert.equal(stream!.unreadBytes, 0)
})
test('a request that is reset while it waits is over at once; its bytes are given back once', async () => {
  const r = await rig('server', { connectionWindowBytes: 65_535 })
  await r.peer.say(headers(1, POST, false))
  r.told.streams[0]!.pause()
  await r.peer.say(data(1, Buffer.alloc(16_384)), data(1, Buffer.alloc(16_384), END))
  r.told.take()
  await r.peer.say(rst(1, 8))
  assert.deepEqual([r.told.take(), r.peer.take(), r.session.streamCount], [['1 over 8'], ['WINDOW_UPDATE 0 32768'], 0])
  r.told.streams[0]!.resume()
  assert.deepEqual(r.told.take(), [])
})
test('an answer that has come in full is read to its end, although the stream is reset or the connection ends meanwhile', async () => {
  for (const end of ['reset', 'socket ends', 'socket breaks'] as const) {
    const r = await rig('client')
    const stream = r.told.open(GET)
    await r.peer.say()
    stream.pause()
    await r.peer.say(headers(1, OK, false), data(1, 'abc', END), ...(end === 'reset' ? [rst(1, 0)] : []))
    if (end === 'socket ends') r.peer.socket.end()
    if (end === 'socket breaks') r.socket.destroy(new Error('reset'))
    await r.peer.say()
    assert.deepEqual(r.told.take(), ['1 head :status=200'], end)
    assert.equal(r.session.isClosed, end !== 'reset')
    stream.resume()
    assert.deepEqual(
      r.told.take(),
      ['1 data "abc"', '1 end', '1 over 0', ...(end === 'reset' ? [] : ['session over'])],
      end,
    )
  }
})
test('an answer that has come in full to a request that has not left in full: its end tells that', async () => {
  const r = await rig('client')
  const stream = r.told.open(POST, false)
  await r.peer.say()
  stream.pause()
  await r.peer.say(headers(1, OK, false), data(1, 'abc', END), rst(1, 8))
  stream.sendData(Buffer.from('more'))
  stream.resume()
  assert.deepEqual(r.told.take(), ['1 head :status=200', '1 data "abc"', '1 end', '1 over 8'])
})
test('what waits on an ended connection goes when its owner resets it, or the connection is destroyed', async () => {
  for (const how of ['reset', 'destroy'] as const) {
    const r = await rig('client')
    const stream = r.told.open(GET)
    await r.peer.say()
    stream.pause()
    await r.peer.say(headers(1, OK, false), data(1, 'abc', END))
    r.peer.socket.end()
    await r.peer.say()
    if (how === 'reset') stream.reset(ErrorCode.CANCEL)
    else r.session.destroy(ErrorCode.NO_ERROR)
    assert.deepEqual(r.told.take(), ['1 head :status=200', `1 over ${how === 'reset' ? 8 : -1}`, 'session over'])
  }
})
test('an answer that has not come in full ends with the connection, read or not', async () => {
  const r = await rig('client')
  const stream = r.told.open(GET)
  await r.peer.say()
  stream.pause()
  await r.peer.say(headers(1, OK, false), data(1, 'abc'))
  r.peer.socket.end()
  await r.peer.say()
  assert.deepEqual(r.told.take(), ['1 head :status=200', '1 over -1', 'session over'])
})
test('a stream that its owner resets while it takes what had waited hears nothing more, and its bytes are given back once', async () => {
  const r = await rig('server', { connectionWindowBytes: 65_535 })
  await r.peer.say(headers(1, POST, false))
  const [stream] = r.told.streams
  stream!.pause()
  for (let i = 0; i < 4; i++) await r.peer.say(data(1, Buffer.alloc(i === 3 ? 16_383 : 16_384), i === 3 ? END : 0))
  r.told.take()
  r.told.onData = () => {
    stream!.reset(ErrorCode.CANCEL)
  }
  stream!.resume()
  await r.peer.say()
  assert.deepEqual(
    r.told.take().map((line) => line.split(' ')[1]),
    ['data', 'over'],
  )
  const given = r.peer
    .take()
    .filter((line) => line.startsWith('WINDOW_UPDATE 0'))
    .reduce((sum, line) => sum + Number(line.split(' ')[2]), 0)
  assert.ok(given > 32_767 && given <= 65_535, `${given}`)
})

/* Defects. */

for (const at of ['serve', 'onData', 'onEnd', 'onWritten'] as const) {
  test(`what ${at} throws ends its stream and no other`, async (t: TestContext) => {
    const defects: string[] = []
    const listening = listenForDefects((_part, error) => {
      defects.push(error.message)
    })
    t.after(() => {
      listening[Symbol.dispose]()
    })
    const r = await rig('server')
    r.told[at] = (stream) => {
      if (stream.id === 1) throw new Error('a defect')
      if (at === 'serve' || at === 'onEnd') stream.sendHead(OK.flat(), true)
    }
    await r.peer.say(headers(1, POST, false), data(1, 'x', END), headers(3, POST, false), data(3, 'x', END))
    if (at === 'onWritten' || at === 'onData') for (const stream of r.told.streams) stream.sendHead(OK.flat(), false)
    await r.peer.say()
    for (const stream of r.told.streams) stream.sendEnd()
    await r.peer.say()
    assert.ok(defects.length === 1 && defects[0]!.includes('a defect'), defects.join())
    assert.deepEqual(
      r.told
        .take()
        .filter((line) => line.includes('over'))
        .sort(),
      ['1 over 2', '3 over 0'],
    )
    assert.equal(r.session.isClosed, false)
  })
}
test('what the owner of the session throws at the end ends nobody else', async (t: TestContext) => {
  const defects: string[] = []
  const listening = listenForDefects((_part, error) => {
    defects.push(error.message)
  })
  t.after(() => {
    listening[Symbol.dispose]()
  })
  const r = await rig('server')
  r.told.onSessionClose = () => {
    throw new Error('a defect')
  }
  r.session.destroy(ErrorCode.NO_ERROR)
  assert.equal(defects.length, 1)
})
test('unknown frames are counted and nothing else', async () => {
  const r = await rig('server')
  await r.peer.say(frame(77, 0, 1, Buffer.alloc(3)), frame(77, 0, 0, Buffer.alloc(0)))
  assert.deepEqual(
    [r.told.costly, r.peer.take(), r.session.isClosed],
    [['settings', 'empty frames', 'empty frames'], [], false],
  )
})
test('each read is told to its end once for each stream', async () => {
  const r = await rig('server')
  let pauses = 0
  r.told.serve = (stream) => {
    const owner = stream.owner!
    owner.onPause = () => {
      pauses++
    }
  }
  await r.peer.say(headers(1, POST, false), ...(Array(50).fill(data(1, 'x')) as Buffer[]))
  assert.equal(pauses, 1)
  await r.peer.say(data(1, 'x'))
  assert.equal(pauses, 2)
})
