import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { ResourceKind } from '../../../model/snapshot.ts'
import { canonicalHash } from '../../../control-sync/wire/canonical.ts'
import { TYPE_URLS } from '../../../model/snapshot.ts'
import { golden, GOLDEN, sample } from '../../helpers/control-plane/resources.ts'
import { seededRandom } from '../../helpers/random.ts'
import { shuffled } from '../../helpers/shuffled.ts'

const random = seededRandom(7)

test('maps in another order, also in Structs and inside Anys, have the same hash', () => {
  let moved = 0
  for (const { kind, name, bytes } of GOLDEN.flatMap(golden)) {
    for (let i = 0; i < 5; i++) {
      const other = shuffled(TYPE_URLS[kind], bytes, random)
      if (Buffer.compare(other, bytes) !== 0) moved++
      assert.equal(canonicalHash(kind, other), canonicalHash(kind, bytes), `${kind} ${name}`)
      // As gRPC gives them: a Buffer, and a piece of a larger one.
      assert.equal(
        canonicalHash(kind, Buffer.concat([Buffer.alloc(3), other, Buffer.alloc(3)]).subarray(3, 3 + other.length)),
        canonicalHash(kind, bytes),
        `${kind} ${name} as a Buffer`,
      )
    }
  }
  assert.ok(moved > 20, `the shuffling moved something (${moved})`)
})

test('every changed byte that leaves the resource readable changes the hash', () => {
  for (const { kind, name, bytes } of golden('istiod-mode-none')) {
    const before = canonicalHash(kind, bytes)
    for (let i = 0; i < 40; i++) {
      const other = Uint8Array.from(bytes)
      const at = Math.floor(random.float() * other.length)
      other[at] = (other[at]! + 1 + Math.floor(random.float() * 254)) & 0xff
      if (Buffer.compare(other, bytes) !== 0)
        assert.notEqual(canonicalHash(kind, other), before, `${kind} ${name} byte ${at}`)
    }
  }
})

test('the order of a list counts: filters and routes are worked off in order', () => {
  const routes = (a: string, b: string): Uint8Array =>
    sample({
      '@type': TYPE_URLS.route,
      name: 'r',
      virtual_hosts: [
        { name: a, domains: [a] },
        { name: b, domains: [b] },
      ],
    }).bytes
  assert.notEqual(canonicalHash('route', routes('a', 'b')), canonicalHash('route', routes('b', 'a')))
})

test('of two entries with one key the last wins, so their order counts', () => {
  const entry = (ip: string): Buffer => {
    const info = Buffer.concat([Buffer.from([0x0a, ip.length]), Buffer.from(ip)])
    const e = Buffer.concat([Buffer.from([0x0a, 1, 0x61, 0x12, info.length]), info])
    return Buffer.concat([Buffer.from([0x0a, e.length]), e])
  }
  assert.notEqual(
    canonicalHash('nameTable', Buffer.concat([entry('1.1.1.1'), entry('2.2.2.2')])),
    canonicalHash('nameTable', Buffer.concat([entry('2.2.2.2'), entry('1.1.1.1')])),
  )
})

test('bytes that are no protobuf have the hash of the bytes; an empty name table has one too', () => {
  for (const kind of Object.keys(TYPE_URLS) as ResourceKind[]) {
    for (const hex of ['', 'ff', '0affffffff7f', '0a05', 'ffffffffffffffffffffff01', '0b0c'])
      assert.match(canonicalHash(kind, Buffer.from(hex, 'hex')), /^[0-9a-f]{32}$/)
  }
  assert.notEqual(
    canonicalHash('cluster', Buffer.from('ff', 'hex')),
    canonicalHash('cluster', Buffer.from('fe', 'hex')),
  )
})

test('the given bytes are not changed', () => {
  const { kind, bytes } = golden('istiod-sidecar')[0]!
  const before = Buffer.from(bytes)
  canonicalHash(kind, shuffled(TYPE_URLS.cluster, bytes, random))
  canonicalHash(kind, bytes)
  assert.equal(Buffer.compare(before, bytes), 0)
})
