/** Requests and answers (RFC 9113 §8), what owners are told of them, and what an owner throws. */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { onDefect } from '../../../../core/defects/guard.ts'
import { ErrorCode } from '../../../../protocols/http/codec/h2-frames.ts'
import type { Fields } from '../../../helpers/raw-h2.ts'
import { data, END, frame, GET, headers, OK, POST, rig, rst } from './rig.ts'

const length = (n: number | string): readonly [string, string] => ['content-length', String(n)]
const WRONG = 'not as much DATA as content-length says'

const REQUESTS: readonly (readonly [name: string, frames: readonly Buffer[], told: readonly string[]])[] = [
  [
    'a length that is kept',
    [headers(1, [...POST, length(3)], false), data(1, 'ab'), data(1, 'c', END)],
    ['1 data "ab"', '1 data "c"', '1 end'],
  ],
  [
    'a length that is kept, and trailers',
    [headers(1, [...POST, length(2)], false), data(1, 'ab'), headers(1, [['x', 'y']], true)],
    ['1 data "ab"', '1 end x=y'],
  ],
  ['more than the length', [headers(1, [...POST, length(1)], false), data(1, 'ab')], [`1 over 1: ${WRONG}`]],
  ['less than the length', [headers(1, [...POST, length(3)], false), data(1, 'ab', END)], [`1 over 1: ${WRONG}`]],
  [
    'less than the length, and trailers',
    [headers(1, [...POST, length(3)], false), data(1, 'ab'), headers(1, [['x', 'y']], true)],
    ['1 data "ab"', `1 over 1: ${WRONG}`],
  ],
  ['DATA where the length is 0', [headers(1, [...POST, length(0)], false), data(1, 'a')], [`1 over 1: ${WRONG}`]],
  ['an empty end where the length is 0', [headers(1, [...POST, length(0)], false), data(1, '', END)], ['1 end']],
  [
    'trailers with a pseudo-header field',
    [headers(1, POST, false), headers(1, [[':path', '/']], true)],
    ['1 over 1: a pseudo-header field in the wrong place: :path'],
  ],
  [
    'trailers that end nothing',
    [headers(1, POST, false), headers(1, [['x', 'y']], false)],
    ['1 over 1: a second head'],
  ],
  [
    'DATA after CONNECT, whatever its length',
    [headers(1, [[':method', 'CONNECT'], [':authority', 'a:1'], length(1)], false), data(1, 'abc')],
    ['1 data "abc"'],
  ],
]
for (const [name, frames, told] of REQUESTS) {
  test(`a request: ${name}`, async () => {
    const r = await rig('server')
    await r.peer.say(...frames)
    assert.deepEqual(r.told.take().slice(1), told)
    assert.equal(
      r.told.costly.filter((what) => what === 'resets').length,
      told.some((line) => line.includes('over')) ? 1 : 0,
    )
  })
}
test('a malformed request may be answered, and is reset afterwards; what comes of it is taken from the window', async () => {
  const r = await rig('server')
  r.told.onMalformed = (stream) => {
    stream.sendHead([':status', '400'], false)
    stream.sendData(Buffer.from('no'))
  }
  await r.peer.say(
    headers(1, [...GET, ['connection', 'close']], false),
    headers(3, [[':method', 'GET']], true),
    headers(5, [...GET, length(5)], true),
    data(1, 'x'),
  )
  assert.deepEqual(
    r.peer.take(),
    [1, 3, 5]
      .flatMap((id) => [`HEADERS ${id} :status=400`, `DATA ${id} END "no"`, `RST_STREAM ${id} 1`])
      .sort((a, b) => a.split(' ')[1]!.localeCompare(b.split(' ')[1]!)),
  )
  assert.deepEqual([r.told.take(), r.session.streamCount, r.session.isClosed], [[], 0, false])
})
test('fields that no message may have are malformed too', async () => {
  for (const field of [
    ['Upper', 'x'],
    ['a b', 'x'],
    ['a', 'x\ry'],
    ['a', 'x\0'],
    ['', 'x'],
  ] as const) {
    const r = await rig('server')
    await r.peer.say(headers(1, [...GET, field], true))
    assert.match(r.told.take().join(), /^1 malformed: /, JSON.stringify(field))
    assert.deepEqual(r.peer.take(), ['RST_STREAM 1 1'])
  }
})
test('a list above the limit is told with what fitted; in the trailers, too; as 1xx it is malformed', async () => {
  const long: Fields = [['x-long', 'y'.repeat(20_000)]]
  const server = await rig('server')
  await server.peer.say(headers(1, [...GET, ...long], true), headers(3, POST, false), headers(3, long, true))
  assert.deepEqual(
    server.told.take().map((line) => line.slice(0, 34)),
    ['1 request END oversized :method=GE', '3 request :method=POST :scheme=htt', '3 end oversized '],
  )
  const client = await rig('client')
  client.told.open(GET)
  client.told.open(GET)
  await client.peer.say()
  await client.peer.say(headers(1, [...OK, ...long], true), headers(3, [[':status', '103'], ...long], false))
  assert.deepEqual(client.told.take(), [
    '1 head END oversized :status=200',
    '1 end',
    '1 over 0',
    '3 over 1: 1xx where none may come',
  ])
})
test('the request says HEAD where a value looks like the name of the field', async () => {
  const r = await rig('server')
  await r.peer.say(
    headers(
      1,
      [
        [':authority', ':method'],
        [':method', 'HEAD'],
        [':scheme', 'http'],
        [':path', '/'],
      ],
      true,
    ),
  )
  assert.equal(r.told.streams[0]!.isHead, true)
})

