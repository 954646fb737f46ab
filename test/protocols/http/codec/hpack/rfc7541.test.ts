/** RFC 7541 appendix C: what each block says, and what the table holds after it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { HpackDecoder } from '../../../../../protocols/http/codec/hpack/decoder.ts'
import { HpackEncoder } from '../../../../../protocols/http/codec/hpack/encoder.ts'
import { sizeUpdate } from './writer.ts'

type Step = { readonly hex: string; readonly fields: readonly string[]; readonly table: readonly string[] }

const LIMITS = { maxTableBytes: 4096, maxListBytes: 65_536, maxFields: 100 }
const DATE_21 = 'Mon, 21 Oct 2013 20:13:21 GMT'
const DATE_22 = 'Mon, 21 Oct 2013 20:13:22 GMT'
const LOCATION = 'https://www.example.com'
const COOKIE = 'foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1'

const FIRST_REQUEST = [':method', 'GET', ':scheme', 'http', ':path', '/', ':authority', 'www.example.com']
const SECOND_REQUEST = [...FIRST_REQUEST, 'cache-control', 'no-cache']
const THIRD_REQUEST = [
  ':method',
  'GET',
  ':scheme',
  'https',
  ':path',
  '/index.html',
  ':authority',
  'www.example.com',
  'custom-key',
  'custom-value',
]
const AFTER_REQUESTS = [
  [':authority: www.example.com'],
  ['cache-control: no-cache', ':authority: www.example.com'],
  ['custom-key: custom-value', 'cache-control: no-cache', ':authority: www.example.com'],
]
const FIRST_RESPONSE = [':status', '302', 'cache-control', 'private', 'date', DATE_21, 'location', LOCATION]
const SECOND_RESPONSE = [':status', '307', 'cache-control', 'private', 'date', DATE_21, 'location', LOCATION]
const THIRD_RESPONSE = [
  ':status',
  '200',
  'cache-control',
  'private',
  'date',
  DATE_22,
  'location',
  LOCATION,
  'content-encoding',
  'gzip',
  'set-cookie',
  COOKIE,
]
const AFTER_RESPONSES = [
  [`location: ${LOCATION}`, `date: ${DATE_21}`, 'cache-control: private', ':status: 302'],
  [':status: 307', `location: ${LOCATION}`, `date: ${DATE_21}`, 'cache-control: private'],
  [`set-cookie: ${COOKIE}`, 'content-encoding: gzip', `date: ${DATE_22}`],
]

type Exchange = { readonly name: string; readonly maxTableBytes: number; readonly steps: readonly Step[] }
/** Table sizes: §C.5 and §C.6 set SETTINGS_HEADER_TABLE_SIZE to 256. */
const EXCHANGES: readonly Exchange[] = [
  {
    name: 'C.2.1 literal with indexing',
    maxTableBytes: 4096,
    steps: [
      {
        hex: '400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572',
        fields: ['custom-key', 'custom-header'],
        table: ['custom-key: custom-header'],
      },
    ],
  },
  {
    name: 'C.2.2 literal without indexing',
    maxTableBytes: 4096,
    steps: [
      {
        hex: '040c 2f73 616d 706c 652f 7061 7468',
        fields: [':path', '/sample/path'],
        table: [],
      },
    ],
  },
  {
    name: 'C.2.3 never-indexed literal',
    maxTableBytes: 4096,
    steps: [
      {
        hex: '1008 7061 7373 776f 7264 0673 6563 7265 74',
        fields: ['password', 'secret'],
        table: [],
      },
    ],
  },
  { name: 'C.2.4 indexed field', maxTableBytes: 4096, steps: [{ hex: '82', fields: [':method', 'GET'], table: [] }] },
  {
    name: 'C.3 requests without Huffman',
    maxTableBytes: 4096,
    steps: [
      { hex: '8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d', fields: FIRST_REQUEST, table: AFTER_REQUESTS[0]! },
      { hex: '8286 84be 5808 6e6f 2d63 6163 6865', fields: SECOND_REQUEST, table: AFTER_REQUESTS[1]! },
      {
        hex: '8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65',
        fields: THIRD_REQUEST,
        table: AFTER_REQUESTS[2]!,
      },
    ],
  },
  {
    name: 'C.4 requests with Huffman',
    maxTableBytes: 4096,
    steps: [
      { hex: '8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff', fields: FIRST_REQUEST, table: AFTER_REQUESTS[0]! },
      { hex: '8286 84be 5886 a8eb 1064 9cbf', fields: SECOND_REQUEST, table: AFTER_REQUESTS[1]! },
      {
        hex: '8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf',
        fields: THIRD_REQUEST,
        table: AFTER_REQUESTS[2]!,
      },
    ],
  },
  {
    name: 'C.5 responses without Huffman',
    maxTableBytes: 256,
    steps: [
      {
        hex:
          '4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 ' +
          '3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d',
        fields: FIRST_RESPONSE,
        table: AFTER_RESPONSES[0]!,
      },
      { hex: '4803 3330 37c1 c0bf', fields: SECOND_RESPONSE, table: AFTER_RESPONSES[1]! },
      {
        hex:
          '88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 ' +
          '7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 ' +
          '6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31',
        fields: THIRD_RESPONSE,
        table: AFTER_RESPONSES[2]!,
      },
    ],
  },
  {
    name: 'C.6 responses with Huffman',
    maxTableBytes: 256,
    steps: [
      {
        hex:
          '4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad ' +
          '1718 63c7 8f0b 97c8 e9ae 82ae 43d3',
        fields: FIRST_RESPONSE,
        table: AFTER_RESPONSES[0]!,
      },
      { hex: '4883 640e ffc1 c0bf', fields: SECOND_RESPONSE, table: AFTER_RESPONSES[1]! },
      {
        hex:
          '88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 ' +
          'e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07',
        fields: THIRD_RESPONSE,
        table: AFTER_RESPONSES[2]!,
      },
    ],
  },
]

