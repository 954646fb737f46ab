/** Requests and answers (RFC 9113 §8), and what owners are told of them. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { Fields } from '../../../helpers/raw-h2.ts'
import { data, END, GET, headers, OK, POST, rig, rst } from './rig.ts'

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
