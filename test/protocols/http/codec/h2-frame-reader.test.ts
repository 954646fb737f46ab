/** Every frame of RFC 9113 §6: what it is, what it must not be, whatever pieces it comes in. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { FrameReader } from '../../../../protocols/http/codec/h2-frame-reader.ts'
import { frame, PREFACE as PREFACE_AND_SETTINGS } from '../../../helpers/raw-h2.ts'
import { FrameLog, readInPieces } from './frame-log.ts'

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex')
const SETTINGS = frame(4, 0, 0, Buffer.alloc(0))
const PROTOCOL = 1
const SIZE = 6
const CALM = 11
const DATA = 0,
  HEADERS = 1,
  PRIORITY = 2,
  RST = 3,
  SET = 4,
  PUSH = 5,
  PING = 6,
  GOAWAY = 7,
  WINDOW = 8,
  CONTINUATION = 9
const END = 1,
  END_HEADERS = 4,
  PADDED = 8,
  PRIO = 32,
  ACK = 1
const f = (type: number, flags: number, stream: number, payload = ''): Buffer =>
  frame(type, flags, stream, hex(payload))

type Row = readonly [name: string, frames: readonly Buffer[], told: readonly string[]]
const ROWS: readonly Row[] = [
  ['DATA', [f(DATA, 0, 1, 'abcd')], ['data 1 abcd']],
  ['DATA that ends', [f(DATA, END, 1, 'ab')], ['data 1 ab END']],
  ['DATA of nothing', [f(DATA, 0, 1)], ['empty', 'data 1 ']],
  ['DATA of nothing that ends', [f(DATA, END, 1)], ['data 1  END']],
  ['DATA, unknown flags', [f(DATA, 0xf6, 1, 'ab')], ['data 1 ab']],
  ['DATA, the reserved bit of its stream', [f(DATA, 0, 0x8000_0001, 'ab')], ['data 1 ab']],
  ['DATA of the largest size', [frame(DATA, 0, 1, Buffer.alloc(16_384, 1))], [`data 1 ${'01'.repeat(16_384)}`]],
  ['DATA of one byte more', [frame(DATA, 0, 1, Buffer.alloc(16_385))], [`broken ${SIZE}`]],
  ['DATA of the connection', [f(DATA, 0, 0, 'ab')], [`broken ${PROTOCOL}`]],
  ['padded DATA', [f(DATA, PADDED | END, 1, '02 abcd 0000')], ['data 1 abcd +3 END']],
  ['DATA padded with nothing', [f(DATA, PADDED, 1, '00 ab')], ['data 1 ab +1']],
  ['DATA that is only padding', [f(DATA, PADDED, 1, '03 000000')], ['empty', 'data 1  +4']],
  ['DATA that is only padding and ends', [f(DATA, PADDED | END, 1, '00')], ['data 1  +1 END']],
  ['padding as long as the payload', [f(DATA, PADDED, 1, '03 0000')], [`broken ${PROTOCOL}`]],
  ['padded DATA without the length', [f(DATA, PADDED, 1)], [`broken ${SIZE}`]],
  ['padded DATA of the connection', [f(DATA, PADDED, 0, '00')], [`broken ${PROTOCOL}`]],
  ['HEADERS', [f(HEADERS, END_HEADERS, 1, '8286')], ['headers 1 8286']],
  ['HEADERS that end', [f(HEADERS, END_HEADERS | END, 1, '82')], ['headers 1 82 END']],
  ['HEADERS of nothing', [f(HEADERS, END_HEADERS, 3)], ['headers 3 ']],
  ['padded HEADERS', [f(HEADERS, END_HEADERS | PADDED, 1, '01 82 00')], ['headers 1 82']],
  ['HEADERS with priority', [f(HEADERS, END_HEADERS | PRIO, 3, '80000001 10 82')], ['headers 3 82 after 1']],
  [
    'padded HEADERS with priority',
    [f(HEADERS, END_HEADERS | PRIO | PADDED, 3, '02 00000001 10 82 0000')],
    ['headers 3 82 after 1'],
  ],
  ['HEADERS too short for a priority', [f(HEADERS, END_HEADERS | PRIO, 3, '00000001')], [`broken ${SIZE}`]],
  [
    'HEADERS whose padding takes in the priority',
    [f(HEADERS, END_HEADERS | PRIO | PADDED, 3, '01 00000001 10')],
    [`broken ${PROTOCOL}`],
  ],
  ['HEADERS of the connection', [f(HEADERS, END_HEADERS, 0, '82')], [`broken ${PROTOCOL}`]],
  [
    'HEADERS and CONTINUATION',
    [f(HEADERS, END, 1, '82'), f(CONTINUATION, 0, 1, '86'), f(CONTINUATION, END_HEADERS, 1, '84')],
    ['headers 1 828684 END'],
  ],
  [
    'padded HEADERS with priority and CONTINUATION',
    [f(HEADERS, PADDED | PRIO, 3, '01 00000001 10 82 00'), f(CONTINUATION, END_HEADERS, 3, '86')],
    ['headers 3 8286 after 1'],
  ],
  ['CONTINUATION of nothing', [f(HEADERS, 0, 1, '82'), f(CONTINUATION, END_HEADERS, 1)], ['headers 1 82']],
  ['CONTINUATION of nobody', [f(CONTINUATION, END_HEADERS, 1, '82')], [`broken ${PROTOCOL}`]],
  [
    'CONTINUATION after the last',
    [f(HEADERS, END_HEADERS, 1, '82'), f(CONTINUATION, END_HEADERS, 1, '82')],
    ['headers 1 82', `broken ${PROTOCOL}`],
  ],
  [
    'CONTINUATION of another stream',
    [f(HEADERS, 0, 1, '82'), f(CONTINUATION, END_HEADERS, 3, '82')],
    [`broken ${PROTOCOL}`],
  ],
  ...[DATA, HEADERS, PRIORITY, RST, SET, PUSH, PING, GOAWAY, WINDOW, 77].map((type): Row => [
    `a header block that type ${type} interrupts`,
    [f(HEADERS, 0, 1, '82'), f(type, 0, type === SET || type === PING || type === GOAWAY ? 0 : 1, '')],
    [`broken ${PROTOCOL}`],
  ]),
  ['PRIORITY', [f(PRIORITY, 0, 5, '80000003 ff')], ['priority 5 after 3']],
  [
    'PRIORITY of a wrong size breaks its stream',
    [f(PRIORITY, 0, 5, '00000003'), f(PRIORITY, 0, 5, '00000003 ff 00')],
    [`stream error 5 ${SIZE}`, `stream error 5 ${SIZE}`],
  ],
  ['PRIORITY of the connection', [f(PRIORITY, 0, 0, '00000003 ff')], [`broken ${PROTOCOL}`]],
  ['RST_STREAM', [f(RST, 0, 1, 'ffffffff')], ['reset 1 4294967295']],
  ['RST_STREAM of a wrong size', [f(RST, 0, 1, '00')], [`broken ${SIZE}`]],
  ['RST_STREAM of the connection', [f(RST, 0, 0, '00000008')], [`broken ${PROTOCOL}`]],
  ['SETTINGS', [f(SET, 0, 0, '0004 00000000 0003 ffffffff 00ff 00000001')], ['settings 4=0 3=4294967295 255=1']],
  ['SETTINGS of nothing', [f(SET, 0, 0)], ['settings ']],
  ['SETTINGS that acknowledge', [f(SET, ACK, 0)], ['settings ack']],
  ['SETTINGS that acknowledge and say something', [f(SET, ACK, 0, '0004 00000000')], [`broken ${SIZE}`]],
  ['SETTINGS of a wrong size', [f(SET, 0, 0, '0004 000000')], [`broken ${SIZE}`]],
  ['SETTINGS of a stream', [f(SET, 0, 1)], [`broken ${PROTOCOL}`]],
  ['SETTINGS, 64', [frame(SET, 0, 0, Buffer.alloc(64 * 6))], [`settings ${Array(64).fill('0=0').join(' ')}`]],
  ['SETTINGS, more', [frame(SET, 0, 0, Buffer.alloc(65 * 6))], [`broken ${CALM}`]],
  ['PUSH_PROMISE', [f(PUSH, END_HEADERS, 1, '00000002 82')], [`broken ${PROTOCOL}`]],
  ['PING', [f(PING, 0, 0, '0102030405060708')], ['ping 0102030405060708']],
  ['PING that answers', [f(PING, ACK, 0, '0102030405060708')], ['ping 0102030405060708 ack']],
  ['PING of a wrong size', [f(PING, 0, 0, '01020304050607')], [`broken ${SIZE}`]],
  ['PING of a stream', [f(PING, 0, 1, '0102030405060708')], [`broken ${PROTOCOL}`]],
  ['GOAWAY', [f(GOAWAY, 0, 0, '80000005 0000000b 6162')], ['goaway 5 11']],
  ['GOAWAY of a wrong size', [f(GOAWAY, 0, 0, '00000005 000000')], [`broken ${SIZE}`]],
  ['GOAWAY of a stream', [f(GOAWAY, 0, 1, '00000005 00000000')], [`broken ${PROTOCOL}`]],
  ['WINDOW_UPDATE', [f(WINDOW, 0, 0, '80000001'), f(WINDOW, 0, 1, '7fffffff')], ['window 0 1', 'window 1 2147483647']],
  ['WINDOW_UPDATE of nothing breaks its stream', [f(WINDOW, 0, 1, '80000000')], [`stream error 1 ${PROTOCOL}`]],
  ['WINDOW_UPDATE of nothing for the connection', [f(WINDOW, 0, 0, '00000000')], [`broken ${PROTOCOL}`]],
  ['WINDOW_UPDATE of a wrong size', [f(WINDOW, 0, 1, '000001')], [`broken ${SIZE}`]],
  [
    'unknown types are ignored',
    [f(10, 0xff, 0, '00'), f(255, 0, 7, ''), f(PING, 0, 0, '0000000000000000')],
    ['empty', 'empty', 'ping 0000000000000000'],
  ],
  ['an unknown type of more than may be', [frame(10, 0, 0, Buffer.alloc(16_385))], [`broken ${SIZE}`]],
]

for (const [name, frames, told] of ROWS) {
  test(`${name}: whole, byte by byte, and cut at each of its first bytes`, () => {
    const bytes = Buffer.concat([SETTINGS, ...frames])
    const expected = ['settings ', ...told]
    assert.deepEqual(readInPieces(bytes, []), expected)
    if (bytes.length > 1000) {
      assert.deepEqual(readInPieces(bytes, [9, 10, 17, 18, 19, bytes.length - 1]), expected)
      return
    }
    assert.deepEqual(
      readInPieces(
        bytes,
        Array.from({ length: bytes.length }, (_, i) => i),
      ),
      expected,
    )
    for (let cut = 1; cut < bytes.length; cut++) assert.deepEqual(readInPieces(bytes, [cut]), expected, `cut at ${cut}`)
  })
}

const PREFACE = PREFACE_AND_SETTINGS.subarray(0, 24)
test('the preface, whatever pieces it comes in (RFC 9113 §3.4)', () => {
  const bytes = Buffer.concat([PREFACE, SETTINGS])
  for (let cut = 0; cut < bytes.length; cut++)
    assert.deepEqual(readInPieces(bytes, [cut], { expectPreface: true }), ['settings '])
})
test('a preface that is wrong in any byte is broken at that byte', () => {
  for (let at = 0; at < PREFACE.length; at++) {
    const bytes = Buffer.from(PREFACE)
    bytes[at]! ^= 1
    assert.deepEqual(readInPieces(bytes.subarray(0, at), [], { expectPreface: true }), [])
    assert.deepEqual(readInPieces(bytes.subarray(0, at + 1), [], { expectPreface: true }), [`broken ${PROTOCOL}`])
  }
})
for (const [name, first] of [
  ['DATA', f(DATA, 0, 1, 'ab')],
  ['HEADERS', f(HEADERS, END_HEADERS, 1, '82')],
  ['PING', f(PING, 0, 0, '0000000000000000')],
  ['an unknown frame', f(99, 0, 0)],
  ['an acknowledgement of SETTINGS', f(SET, ACK, 0)],
] as const) {
  test(`${name} before SETTINGS breaks the connection (RFC 9113 §3.4)`, () => {
    assert.deepEqual(readInPieces(first, []), [`broken ${PROTOCOL}`])
  })
}

test('a header block has a bound in bytes and one in frames', () => {
  const piece = (bytes: number, flags = 0): Buffer => frame(CONTINUATION, flags, 1, Buffer.alloc(bytes))
  const begin = Buffer.concat([SETTINGS, frame(HEADERS, 0, 1, Buffer.alloc(1000))])
  const told = (frames: readonly Buffer[]): string =>
    readInPieces(Buffer.concat([begin, ...frames]), [], { maxBlockBytes: 3000 })
      .slice(1)
      .map((line) => line.split(' ')[0])
      .join(' ')
  assert.equal(told([piece(1000), piece(1000, END_HEADERS)]), 'headers')
  assert.equal(told([piece(1000), piece(1001, END_HEADERS)]), 'endless broken')
  assert.equal(told([...(Array(31).fill(piece(1)) as Buffer[]), piece(0, END_HEADERS)]), 'headers')
  assert.equal(told(Array(33).fill(piece(0)) as Buffer[]), 'endless broken')
})
test('as many frames are taken as a block of the permitted bytes needs', () => {
  const full = Buffer.alloc(16_384)
  const begin = Buffer.concat([SETTINGS, frame(HEADERS, 0, 1, full)])
  const told = (count: number): string =>
    readInPieces(
      Buffer.concat([
        begin,
        ...Array<Buffer>(count - 2).fill(frame(CONTINUATION, 0, 1, full)),
        frame(CONTINUATION, END_HEADERS, 1, full),
      ]),
      [],
      { maxBlockBytes: 100 * full.length },
    )
      .slice(1)
      .map((line) => line.split(' ')[0])
      .join(' ')
  assert.equal(told(100), 'headers')
  assert.equal(told(101), 'endless broken')
})
test('DATA is passed on before its frame is complete', () => {
  const bytes = Buffer.concat([SETTINGS, f(DATA, END, 1, '010203')])
  assert.deepEqual(readInPieces(bytes.subarray(0, -1), []), ['settings ', 'data 1 0102'])
})
test('who has stopped hears nothing more, not even of the chunk at hand', () => {
  class Stops extends FrameLog {
    override onSettingsAck(): void {
      super.onSettingsAck()
      reader.stop()
    }
  }
  const log = new Stops()
  const reader: FrameReader = new FrameReader(log, { expectPreface: false, maxBlockBytes: 1000 })
  reader.read(Buffer.concat([SETTINGS, f(SET, ACK, 0), f(PING, 0, 0, '0000000000000000')]))
  reader.read(f(PING, 0, 0, '0000000000000000'))
  assert.deepEqual(log.lines, ['settings ', 'settings ack'])
})

/* Anything, cut anywhere, tells the same. */

