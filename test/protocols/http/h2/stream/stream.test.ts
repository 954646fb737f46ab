/** RFC 9113 §5.1: each state of a stream, each frame, and what comes of it. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { ErrorCode } from '../../../../../protocols/http/codec/h2-frames.ts'
import { data, END, frame, GET, headers, OK, POST, rig, rst, u32, windowUpdate, type Rig } from '../rig.ts'

const FRAMES = {
  DATA: data(1, 'x'),
  'DATA END': data(1, 'x', END),
  HEADERS: headers(1, [['a', 'b']], false),
  'HEADERS END': headers(1, [['a', 'b']], true),
  PRIORITY: frame(2, 0, 1, Buffer.concat([u32(3), Buffer.from([16])])),
  'PRIORITY of itself': frame(2, 0, 1, Buffer.concat([u32(1), Buffer.from([16])])),
  'PRIORITY too short': frame(2, 0, 1, u32(3)),
  RST_STREAM: rst(1, 8),
  WINDOW_UPDATE: windowUpdate(1, 1),
  'WINDOW_UPDATE of nothing': windowUpdate(1, 0),
  'WINDOW_UPDATE too large': windowUpdate(1, 0x7fff_ffff),
  PUSH_PROMISE: frame(5, 4, 1, u32(2)),
} as const
type FrameName = keyof typeof FRAMES

type Outcomes = Readonly<Record<FrameName, string>>
const NOTHING = 'nothing'
const PROTOCOL = 'GOAWAY 1'
const CLOSED = 'GOAWAY 5'
const PUSH = { PUSH_PROMISE: PROTOCOL }
/** What `frames` of the table above do: told to the owner, or said to the peer. */
async function outcome({ told, peer, session }: Rig, bytes: Buffer): Promise<string> {
  told.take()
  peer.take()
  await peer.say(bytes)
  const goaway = peer.heard.find((line) => line.startsWith('GOAWAY'))
  if (goaway !== undefined) {
    assert.ok(session.isClosed && peer.ended, 'after GOAWAY with an error the connection ends')
    assert.equal(told.closes, 1)
    return `GOAWAY ${goaway.split(' ')[2]}`
  }
  const lines = [...told.take(), ...peer.take()].filter((line) => !line.startsWith('WINDOW_UPDATE'))
  return lines.length === 0 ? NOTHING : lines.join(', ')
}

/** All of a stream that is over and of which we know how. */
const OVER: Outcomes = {
  DATA: CLOSED,
  'DATA END': CLOSED,
  HEADERS: CLOSED,
  'HEADERS END': CLOSED,
  PRIORITY: NOTHING,
  'PRIORITY of itself': NOTHING,
  'PRIORITY too short': NOTHING,
  RST_STREAM: NOTHING,
  WINDOW_UPDATE: NOTHING,
  'WINDOW_UPDATE of nothing': NOTHING,
  'WINDOW_UPDATE too large': NOTHING,
  ...PUSH,
}
/** Frames may still be on their way. */
const RESET_BY_US: Outcomes = { ...OVER, DATA: NOTHING, 'DATA END': NOTHING, HEADERS: NOTHING, 'HEADERS END': NOTHING }
const streamError = (code: number, problem: string): string => `1 over ${code}: ${problem}, RST_STREAM 1 ${code}`
const FRAME_PROBLEM = 'a frame that may not be'
/** Of a stream whose sending side we have open. */
const ALIVE = {
  PRIORITY: NOTHING,
  'PRIORITY of itself': streamError(1, FRAME_PROBLEM),
  'PRIORITY too short': streamError(6, FRAME_PROBLEM),
  RST_STREAM: '1 over 8',
  WINDOW_UPDATE: NOTHING,
  'WINDOW_UPDATE of nothing': streamError(1, FRAME_PROBLEM),
  'WINDOW_UPDATE too large': streamError(3, 'a window above the largest'),
  ...PUSH,
}
const IDLE: Outcomes = {
  DATA: PROTOCOL,
  'DATA END': PROTOCOL,
  HEADERS: PROTOCOL,
  'HEADERS END': PROTOCOL,
  PRIORITY: NOTHING,
  'PRIORITY of itself': PROTOCOL,
  'PRIORITY too short': 'GOAWAY 6',
  RST_STREAM: PROTOCOL,
  WINDOW_UPDATE: PROTOCOL,
  'WINDOW_UPDATE of nothing': PROTOCOL,
  'WINDOW_UPDATE too large': PROTOCOL,
  ...PUSH,
}

type State = readonly [name: string, enter: (rig: Rig) => Promise<void>, outcomes: Outcomes]
const answer = async ({ told, peer }: Rig): Promise<void> => {
  told.streams[0]!.sendHead(OK.flat(), true)
  await peer.say()
}

