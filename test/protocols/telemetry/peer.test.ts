import { test } from 'node:test'
import assert from 'node:assert/strict'
import { create, toBinary } from '@bufbuild/protobuf'
import { StructSchema, ValueSchema, type Value } from '@bufbuild/protobuf/wkt'
import { UNKNOWN_WORKLOAD, type Workload } from '../../../model/access-log/workload.ts'
import {
  formatPeerMetadata,
  parseBaggage,
  parseEndpointWorkload,
  parsePeerMetadata,
} from '../../../protocols/telemetry/peer.ts'

const WORKLOAD: Workload = {
  name: 'orders-v1',
  namespace: 'shop',
  canonicalService: 'orders',
  canonicalRevision: 'v1',
  cluster: 'cluster-1',
  app: 'orders',
  version: 'v1',
}

const text = (value: string): Value => create(ValueSchema, { kind: { case: 'stringValue', value } })
const nested = (fields: Record<string, Value>): Value =>
  create(ValueSchema, { kind: { case: 'structValue', value: create(StructSchema, { fields }) } })
const encoded = (fields: Record<string, Value>): string =>
  Buffer.from(toBinary(StructSchema, create(StructSchema, { fields }))).toString('base64')

/** As Istio's peer_metadata filter writes it (extensions/common/metadata_object.cc). */
const ISTIO = {
  CLUSTER_ID: text('cluster-1'),
  LABELS: nested({
    app: text('orders'),
    'service.istio.io/canonical-name': text('orders'),
    'service.istio.io/canonical-revision': text('v1'),
    version: text('v1'),
    other: text('x'),
  }),
  NAME: text('orders-v1-abc'),
  NAMESPACE: text('shop'),
  OWNER: text('kubernetes://apis/apps/v1/namespaces/shop/deployments/orders-v1'),
  WORKLOAD_NAME: text('orders-v1'),
}

test("Istio's exchange header, and our own, which Istio reads as its own", () => {
  assert.deepEqual(parsePeerMetadata(encoded(ISTIO)), WORKLOAD)
  assert.deepEqual(parsePeerMetadata(formatPeerMetadata(WORKLOAD)), WORKLOAD)
  assert.deepEqual(parsePeerMetadata(formatPeerMetadata(UNKNOWN_WORKLOAD)), UNKNOWN_WORKLOAD)
  const { other: _, ...labels } = {
    app: text('orders'),
    'service.istio.io/canonical-name': text('orders'),
    'service.istio.io/canonical-revision': text('v1'),
    version: text('v1'),
    other: text('x'),
  }
  assert.equal(
    formatPeerMetadata(WORKLOAD),
    encoded({
      CLUSTER_ID: text('cluster-1'),
      LABELS: nested(labels),
      NAMESPACE: text('shop'),
      WORKLOAD_NAME: text('orders-v1'),
    }),
  )
})

test('padding is left out by some', () => {
  assert.deepEqual(parsePeerMetadata(encoded(ISTIO).replace(/=+$/, '')), WORKLOAD)
})

test('whatever else a peer writes there tells nothing, and breaks nothing', () => {
  const whole = Buffer.from(encoded(ISTIO), 'base64')
  for (const bad of [
    '',
    '!!!',
    'x'.repeat(9_000),
    'AAAA',
    Buffer.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0x7f]).toString('base64'),
  ])
    assert.equal(parsePeerMetadata(bad), undefined, bad.slice(0, 20))
  for (let length = 0; length < whole.length; length++) parsePeerMetadata(whole.subarray(0, length).toString('base64'))
  for (let at = 0; at < whole.length; at++) {
    const broken = Buffer.from(whole)
    broken[at] = broken[at]! ^ 0xff
    parsePeerMetadata(broken.toString('base64'))
  }
  const deep = (levels: number): Value => nested({ LABELS: levels === 0 ? text('x') : deep(levels - 1) })
  assert.deepEqual(parsePeerMetadata(encoded({ LABELS: deep(50) })), UNKNOWN_WORKLOAD)
  assert.deepEqual(parsePeerMetadata(encoded({ LABELS: text('no struct'), NAMESPACE: nested({}) })), UNKNOWN_WORKLOAD)
})

test("an endpoint's workload", () => {
  assert.deepEqual(parseEndpointWorkload('orders-v1;shop;orders;v1;cluster-1'), { ...WORKLOAD, app: '', version: '' })
  assert.deepEqual(parseEndpointWorkload('a;b;c;d;e;more')?.cluster, 'e')
  assert.equal(parseEndpointWorkload('orders-v1;shop;orders;v1'), undefined)
})

test('baggage of an ambient mesh', () => {
  assert.deepEqual(
    parseBaggage(
      'k8s.cluster.name=cluster-1,k8s.namespace.name=shop, k8s.deployment.name = orders-v1;p=1,service.name=orders,service.version=v1,app.name=orders,app.version=v1',
    ),
    WORKLOAD,
  )
  for (const none of ['', 'user=7', '=,==,;', '__proto__=x', 'k8s.namespace.name'])
    assert.equal(parseBaggage(none), undefined, none)
})
