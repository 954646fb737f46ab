import { test } from 'node:test'
import assert from 'node:assert/strict'
import { create } from '@bufbuild/protobuf'
import { ADS, CA } from '../../proto/services.ts'
import { DeltaDiscoveryRequestSchema } from '../../proto/gen/envoy/service/discovery/v3/discovery_pb.ts'
import { IstioCertificateRequestSchema } from '../../proto/gen/istio/v1/auth/ca_pb.ts'

test('the methods have the paths that istiod serves', () => {
  assert.equal(
    ADS.DeltaAggregatedResources.path,
    '/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources',
  )
  assert.equal(
    ADS.StreamAggregatedResources.path,
    '/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources',
  )
  assert.equal(CA.CreateCertificate.path, '/istio.v1.auth.IstioCertificateService/CreateCertificate')
  assert.deepEqual([ADS.DeltaAggregatedResources.requestStream, CA.CreateCertificate.requestStream], [true, false])
})

test('messages survive the way over the wire, also with a view into a larger buffer', () => {
  const request = create(DeltaDiscoveryRequestSchema, {
    typeUrl: 't',
    resourceNamesSubscribe: ['a', 'b'],
    initialResourceVersions: { x: '' },
  })
  const bytes = ADS.DeltaAggregatedResources.requestSerialize(request)
  const inside = Buffer.concat([Buffer.from('xx'), bytes, Buffer.from('yy')]).subarray(2, 2 + bytes.length)
  assert.deepEqual(ADS.DeltaAggregatedResources.requestDeserialize(inside), request)
})

test('the certificate request has istio.v1.auth field numbers: csr 1, validity_duration 3', () => {
  const bytes = CA.CreateCertificate.requestSerialize(
    create(IstioCertificateRequestSchema, { csr: 'c', validityDuration: 5n }),
  )
  assert.equal(bytes.toString('hex'), '0a01631805')
})

test('bytes that are no message are refused with an error, not a hang', () => {
  assert.throws(() => ADS.DeltaAggregatedResources.responseDeserialize(Buffer.from('ffffffffffff', 'hex')))
})
