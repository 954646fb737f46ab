/**
 * A CA that answers as istiod does to what it does not sign (the words are those of a real one:
 * test/conformance/istiod/identity/certificates.test.ts), and what the operator is told.
 */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { create } from '@bufbuild/protobuf'
import type { handleUnaryCall } from '@grpc/grpc-js'
import { systemClock } from '../../../core/os/clock.ts'
import { CATALOGUE, type MeshError } from '../../../core/errors.ts'
import { retryWaitMs } from '../../../control-sync/ads/errors.ts'
import type { ControlPlane } from '../../../control-sync/connection/control-plane.ts'
import { createIstioCertificateAuthority, type CertificateWish } from '../../../control-sync/identity/ca-client.ts'
import {
  IstioCertificateResponseSchema,
  type IstioCertificateRequest,
  type IstioCertificateResponse,
} from '../../../proto/gen/istio/v1/auth/ca_pb.ts'
import { testCa } from '../../helpers/test-ca.ts'
import { CA_NAME, startCaServer, WISH } from './ca-server.ts'

/** gRPC status; undefined: an answer that holds nothing. */
type Answer = { readonly code: number; readonly details: string } | undefined
type Asked = { readonly ttlSec: number; readonly clusterId: string }
/** @param answer by what is asked for */
async function caThat(
  t: TestContext,
  answer: (asked: Asked) => Answer,
): Promise<{ readonly control: ControlPlane; readonly asked: Asked[] }> {
  const ca = testCa()
  const own = ca.issue('istio-system', 'istiod', { dnsNames: [CA_NAME] })
  const asked: Asked[] = []
  const createCertificate: handleUnaryCall<IstioCertificateRequest, IstioCertificateResponse> = (call, done) => {
    const request = {
      ttlSec: Number(call.request.validityDuration),
      clusterId: String(call.metadata.get('clusterid')[0]),
    }
    asked.push(request)
    const said = answer(request)
    if (said) done(said)
    else done(null, create(IstioCertificateResponseSchema))
  }
  const port = await startCaServer(t, own, createCertificate)
  return {
    asked,
    control: {
      addresses: [`127.0.0.1:${port}`],
      serverName: CA_NAME,
      clusterId: 'Kubernetes',
      roots: () => Buffer.from(ca.rootsPem),
      token: () => 'a token',
    },
  }
}
async function refusal(control: ControlPlane, wish: Partial<CertificateWish> = {}): Promise<MeshError> {
  try {
    await createIstioCertificateAuthority(control, systemClock)({ ...WISH, ...wish })
  } catch (err) {
    return err as MeshError
  }
  return assert.fail('a certificate came')
}

for (const ttlSec of [0, 3_600]) {
  test(`a request that the CA does not sign, with ${ttlSec === 0 ? 'no life' : 'a life'} asked for: not the node's description, not the life, and seldom tried again`, async (t) => {
    const { control, asked } = await caThat(t, () => ({
      code: 3,
      details: 'CSR signing error (certificate signing request is not properly encoded)',
    }))
    const err = await refusal(control, { ttlSec })
    assert.equal(err.code, 'MESH_CERTIFICATE_REFUSED')
    assert.match(
      err.message,
      /^the CA at 127\.0\.0\.1:\d+ does not sign our request for a certificate: CSR signing error \(certificate signing request/,
    )
    assert.match(CATALOGUE[err.code].remedy, /control\.address is the CA of this mesh/)
    assert.deepEqual(
      asked.map((a) => a.ttlSec),
      ttlSec === 0 ? [0] : [3_600, 0],
      'the life is left out once',
    )
    assert.ok(retryWaitMs(err, 20, { float: () => 1 }) > 60_000)
  })
}
test('a cluster that istiod does not know: refused like a bad token, so the cluster that was named is told', async (t) => {
  const { control, asked } = await caThat(t, ({ clusterId }) =>
    clusterId === 'Kubernetes' ? undefined : { code: 16, details: 'request authenticate failure' },
  )
  const err = await refusal({ ...control, clusterId: 'elsewhere' })
  assert.match(
    err.message,
    /^127\.0\.0\.1:\d+ does not accept who we are for the certificate: request authenticate failure; it was shown a token that is no JWT, and cluster elsewhere$/,
  )
  assert.equal(err.code, 'MESH_CONTROL_UNAUTHENTICATED')
  assert.match(CATALOGUE[err.code].remedy, /node\.clusterId/)
  assert.equal((await refusal(control)).code, 'MESH_CONTROL_PROTOCOL', 'what is no chain')
  assert.deepEqual(
    asked.map((a) => a.clusterId),
    ['elsewhere', 'Kubernetes'],
  )
})
