import { test } from 'node:test'
import assert from 'node:assert/strict'
import { create, toBinary } from '@bufbuild/protobuf'
import {
  encodeDeltaHealth,
  encodeDeltaRequest,
  decodeDeltaResponse,
  findKind,
  encodeSotwHealth,
  encodeSotwRequest,
  decodeSotwResponse,
} from '../../../control-sync/ads/messages.ts'
import type { NodeDescription } from '../../../control-sync/ads/node.ts'
import { TYPE_URLS } from '../../../model/snapshot.ts'
import { DiscoveryResponseSchema, ResourceSchema } from '../../../proto/gen/envoy/service/discovery/v3/discovery_pb.ts'

const node: NodeDescription = {
  id: 'sidecar~10.0.0.1~edge.shop~shop.svc.cluster.local',
  cluster: 'edge.shop',
  metadata: { NAMESPACE: 'shop' },
  locality: { region: 'r', zone: 'z', subZone: '' },
  userAgentVersion: '0.1.0',
} as unknown as NodeDescription
const request = {
  kind: 'endpoint',
  nonce: 'n1',
  subscribe: ['a'],
  unsubscribe: ['b'],
  known: new Map(),
  error: undefined,
  withNode: false,
} as const

test('a kind has one type URL, and another URL is none', () => {
  for (const [kind, url] of Object.entries(TYPE_URLS)) assert.equal(findKind(url), kind)
  assert.equal(findKind('type.googleapis.com/envoy.config.core.v3.Address'), undefined)
})

test('a delta request names type, nonce and what is given up; names to subscribe to are written elsewhere', () => {
  const made = encodeDeltaRequest(request, node)
  assert.deepEqual(
    [made.typeUrl, made.responseNonce, made.resourceNamesUnsubscribe, made.resourceNamesSubscribe],
    [TYPE_URLS.endpoint, 'n1', ['b'], []],
  )
  assert.deepEqual([made.node, made.errorDetail], [undefined, undefined])
})

test('the node goes where it is asked for, and a nack has INVALID_ARGUMENT and what is wrong', () => {
  const made = encodeDeltaRequest({ ...request, withNode: true, error: 'c: no name' }, node)
  assert.deepEqual([made.node?.id, made.node?.cluster, made.node?.userAgentName], [node.id, node.cluster, 'meshlet'])
  assert.deepEqual([made.errorDetail?.code, made.errorDetail?.message], [3, 'c: no name'])
})

test('a request for the state of the world lists all names and the version at hand', () => {
  const made = encodeSotwRequest(
    { kind: 'route', names: ['a', 'b'], version: 'v7', nonce: 'n', error: undefined, withNode: true },
    node,
  )
  assert.deepEqual(
    [made.typeUrl, made.resourceNames, made.versionInfo, made.responseNonce, made.node?.id],
    [TYPE_URLS.route, ['a', 'b'], 'v7', 'n', node.id],
  )
})

test('health: that a workload is well is said by the absence of an error (Istio)', () => {
  for (const health of [encodeDeltaHealth, encodeSotwHealth]) {
    assert.equal(
      health({ state: 'healthy', reason: undefined, sinceMs: 0 }).typeUrl,
      'type.googleapis.com/istio.v1.HealthInformation',
    )
    assert.equal(health({ state: 'healthy', reason: undefined, sinceMs: 0 }).errorDetail, undefined)
    const ill = health({ state: 'unhealthy', reason: 'refused', sinceMs: 0 }).errorDetail
    assert.deepEqual([ill?.code, ill?.message], [13, 'refused'])
  }
})

test('a response of a kind that nobody asked for is passed over', () => {
  const typeUrl = 'type.googleapis.com/acme.Thing'
  assert.equal(decodeSotwResponse(create(DiscoveryResponseSchema, { typeUrl })), undefined)
  assert.equal(decodeDeltaResponse({ typeUrl } as Parameters<typeof decodeDeltaResponse>[0]), undefined)
})

test('resources are taken out of their wrapper; a broken wrapper is left as it is', () => {
  const value = Uint8Array.of(10, 1, 97)
  const wrapper = 'type.googleapis.com/envoy.service.discovery.v3.Resource'
  const wrapped = toBinary(
    ResourceSchema,
    create(ResourceSchema, { name: 'a', resource: { typeUrl: TYPE_URLS.cluster, value } }),
  )
  const made = decodeSotwResponse(
    create(DiscoveryResponseSchema, {
      typeUrl: TYPE_URLS.cluster,
      versionInfo: 'v',
      nonce: 'n',
      resources: [
        { typeUrl: TYPE_URLS.cluster, value },
        { typeUrl: wrapper, value: wrapped },
        { typeUrl: wrapper, value: Uint8Array.of(0xff) },
        { typeUrl: wrapper, value: new Uint8Array(0) },
      ],
    }),
  )
  assert.deepEqual(made, {
    kind: 'cluster',
    nonce: 'n',
    version: 'v',
    values: [value, value, Uint8Array.of(0xff), new Uint8Array(0)],
  })
})