const HEAD: Fields = [[':method', 'HEAD'], ...GET.slice(1)]
const CONNECT: Fields = [
  [':method', 'CONNECT'],
  [':authority', 'a:1'],
]
const ANSWERS: readonly (readonly [
  name: string,
  request: Fields,
  frames: readonly Buffer[],
  told: readonly string[],
])[] = [
  ['a head alone', GET, [headers(1, OK, true)], ['1 head END :status=200', '1 end', '1 over 0']],
  [
    '1xx, then the head',
    GET,
    [
      headers(1, [[':status', '100']], false),
      headers(
        1,
        [
          [':status', '103'],
          ['link', 'x'],
        ],
        false,
      ),
      headers(1, OK, true),
    ],
    [
      '1 informational :status=100',
      '1 informational :status=103 link=x',
      '1 head END :status=200',
      '1 end',
      '1 over 0',
    ],
  ],
  ['1xx that ends', GET, [headers(1, [[':status', '100']], true)], ['1 over 1: 1xx where none may come']],
  ['101', GET, [headers(1, [[':status', '101']], false)], ['1 over 1: 1xx where none may come']],
  [
    '1xx after the head',
    GET,
    [headers(1, OK, false), headers(1, [[':status', '100']], false)],
    ['1 head :status=200', '1 over 1: a second head'],
  ],
  [
    'too many 1xx',
    GET,
    Array(33).fill(headers(1, [[':status', '102']], false)) as Buffer[],
    [...(Array(32).fill('1 informational :status=102') as string[]), '1 over 1: 1xx where none may come'],
  ],
  [
    'trailers',
    GET,
    [headers(1, OK, false), data(1, 'x'), headers(1, [['x', 'y']], true)],
    ['1 head :status=200', '1 data "x"', '1 end x=y', '1 over 0'],
  ],
  [
    'HEAD with a length',
    HEAD,
    [headers(1, [...OK, length(5)], true)],
    ['1 head END :status=200 content-length=5', '1 end', '1 over 0'],
  ],
  [
    'HEAD with a length, ended by nothing',
    HEAD,
    [headers(1, [...OK, length(5)], false), data(1, '', END)],
    ['1 head :status=200 content-length=5', '1 end', '1 over 0'],
  ],
  [
    'HEAD with a body',
    HEAD,
    [headers(1, [...OK, length(1)], false), data(1, 'x', END)],
    ['1 head :status=200 content-length=1', `1 over 1: ${WRONG}`],
  ],
  [
    '304 with a length',
    GET,
    [headers(1, [[':status', '304'], length(5)], true)],
    ['1 head END :status=304 content-length=5', '1 end', '1 over 0'],
  ],
  [
    '204 with a length',
    GET,
    [headers(1, [[':status', '204'], length(5)], true)],
    ['1 head END :status=204 content-length=5', '1 end', '1 over 0'],
  ],
  [
    '204 with a body',
    GET,
    [headers(1, [[':status', '204']], false), data(1, 'x', END)],
    ['1 head :status=204', `1 over 1: ${WRONG}`],
  ],
  ['a length and no body', GET, [headers(1, [...OK, length(5)], true)], ['1 over 1: content-length, and no body']],
  [
    'a length that is none',
    GET,
    [headers(1, [...OK, length('x')], false)],
    ['1 over 1: content-length is no number, or several'],
  ],
  [
    'two lengths',
    GET,
    [headers(1, [...OK, length(1), length(2)], false)],
    ['1 over 1: content-length is no number, or several'],
  ],
  [
    'a tunnel',
    CONNECT,
    [headers(1, [...OK, length(1)], false), data(1, 'abc')],
    ['1 head :status=200 content-length=1', '1 data "abc"'],
  ],
  [
    'no tunnel',
    CONNECT,
    [headers(1, [[':status', '403'], length(1)], false), data(1, 'abc')],
    ['1 head :status=403 content-length=1', `1 over 1: ${WRONG}`],
  ],
  ['no status', GET, [headers(1, [['server', 'x']], true)], ['1 over 1: :status is missing or is no status']],
  [
    "a connection's field",
    GET,
    [headers(1, [...OK, ['upgrade', 'h2c']], true)],
    ['1 over 1: a field of one HTTP/1.1 connection: upgrade'],
  ],
  [
    'RST_STREAM after all of it',
    GET,
    [headers(1, OK, true), rst(1, 0)],
    ['1 head END :status=200', '1 end', '1 over 0'],
  ],
]
for (const [name, request, frames, told] of ANSWERS) {
  test(`an answer: ${name}`, async () => {
    const r = await rig('client')
    r.told.open(request, request !== CONNECT)
    await r.peer.say()
    await r.peer.say(...frames)
    assert.deepEqual(r.told.take(), told)
  })
}
test('an answer before the request is said in full, and RST_STREAM with NO_ERROR behind it (RFC 9113 §8.1)', async () => {
  const r = await rig('client')
  r.told.open(POST, false)
  await r.peer.say()
  await r.peer.say(headers(1, OK, false), data(1, 'x', END), rst(1, 0))
  assert.deepEqual(r.told.take(), ['1 head :status=200', '1 data "x"', '1 end', '1 over 0'])
})
test('1xx, head, DATA and trailers of ours, in this order, each once', async () => {
  const r = await rig('server')
  await r.peer.say(headers(1, POST, false))
  const [stream] = r.told.streams
  stream!.sendInformational([':status', '103'])
  stream!.sendHead(OK.flat(), false)
  stream!.sendHead(OK.flat(), true)
  stream!.sendInformational([':status', '100'])
  stream!.sendData(Buffer.from('a'))
  stream!.sendData(Buffer.alloc(0))
  stream!.sendEnd(['x', 'y'])
  stream!.sendEnd()
  stream!.sendData(Buffer.from('b'))
  await r.peer.say()
  assert.deepEqual(r.peer.take(), ['HEADERS 1 :status=103', 'HEADERS 1 :status=200', 'DATA 1 "a"', 'HEADERS 1 END x=y'])
  assert.deepEqual([stream!.localEnded, stream!.remoteEnded, r.session.streamCount], [true, false, 1])
})
test('a field list of 100 KiB goes out as HEADERS and CONTINUATION', async () => {
  const r = await rig('client')
  r.told.open([...GET, ['x-long', 'y'.repeat(100_000)]])
  await r.peer.say()
  const lines = r.peer.take()
  assert.deepEqual(
    lines.map((line) => line.split(' :')[0]),
    ['HEADERS 1 END', ...(Array(6).fill('CONTINUATION 1') as string[])],
  )
  assert.match(lines.at(-1)!, /^CONTINUATION 1 :method=GET .* x-long=y{100000}$/)
})

/* Unread data. */

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
    const listening = onDefect((_part, error) => {
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
  const listening = onDefect((_part, error) => {
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
