import { test } from 'node:test'
import assert from 'node:assert/strict'
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { readNamesAndVersions, readDeltaResponse } from '../../../control-sync/ads/delta-wire.ts'
import { releaseBuffer } from '../../../core/runtime/release-buffer.ts'
import {
  DeltaDiscoveryRequestSchema,
  DeltaDiscoveryResponseSchema,
} from '../../../proto/gen/envoy/service/discovery/v3/discovery_pb.ts'
import { seededRandom } from '../../helpers/random.ts'

const TYPE = 'type.googleapis.com/envoy.config.cluster.v3.Cluster'
const sample = create(DeltaDiscoveryResponseSchema, {
  systemVersionInfo: '2026-11-25/7',
  typeUrl: TYPE,
  nonce: 'n–1',
  removedResources: ['gone', 'außer'],
  controlPlane: { identifier: 'istiod-1' },
  resources: [
    {
      name: 'outbound|80||a.b',
      version: 'v1',
      resource: { typeUrl: TYPE, value: Uint8Array.of(1, 2, 3) },
      ttl: { seconds: 7n },
      aliases: ['other'],
    },
    { name: '', version: 'v1', resource: { typeUrl: TYPE } },
    { name: 'x'.repeat(300), version: '', resource: { typeUrl: TYPE, value: new Uint8Array(70_000).fill(9) } },
  ],
})
const bytes = Buffer.from(toBinary(DeltaDiscoveryResponseSchema, sample))
const told = (b: Uint8Array): unknown => {
  const m = fromBinary(DeltaDiscoveryResponseSchema, b)
  return {
    typeUrl: m.typeUrl,
    nonce: m.nonce,
    systemVersionInfo: m.systemVersionInfo,
    removedResources: m.removedResources,
    resources: m.resources.map((r) => ({
      name: r.name,
      version: r.version,
      value: Buffer.from(r.resource?.value ?? []),
    })),
  }
}
const read = (b: Buffer): unknown => {
  const { bytes: whole, ...m } = readDeltaResponse(b)
  assert.equal(whole, b)
  return { ...m, resources: m.resources.map((r) => ({ ...r, value: Buffer.from(r.value) })) }
}

test('a response is read as protobuf-es reads it, with values that are views of the message', () => {
  assert.deepEqual(read(bytes), told(bytes))
  assert.equal(readDeltaResponse(bytes).resources[2]!.value.buffer, bytes.buffer)
  assert.deepEqual(read(Buffer.alloc(0)), told(Buffer.alloc(0)))
})
test('a response that is cut anywhere is refused, or ends between two fields as protobuf-es takes it', () => {
  for (let end = 0; end < 500; end++) {
    const cut = bytes.subarray(0, end)
    let want: unknown
    try {
      want = told(cut)
    } catch {
      assert.throws(() => readDeltaResponse(cut), /broken at byte/, `cut at ${end}`)
      continue
    }
    assert.deepEqual(read(cut), want, `cut at ${end}`)
  }
})
test('random bytes are refused or read, and never read beyond', () => {
  const random = seededRandom(7)
  const base = Buffer.from(bytes.subarray(0, 420))
  for (let run = 0; run < 5_000; run++) {
    const odd = Buffer.from(base)
    for (let k = 0; k < 3; k++) odd[Math.floor(random.float() * odd.length)] = Math.floor(random.float() * 256)
    try {
      for (const { value } of readDeltaResponse(odd).resources) assert.ok(value.length <= odd.length)
    } catch (err) {
      assert.match((err as Error).message, /broken at byte/)
    }
  }
})
test('names and known versions behind a request are its resource_names_subscribe and initial_resource_versions', () => {
  const known = { 'outbound|80||a.b': 'v1', '': '', größer: '2026/–', ['x'.repeat(200)]: 'y'.repeat(20_000) }
  const subscribe = ['a', '', 'outbound|80||größer', 'x'.repeat(127), 'y'.repeat(128), '😀'.repeat(5_000)]
  const head = toBinary(
    DeltaDiscoveryRequestSchema,
    create(DeltaDiscoveryRequestSchema, { typeUrl: TYPE, resourceNamesUnsubscribe: ['a'] }),
  )
  const whole = fromBinary(
    DeltaDiscoveryRequestSchema,
    Buffer.concat([
      head,
      readNamesAndVersions({
        subscribe,
        known: new Map(Object.entries(known).map(([name, version]) => [name, { version }])),
      }),
    ]),
  )
  assert.deepEqual(whole.initialResourceVersions, known)
  assert.deepEqual([whole.resourceNamesSubscribe, whole.resourceNamesUnsubscribe], [subscribe, ['a']])
  assert.equal(readNamesAndVersions({ subscribe: [], known: new Map() }).length, 0)
})

test('only a large message that has its memory for itself gives it back; gRPC leaves the head of its frame before it', () => {
  const frame = Buffer.alloc(100_005)
  const messages = {
    ofAFrame: frame.subarray(5),
    whole: Buffer.alloc(100_000),
    small: Buffer.alloc(60_000),
    pieceOfAPool: Buffer.alloc(200_000).subarray(0, 100_000),
  }
  for (const message of Object.values(messages)) releaseBuffer(message)
  assert.deepEqual(
    Object.values(messages).map((m) => m.length),
    [0, 0, 60_000, 100_000],
  )
})
