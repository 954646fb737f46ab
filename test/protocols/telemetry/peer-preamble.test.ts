import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { Workload } from '../../../model/access-log/workload.ts'
import { encodePreamble, MAX_PREAMBLE_BYTES, PreambleReader } from '../../../protocols/telemetry/peer-preamble.ts'

const OWN: Workload = {
  name: 'orders-v1',
  namespace: 'shop',
  canonicalService: 'orders',
  canonicalRevision: 'v1',
  cluster: 'north',
  app: 'orders',
  version: 'v1',
}
const PREAMBLE = encodePreamble(OWN, 'sidecar~10.0.0.1~orders.shop~shop.svc')
const MAGIC = Buffer.from([0x3d, 0x23, 0x04, 0x67])

function read(...chunks: Buffer[]): { readonly peers: unknown[]; readonly passed: string } {
  const peers: unknown[] = []
  const reader = new PreambleReader((peer) => peers.push(peer))
  const passed = chunks.map((chunk) => reader.take(chunk))
  passed.push(reader.end())
  return { peers, passed: passed.join('') }
}

test('who the peer is, and all of its bytes, wherever they are cut', () => {
  const bytes = Buffer.concat([PREAMBLE, Buffer.from('data')])
  for (let at = 0; at <= bytes.length; at++)
    assert.deepEqual(read(bytes.subarray(0, at), bytes.subarray(at)), { peers: [OWN], passed: 'data' }, `cut at ${at}`)
})

for (const [what, bytes] of [
  ['other bytes', Buffer.from('GET / HTTP/1.1')],
  ['a beginning of the magic', MAGIC.subarray(0, 3)],
  ['a head alone', Buffer.concat([MAGIC, Buffer.from([0, 0, 0, 9])])],
] as const)
  test(`${what}: they go on as they came`, () => {
    assert.deepEqual(read(bytes), { peers: [undefined], passed: bytes.toString() })
  })

test('what cannot be read is taken off, and nobody is known by it', () => {
  const odd = Buffer.concat([MAGIC, Buffer.from([0, 0, 0, 2, 255, 255])])
  assert.deepEqual(read(Buffer.concat([odd, Buffer.from('x')])), { peers: [undefined], passed: 'x' })
})

test('a length beyond what a peer may say is refused at once', () => {
  const head = Buffer.concat([MAGIC, Buffer.alloc(4)])
  head.writeUInt32BE(MAX_PREAMBLE_BYTES + 1, 4)
  assert.equal(new PreambleReader(() => assert.fail()).take(head), 'too-large')
})
