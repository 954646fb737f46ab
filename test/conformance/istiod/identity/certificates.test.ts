/**
 * istiod's CA asked directly: what it signs, and the words with which it refuses
 * (test/control-sync/identity/ca-refusals.test.ts says what becomes of those).
 */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { create } from '@bufbuild/protobuf'
import { Client, credentials, Metadata, type ServiceError } from '@grpc/grpc-js'
import { createCsr, createKey } from '../../../../control-sync/identity/csr.ts'
import { IstioCertificateRequestSchema } from '../../../../proto/gen/istio/v1/auth/ca_pb.ts'
import { CA } from '../../../../proto/services.ts'
import { Istiod, ISTIOD_NAME } from '../rig/istiod.ts'

const DAY_SEC = 86_400
/** gRPC's. */
const STATUS = { invalidArgument: 3, unauthenticated: 16 }

type Ask = {
  readonly csr?: string
  readonly validitySec?: number
  readonly token?: string
  readonly clusterId?: string
}
/** @returns the chain, or the error that grpc-js gives */
function asker(
  t: TestContext,
  istiod: Istiod,
  ownCsr: string,
): (ask: Ask) => Promise<readonly string[] | ServiceError> {
  const client = new Client(istiod.address, credentials.createSsl(Buffer.from(istiod.ca.rootPem)), {
    'grpc.ssl_target_name_override': ISTIOD_NAME,
    'grpc.default_authority': ISTIOD_NAME,
  })
  t.after(() => {
    client.close()
  })
  return ({ csr = ownCsr, validitySec = 0, token = istiod.token(), clusterId }) =>
    new Promise((resolve) => {
      const metadata = new Metadata()
      metadata.set('authorization', `Bearer ${token}`)
      if (clusterId !== undefined) metadata.set('clusterid', clusterId)
      const { path, requestSerialize, responseDeserialize } = CA.CreateCertificate
      const request = create(IstioCertificateRequestSchema, { csr, validityDuration: BigInt(validitySec) })
      client.makeUnaryRequest(path, requestSerialize, responseDeserialize, request, metadata, (err, answer) => {
        resolve(answer ? answer.certChain : err!)
      })
    })
}

test("istiod's CA", { timeout: 60_000 }, async (t) => {
  const istiod = await Istiod.create(t)
  await istiod.start()
  const ask = asker(t, istiod, createCsr(await createKey('ecdsa-p256'), 'spiffe://cluster.local/ns/somebody/sa/else'))
  const signed = async (a: Ask): Promise<readonly string[]> => {
    const answer = await ask(a)
    return Array.isArray(answer) ? (answer as readonly string[]) : assert.fail(String(answer))
  }
  const refused = async (a: Ask): Promise<ServiceError> => {
    const answer = await ask(a)
    return answer instanceof Error ? answer : assert.fail('signed')
  }

  await t.test('the token says who it is for, not the request; two minutes are taken off its beginning', async () => {
    const chain = (await signed({})).map((pem) => new X509Certificate(pem))
    const [leaf] = chain as [X509Certificate]
    assert.deepEqual([leaf.subject ?? '', leaf.subjectAltName], ['', 'URI:spiffe://cluster.local/ns/edge/sa/gateway'])
    assert.ok(Math.abs(leaf.validFromDate.getTime() + 120_000 - Date.now()) < 30_000, leaf.validFrom)
    assert.ok(leaf.checkIssued(chain[1]!))
    // cert-chain.pem of cacerts carries the root as well (MeshCa).
    assert.deepEqual(
      [chain.length, chain.at(-1)!.fingerprint256],
      [4, chain.at(-2)!.fingerprint256],
      'the root stands twice',
    )
    assert.ok(chain.at(-1)!.checkIssued(chain.at(-1)!))
  })
  await t.test('a minute of life is given', async () => {
    const [leaf] = (await signed({ validitySec: 60 })) as [string]
    assert.ok(Math.abs(new X509Certificate(leaf).validToDate.getTime() - Date.now() - 60_000) < 30_000)
  })
  const NOT_ENCODED = 'CSR signing error (certificate signing request is not properly encoded)'
  for (const [what, a, said] of [
    [
      'a life above the limit',
      { validitySec: 91 * DAY_SEC },
      'CSR signing error (requested TTL 2184h0m0s is greater than the max allowed TTL 2160h0m0s)',
    ],
    ['a request that is none', { csr: 'no request' }, NOT_ENCODED],
    ['a request that is empty', { csr: '' }, NOT_ENCODED],
  ] as const) {
    await t.test(`${what}: INVALID_ARGUMENT`, async () => {
      const { code, details } = await refused(a)
      assert.deepEqual([code, details], [STATUS.invalidArgument, said])
    })
  }
  for (const [what, token] of Object.entries({
    expired: istiod.token({ ttlSec: -60 }),
    'of another audience': istiod.token({ audience: 'somebody-else' }),
    'that is none': 'x',
  })) {
    await t.test(`a token ${what}: UNAUTHENTICATED, without a reason`, async () => {
      const { code, details } = await refused({ token })
      assert.deepEqual([code, details], [STATUS.unauthenticated, 'request authenticate failure'])
    })
  }
  await t.test("a cluster id, known or not, says nothing where tokens are not Kubernetes'", async () => {
    for (const clusterId of ['Kubernetes', 'elsewhere']) assert.ok((await signed({ clusterId })).length > 1)
  })
})