const SERVER: readonly State[] = [
  ['idle', async () => {}, { ...IDLE, HEADERS: 'malformed', 'HEADERS END': 'malformed' }],
  [
    'open',
    ({ peer }) => peer.say(headers(1, POST, false)),
    {
      ...ALIVE,
      DATA: '1 data "x"',
      'DATA END': '1 data "x", 1 end',
      HEADERS: streamError(1, 'a second head'),
      'HEADERS END': '1 end a=b',
    },
  ],
  [
    'half-closed (remote)',
    ({ peer }) => peer.say(headers(1, GET, true)),
    {
      ...ALIVE,
      DATA: streamError(5, 'DATA where none may come'),
      'DATA END': streamError(5, 'DATA where none may come'),
      HEADERS: streamError(5, 'HEADERS after the end of the stream'),
      'HEADERS END': streamError(5, 'HEADERS after the end of the stream'),
    },
  ],
  [
    'half-closed (local)',
    async (r) => {
      await r.peer.say(headers(1, POST, false))
      await answer(r)
    },
    {
      ...ALIVE,
      DATA: '1 data "x"',
      'DATA END': '1 data "x", 1 end, 1 over 0',
      HEADERS: streamError(1, 'a second head'),
      'HEADERS END': '1 end a=b, 1 over 0',
    },
  ],
  [
    'closed by both',
    async (r) => {
      await r.peer.say(headers(1, GET, true))
      await answer(r)
    },
    OVER,
  ],
  ["closed by the peer's RST_STREAM", ({ peer }) => peer.say(headers(1, POST, false), rst(1, 8)), OVER],
  [
    'closed by our RST_STREAM',
    async ({ told, peer }) => {
      await peer.say(headers(1, POST, false))
      told.streams[0]!.reset(ErrorCode.CANCEL)
      await peer.say()
    },
    RESET_BY_US,
  ],
  [
    'passed over',
    ({ peer }) => peer.say(headers(3, GET, true)),
    { ...OVER, DATA: PROTOCOL, 'DATA END': PROTOCOL, HEADERS: PROTOCOL, 'HEADERS END': PROTOCOL },
  ],
]
const request = (r: Rig, end: boolean): Promise<void> => {
  r.told.open(end ? GET : POST, end)
  return r.peer.say()
}
const CLIENT: readonly State[] = [
  ['idle', async () => {}, IDLE],
  [
    'open, no head yet',
    (r) => request(r, false),
    {
      ...ALIVE,
      DATA: streamError(1, 'DATA where none may come'),
      'DATA END': streamError(1, 'DATA where none may come'),
      HEADERS: streamError(1, ':status is missing or is no status'),
      'HEADERS END': streamError(1, ':status is missing or is no status'),
    },
  ],
  [
    'open',
    async (r) => {
      await request(r, false)
      await r.peer.say(headers(1, OK, false))
    },
    {
      ...ALIVE,
      DATA: '1 data "x"',
      'DATA END': '1 data "x", 1 end',
      HEADERS: streamError(1, 'a second head'),
      'HEADERS END': '1 end a=b',
    },
  ],
  [
    'half-closed (local)',
    async (r) => {
      await request(r, true)
      await r.peer.say(headers(1, OK, false))
    },
    {
      ...ALIVE,
      DATA: '1 data "x"',
      'DATA END': '1 data "x", 1 end, 1 over 0',
      HEADERS: streamError(1, 'a second head'),
      'HEADERS END': '1 end a=b, 1 over 0',
    },
  ],
  [
    'half-closed (remote)',
    async (r) => {
      await request(r, false)
      await r.peer.say(headers(1, OK, true))
    },
    {
      ...ALIVE,
      DATA: streamError(5, 'DATA where none may come'),
      'DATA END': streamError(5, 'DATA where none may come'),
      HEADERS: streamError(5, 'HEADERS after the end of the stream'),
      'HEADERS END': streamError(5, 'HEADERS after the end of the stream'),
    },
  ],
  [
    'closed by both',
    async (r) => {
      await request(r, true)
      await r.peer.say(headers(1, OK, true))
    },
    OVER,
  ],
  [
    "closed by the peer's RST_STREAM",
    async (r) => {
      await request(r, true)
      await r.peer.say(rst(1, 7))
    },
    OVER,
  ],
  [
    'closed by our RST_STREAM',
    async (r) => {
      await request(r, true)
      r.told.streams[0]!.reset(ErrorCode.CANCEL)
      await r.peer.say()
    },
    RESET_BY_US,
  ],
]
for (const [role, states] of [
  ['server', SERVER],
  ['client', CLIENT],
] as const) {
  for (const [state, enter, outcomes] of states) {
    for (const name of Object.keys(FRAMES) as FrameName[]) {
      test(`${role}, ${state}: ${name} → ${outcomes[name]}`, async () => {
        const r = await rig(role)
        await enter(r)
        const found = await outcome(r, FRAMES[name])
        if (outcomes[name] === 'malformed')
          assert.match(found, /^1 malformed: :method is missing, 1? ?.*RST_STREAM 1 1$/)
        else assert.equal(found, outcomes[name])
      })
    }
  }
}