function entries(table: HpackDecoder['table'] | HpackEncoder['table']): string[] {
  return Array.from({ length: table.count }, (_, age) => `${table.at(age)!.name}: ${table.at(age)!.value}`)
}

for (const { name, maxTableBytes, steps } of EXCHANGES) {
  test(name, () => {
    const decoder = new HpackDecoder({ ...LIMITS, maxTableBytes })
    const update = sizeUpdate(maxTableBytes)
    decoder.decode(update, 0, update.length)
    for (const { hex, fields, table } of steps) {
      const block = Buffer.from(hex.replaceAll(' ', ''), 'hex')
      // Other bytes around it: a block is what lies from start to end.
      const buffer = Buffer.concat([Buffer.from([0xff, 0x80]), block, Buffer.from([0xff, 0x80])])
      assert.deepEqual(decoder.decode(buffer, 2, 2 + block.length), { fields, oversized: false, problem: undefined })
      assert.deepEqual(entries(decoder.table), table)
      assert.equal(decoder.table.bytes, table.join('').length - 2 * table.length + 32 * table.length)
    }
  })
}

// §C.1.3 has a prefix of eight bits, which no representation of §6 has.
for (const { name, hex, value } of [
  { name: 'C.1.1 10 in five bits', hex: '2a', value: 10 },
  { name: 'C.1.2 1337 in five bits', hex: '3f9a0a', value: 1337 },
]) {
  test(name, () => {
    const decoder = new HpackDecoder(LIMITS)
    const block = Buffer.from(hex, 'hex')
    decoder.decode(block, 0, block.length)
    assert.equal(decoder.table.maxBytes, value)
    const encoder = new HpackEncoder()
    encoder.setMaxTableBytes(value)
    const out = Buffer.alloc(encoder.bound([]))
    assert.equal(out.toString('hex', 0, encoder.encode([], out, 0)), hex)
  })
}