const payload = fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes))
const anyFrame = fc
  .tuple(
    fc.integer({ min: 0, max: 10 }),
    fc.constantFrom(0, 1, 4, 5, 8, 9, 12, 13, 32, 36, 45, 255),
    fc.constantFrom(0, 1, 1, 3, 0x8000_0001),
    payload,
  )
  .map(([type, flags, stream, bytes]) => frame(type, flags, stream, bytes))
/** Nearly always right, so that the reader gets far. */
const goodFrame = fc.oneof(
  fc
    .tuple(fc.constantFrom(0, 1), fc.constantFrom(1, 3), payload)
    .map(([flags, stream, bytes]) => frame(DATA, flags, stream, bytes)),
  fc
    .tuple(fc.constantFrom(4, 5), fc.constantFrom(1, 3), payload)
    .map(([flags, stream, bytes]) => frame(HEADERS, flags, stream, bytes)),
  fc
    .tuple(fc.array(payload, { minLength: 1, maxLength: 3 }))
    .map(([parts]) =>
      Buffer.concat([
        frame(HEADERS, 0, 1, Buffer.from('82', 'hex')),
        ...parts.map((bytes, i) => frame(CONTINUATION, i === parts.length - 1 ? END_HEADERS : 0, 1, bytes)),
      ]),
    ),
  fc
    .tuple(fc.integer({ min: 0, max: 5 }), payload)
    .map(([pad, bytes]) => frame(DATA, PADDED, 1, Buffer.concat([Buffer.from([pad]), bytes, Buffer.alloc(pad)]))),
  fc.constantFrom(
    f(PING, 0, 0, '0102030405060708'),
    f(SET, ACK, 0),
    f(WINDOW, 0, 1, '00000001'),
    f(RST, 0, 1, '00000008'),
    f(PRIORITY, 0, 1, '00000003 00'),
  ),
)
const cuts = fc.array(fc.nat(2000), { maxLength: 12 })
for (const [name, one] of [
  ['frames by chance', anyFrame],
  ['frames that are mostly right', goodFrame],
] as const) {
  test(`${name}: any split of the bytes tells the same`, () => {
    fc.assert(
      fc.property(fc.array(one, { maxLength: 12 }), cuts, (frames, at) => {
        const bytes = Buffer.concat([SETTINGS, ...frames])
        assert.deepEqual(readInPieces(bytes, at), readInPieces(bytes, []))
        assert.deepEqual(
          readInPieces(
            bytes,
            Array.from({ length: bytes.length }, (_, i) => i),
          ),
          readInPieces(bytes, []),
        )
      }),
      { numRuns: 400, seed: 9113 },
    )
  })
}
test('bytes by chance break the connection or are frames, and nothing else happens', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), cuts, (bytes, at) => {
      readInPieces(Buffer.concat([SETTINGS, bytes]), at)
    }),
    { numRuns: 500, seed: 9113 },
  )
})
