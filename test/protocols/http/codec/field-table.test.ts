import { test } from 'node:test'
import assert from 'node:assert/strict'
import {
  isHopByHop,
  isTaken,
  mayTrail,
  removeHeader,
  takeTrailers,
} from '../../../../protocols/http/codec/field-table.ts'

/** `inside`, `edge`, `behind`: taken from a client inside the mesh, from a stranger, from one behind a trusted proxy. */
for (const { field, hop = false, trails, inside, edge, behind } of [
  { field: 'x-user', trails: true, inside: true, edge: true, behind: true },
  { field: 'connection', hop: true, trails: false, inside: true, edge: true, behind: true },
  { field: 'te', hop: true, trails: false, inside: true, edge: true, behind: true },
  { field: 'content-length', trails: false, inside: true, edge: true, behind: true },
  { field: 'authorization', trails: false, inside: true, edge: true, behind: true },
  { field: 'x-forwarded-for', trails: false, inside: true, edge: true, behind: true },
  { field: 'x-forwarded-host', trails: false, inside: true, edge: false, behind: true },
  { field: 'forwarded', trails: false, inside: true, edge: false, behind: true },
  { field: 'x-envoy-internal', trails: false, inside: false, edge: false, behind: false },
  { field: 'x-envoy-of-tomorrow', trails: false, inside: true, edge: false, behind: false },
  { field: 'x_forwarded_for', trails: false, inside: false, edge: false, behind: false },
  { field: 'x_envoy_internal', trails: false, inside: false, edge: false, behind: false },
  { field: 'x_user', trails: true, inside: true, edge: true, behind: true },
])
  test(`who may say ${field}`, () => {
    assert.equal(isHopByHop(field), hop)
    assert.equal(mayTrail(field), trails, 'as a trailer')
    // Others are not asked about.
    if (!/^[xf]/.test(field)) return
    assert.deepEqual(
      [isTaken(field, false, 0), isTaken(field, true, 0), isTaken(field, true, 1)],
      [inside, edge, behind],
    )
  })

test('trailers without what may not come so late; none that are left are none', () => {
  assert.deepEqual(takeTrailers(['grpc-status', '0', 'host', 'a', ':path', '/', 'x', 'y']), [
    'grpc-status',
    '0',
    'x',
    'y',
  ])
  assert.equal(takeTrailers(['host', 'a']), undefined)
  assert.equal(takeTrailers([]), undefined)
})
test('every line of a name goes, and nothing else', () => {
  const headers = ['a', 'b', 'b', '1', 'c', 'b', 'b', '2', 'd', '3']
  removeHeader(headers, 'b')
  assert.deepEqual(headers, ['a', 'b', 'c', 'b', 'd', '3'])
  removeHeader(headers, 'e')
  assert.equal(headers.length, 6)
})
