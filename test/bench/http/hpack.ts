/**
 * Nanoseconds per field of HPACK: a typical request head that repeats, and the same with 20,000 different paths. Blocks
 * are those of our encoder, and such as many clients write: with Huffman codes, every path indexed. Run: npm run bench
 * -- hpack. One line of JSON per case.
 */
import { HpackDecoder } from '../../../protocols/http/codec/hpack/decoder.ts'
import { HpackEncoder } from '../../../protocols/http/codec/hpack/encoder.ts'
import { indexEverything } from '../../protocols/http/codec/hpack/writer.ts'

const LISTS = 20_000
/** The least of many short slices: the machine may have other work. */
const SLICE = 500
const ROUNDS = 25
const REQUEST = [
  ':method',
  'GET',
  ':scheme',
  'https',
  ':authority',
  'things.example.com',
  ':path',
  '/api/v1/things/4711?limit=20',
  'user-agent',
  'curl/8.5.0',
  'accept',
  '*/*',
  'accept-encoding',
  'gzip, br',
  'x-forwarded-proto',
  'https',
  'x-request-id',
  '4b3b7d26-6a44-4c1b-9c6e-0e8c7a1f2d11',
  'traceparent',
  '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
]
const FIELDS = REQUEST.length / 2
const PATH = REQUEST.indexOf(':path') + 1
const LIMITS = { maxTableBytes: 4096, maxListBytes: 60_000, maxFields: 100 }

let sink = 0
const out = Buffer.alloc(64 * 1024)

/** One connection after the other carries all of `items` in order. */
function nsPerField<Item>(items: readonly Item[], connection: () => (item: Item) => number): number {
  let least = Infinity
  for (let round = 0; round < ROUNDS; round++) {
    const once = connection()
    for (let from = 0; from < items.length; from += SLICE) {
      const start = performance.now()
      for (let i = from; i < from + SLICE; i++) sink += once(items[i]!)
      least = Math.min(least, performance.now() - start)
    }
  }
  return Number(((least * 1e6) / SLICE / FIELDS).toFixed(1))
}

function decoding(): (block: Buffer) => number {
  const decoder = new HpackDecoder(LIMITS)
  return (block) => decoder.decode(block, 0, block.length).fields.length
}

function encoding(): (list: readonly string[]) => number {
  const encoder = new HpackEncoder()
  return (list) => encoder.encode(list, out, 0)
}

function encoded(lists: readonly (readonly string[])[]): Buffer[] {
  const encoder = new HpackEncoder()
  return lists.map((list) => Buffer.from(out.subarray(0, encoder.encode(list, out, 0))))
}

const repeated = Array.from({ length: LISTS }, () => REQUEST)
const paths = Array.from({ length: LISTS }, (_, i) => REQUEST.with(PATH, `/api/v1/things/${i}?limit=20`))
for (const [name, lists] of [
  ['one head, repeated', repeated],
  [`${LISTS} different paths`, paths],
] as const) {
  const blocks = encoded(lists)
  const decodeNs = nsPerField(blocks, decoding)
  const decodeHuffmanNs = nsPerField(indexEverything(lists), decoding)
  // What a proxy sends is what it has decoded: the strings are those of the decoder.
  const decoder = new HpackDecoder(LIMITS)
  const encodeNs = nsPerField(
    blocks.map((block) => decoder.decode(block, 0, block.length).fields),
    encoding,
  )
  const bytesPerBlock = Math.round(blocks.reduce((sum, block) => sum + block.length, 0) / LISTS)
  console.log(JSON.stringify({ bench: 'hpack', case: name, decodeNs, decodeHuffmanNs, encodeNs, bytesPerBlock }))
}
if (sink === 0) throw new Error('nothing was measured')
