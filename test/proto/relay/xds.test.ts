import { test } from 'node:test'
import assert from 'node:assert/strict'
import { create } from '@bufbuild/protobuf'
import { TYPE_URLS } from '../../../model/snapshot.ts'
import { DeltaDiscoveryRequestSchema } from '../../../proto/gen/envoy/service/discovery/v3/discovery_pb.ts'
import { decodeAnswer, decodeRequest, encodeRequest, encodeResponse, encodeTell } from '../../../proto/relay/xds.ts'

const OTHER = 'type.googleapis.com/example.Other'
const RESPONSE = { nonce: '7', systemVersion: 'r', removed: ['gone'], resources: [] }

test('every type comes as it went, those of a sidecar in one byte', () => {
  for (const typeUrl of [...Object.values(TYPE_URLS), 'type.googleapis.com/istio.v1.HealthInformation', OTHER]) {
    const message = create(DeltaDiscoveryRequestSchema, { typeUrl, responseNonce: '3' })
    for (const digest of [undefined, Buffer.alloc(12, 1)]) {
      const bytes = encodeRequest({ message, digest })
      const read = decodeRequest(bytes)
      assert.equal(read.message.typeUrl, typeUrl)
      assert.equal(read.message.responseNonce, '3')
      assert.deepEqual(read.digest, digest)
      assert.equal(bytes.length, 5 + (digest?.length ?? 0) + (typeUrl === OTHER ? 1 + OTHER.length : 0))
    }
    assert.deepEqual(decodeAnswer(encodeTell(typeUrl)), { tell: typeUrl })
    assert.deepEqual(decodeAnswer(encodeResponse({ ...RESPONSE, typeUrl })), { response: { ...RESPONSE, typeUrl } })
  }
})

test('the number of a type never changes', () => {
  const numbers = Object.values(TYPE_URLS).map((typeUrl) => encodeTell(typeUrl)[1])
  assert.deepEqual(numbers, [1, 2, 3, 4, 5, 6, 7, 8])
})

test('a type that is not known, and what is cut off, is refused', () => {
  for (const bytes of [[4, 200, 1], [4], [3, 1], [9, 1]])
    assert.throws(() => decodeAnswer(Buffer.from(bytes)), { code: 'MESH_CONTROL_PROTOCOL' })
  for (const bytes of [[], [1], [1, 60], [2, 1, 0], [1, 1, 255], [4, 1]])
    assert.throws(() => decodeRequest(Buffer.from(bytes)), { code: 'MESH_CONTROL_PROTOCOL' })
})
