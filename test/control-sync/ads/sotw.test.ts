import { test } from 'node:test'
import assert from 'node:assert/strict'
import { create, toBinary } from '@bufbuild/protobuf'
import fc from 'fast-check'
import { TYPE_URLS, type ResourceKind } from '../../../model/snapshot.ts'
import { decodeSotwResponse } from '../../../control-sync/ads/messages.ts'
import type { AdsRequest } from '../../../control-sync/ads/protocol.ts'
import { SotwStream } from '../../../control-sync/ads/sotw.ts'
import { DiscoveryResponseSchema, ResourceSchema } from '../../../proto/gen/envoy/service/discovery/v3/discovery_pb.ts'
import { golden } from '../../helpers/control-plane/resources.ts'
import { edsCluster, load } from '../../helpers/control-plane/synced-agent.ts'

const ask = (kind: ResourceKind, more: Partial<AdsRequest> = {}): AdsRequest => ({
  kind,
  withNode: false,
  subscribe: [],
  unsubscribe: [],
  known: new Map(),
  nonce: '',
  error: undefined,
  ...more,
})

test('a kind that is asked for whole: what is absent from a response is removed, against what was stored and against the response before', () => {
  const s = new SotwStream()
  assert.deepEqual(
    s.request(
      ask('cluster', {
        withNode: true,
        known: new Map([
          ['a', { version: '' }],
          ['gone', { version: '' }],
        ]),
      }),
    ),
    { kind: 'cluster', withNode: true, names: [], version: '', nonce: '', error: undefined },
  )
  assert.deepEqual(
    s.response({ kind: 'cluster', nonce: '1', version: 'v1', values: [edsCluster('a').bytes, edsCluster('b').bytes] })
      .removed,
    ['gone'],
  )
  assert.deepEqual(
    s.response({ kind: 'cluster', nonce: '2', version: 'v2', values: [edsCluster('b').bytes] }).removed,
    ['a'],
  )
  assert.deepEqual(s.response({ kind: 'cluster', nonce: '3', version: 'v3', values: [] }).removed, ['b'])
})
test('a kind by name: absence means nothing, each request lists all names, a name that is given up is left out', () => {
  const s = new SotwStream()
  assert.deepEqual(
    s.request(ask('endpoint', { subscribe: ['a', 'b'], known: new Map([['a', { version: '' }]]) })).names,
    ['a', 'b'],
  )
  const { resources, removed } = s.response({ kind: 'endpoint', nonce: '1', version: 'v', values: [load('a').bytes] })
  assert.deepEqual([resources.map((r) => r.name), removed], [['a'], []])
  assert.deepEqual(s.request(ask('endpoint', { nonce: '1' })), {
    kind: 'endpoint',
    withNode: false,
    names: ['a', 'b'],
    version: 'v',
    nonce: '1',
    error: undefined,
  })
  assert.deepEqual(s.request(ask('endpoint', { subscribe: ['c'], unsubscribe: ['a'] })), {
    kind: 'endpoint',
    withNode: false,
    names: ['b', 'c'],
    version: 'v',
    nonce: '1',
    error: undefined,
  })
})
test('a refused response leaves the version where it was; the next accepted one moves it', () => {
  const s = new SotwStream()
  s.request(ask('cluster'))
  s.response({ kind: 'cluster', nonce: '1', version: 'v1', values: [] })
  assert.equal(s.request(ask('cluster', { nonce: '1' })).version, 'v1')
  s.response({ kind: 'cluster', nonce: '2', version: 'v2', values: [] })
  s.response({ kind: 'cluster', nonce: '3', version: 'v3', values: [] })
  assert.deepEqual(s.request(ask('cluster', { nonce: '2', error: 'x' })), {
    kind: 'cluster',
    withNode: false,
    names: [],
    version: 'v1',
    nonce: '2',
    error: 'x',
  })
  assert.deepEqual(s.request(ask('cluster', { nonce: '3' })).version, 'v3')
})
test('a change of names before a response is answered names the one that was answered last, so that it is no acknowledgement', () => {
  const s = new SotwStream()
  s.request(ask('route', { subscribe: ['a'] }))
  s.response({ kind: 'route', nonce: '1', version: 'v1', values: [] })
  s.request(ask('route', { nonce: '1' }))
  s.response({ kind: 'route', nonce: '2', version: 'v2', values: [] })
  assert.deepEqual(
    [s.request(ask('route', { subscribe: ['b'] })).nonce, s.request(ask('route', { nonce: '2' })).names],
    ['1', ['a', 'b']],
  )
})
test('asked for again, a whole kind begins anew: without version and nonce, so that everything comes', () => {
  const s = new SotwStream()
  s.request(ask('cluster'))
  s.response({ kind: 'cluster', nonce: '1', version: 'v1', values: [] })
  s.request(ask('cluster', { nonce: '1' }))
  assert.deepEqual(s.request(ask('cluster', { subscribe: ['*'] })), {
    kind: 'cluster',
    withNode: false,
    names: [],
    version: '',
    nonce: '',
    error: undefined,
  })
})
test('names are read from the resources, for every kind that a real istiod sends', () => {
  for (const { kind, name, bytes } of golden('istiod-strict-authz')) {
    assert.deepEqual(
      new SotwStream().response({ kind, nonce: '1', version: '', values: [bytes] }).resources.map((r) => r.name),
      [kind === 'nameTable' ? '' : name],
    )
  }
})
test('bytes that are no resource have a name that says so, and never that of another', () => {
  for (const hex of ['ff', '0a05', '0b0c', '12021234']) {
    assert.deepEqual(
      new SotwStream()
        .response({
          kind: 'cluster',
          nonce: '1',
          version: '',
          values: [edsCluster('a').bytes, Buffer.from(hex, 'hex')],
        })
        .resources.map((r) => r.name),
      ['a', '(resource 1 without a name)'],
    )
  }
})
test('resources cut at every offset, and any bytes at all, do no harm', () => {
  const named = (kind: ResourceKind, value: Uint8Array): string =>
    new SotwStream().response({ kind, nonce: '1', version: '', values: [value] }).resources[0]!.name
  for (const { kind, bytes } of golden('istiod-mode-none'))
    for (let end = 0; end < Math.min(bytes.length, 400); end++)
      assert.equal(typeof named(kind, bytes.subarray(0, end)), 'string')
  fc.assert(
    fc.property(
      fc.constantFrom<ResourceKind>('cluster', 'endpoint', 'nameTable'),
      fc.uint8Array({ maxLength: 100 }),
      (kind, bytes) => typeof named(kind, bytes) === 'string',
    ),
    { numRuns: 500 },
  )
})
test('a wrapped resource (discovery.v3.Resource, with a TTL) is taken out of its wrapper, broken wrappers are left to the decoder', () => {
  const { bytes } = edsCluster('a')
  const wrapped = toBinary(
    ResourceSchema,
    create(ResourceSchema, {
      name: 'a',
      version: '1',
      resource: { typeUrl: TYPE_URLS.cluster, value: bytes as Uint8Array<ArrayBuffer> },
    }),
  )
  const typeUrl = 'type.googleapis.com/envoy.service.discovery.v3.Resource'
  const of = (value: Uint8Array): Uint8Array =>
    decodeSotwResponse(
      create(DiscoveryResponseSchema, {
        typeUrl: TYPE_URLS.cluster,
        resources: [{ typeUrl, value: value as Uint8Array<ArrayBuffer> }],
      }),
    )!.values[0]!
  assert.deepEqual(Buffer.from(of(wrapped)), Buffer.from(bytes))
  assert.deepEqual([...of(Uint8Array.of(0xff))], [0xff])
})
test('a kind that nobody asked for is passed over', () => {
  assert.equal(
    decodeSotwResponse(create(DiscoveryResponseSchema, { typeUrl: 'type.googleapis.com/acme.Thing' })),
    undefined,
  )
})