for (const role of ['server', 'client'] as const) {
  test(`${role}: frames of even streams, which nobody opens, break the connection`, async () => {
    for (const bytes of [data(2, 'x'), headers(2, GET, true), rst(2, 8), windowUpdate(2, 1)])
      assert.equal(await outcome(await rig(role), bytes), PROTOCOL)
  })
}
test('a stream that depends on itself is reset, also as it begins (RFC 7540 §5.3.1)', async () => {
  const r = await rig('server')
  assert.equal(
    await outcome(r, frame(1, 0x25, 1, Buffer.concat([u32(1), Buffer.from([16]), headers(1, GET, true).subarray(9)]))),
    'RST_STREAM 1 1',
  )
  assert.equal(r.session.streamCount, 0)
})

test('of resets so many are remembered; about older streams nothing is held against the peer', async () => {
  const r = await rig('server')
  for (let i = 0; i < 1030; i++) {
    await r.peer.say(headers(2 * i + 1, POST, false))
    r.told.streams.at(-1)!.reset(ErrorCode.CANCEL)
  }
  await r.peer.say()
  const last = 2 * 1029 + 1
  for (const id of [1, 3, 2 * 6 + 1, last])
    assert.equal(
      await outcome(r, Buffer.concat([data(id, 'x'), headers(id, [['a', 'b']], true)])),
      NOTHING,
      `stream ${id}`,
    )
  // What was closed by both sides after that is still known to be over.
  await r.peer.say(headers(last + 2, GET, true))
  r.told.streams.at(-1)!.sendHead(OK.flat(), true)
  await r.peer.say()
  assert.equal(await outcome(r, data(last + 2, 'x')), CLOSED)
})
test("DATA of a stream that was reset is given back to the connection's window", async () => {
  const r = await rig('server', { connectionWindowBytes: 65_535 })
  await r.peer.say(headers(1, POST, false))
  r.told.streams[0]!.reset(ErrorCode.CANCEL)
  for (let i = 0; i < 10; i++) await r.peer.say(data(1, Buffer.alloc(16_384)))
  assert.equal(r.session.isClosed, false)
  assert.equal(r.peer.take().filter((line) => line.startsWith('WINDOW_UPDATE 0')).length, 5)
})

test("a client's ids go up in the order in which the heads leave (RFC 9113 §5.1.1)", async () => {
  const r = await rig('client')
  const stream = r.session.open(
    r.told.streamOwner(() => stream),
    'GET',
  )
  r.told.open(GET)
  const canceled = r.told.open(GET)
  canceled.reset(ErrorCode.CANCEL)
  await r.peer.say()
  stream.sendHead(POST.flat(), true)
  await r.peer.say()
  assert.deepEqual([r.told.streams[0]!.id, canceled.id, stream.id], [1, 0, 3])
  assert.deepEqual(
    r.peer.take().map((line) => line.slice(0, 27)),
    ['HEADERS 1 END :method=GET :', 'HEADERS 3 END :method=POST '],
  )
  assert.deepEqual(r.told.take(), ['0 over 8'])
})
test('streams above the limit are refused, and so are those that only their owners still have', async () => {
  const r = await rig('server', { maxConcurrentStreams: 2 })
  await r.peer.say(headers(1, POST, false), headers(3, GET, true), headers(5, GET, true))
  assert.deepEqual(r.peer.take(), ['RST_STREAM 5 7'])
  assert.deepEqual(r.told.costly, ['settings', 'resets'])
  // Answered and ended by both, but not read.
  r.told.serve = (stream) => {
    stream.pause()
    stream.sendHead(OK.flat(), true)
  }
  r.told.streams[1]!.sendHead(OK.flat(), true)
  r.told.streams[0]!.reset(ErrorCode.CANCEL)
  await r.peer.say()
  for (let id = 7; id < 17; id += 2) await r.peer.say(headers(id, POST, false), data(id, 'x', END))
  assert.equal(r.session.streamCount, 4)
  assert.deepEqual(
    r.peer.take().filter((line) => line.startsWith('RST_STREAM')),
    ['RST_STREAM 1 8', 'RST_STREAM 15 7'],
  )
  for (const stream of r.told.streams) stream.resume()
  assert.equal(r.session.streamCount, 0)
})
