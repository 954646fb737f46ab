/** istio.v1.auth.IstioCertificateService: a certificate for a key of ours, signed by the mesh's CA. */
import { create } from '@bufbuild/protobuf'
import type { ServiceError } from '@grpc/grpc-js'
import type { Clock } from '../../agent/core/clock.ts'
import { MeshError } from '../../agent/core/errors.ts'
import type { Identity } from '../../agent/model/identity.ts'
import { controlError } from '../ads-errors.ts'
import { callMetadata, channelCredentials, loadGrpc, proofOf, reach, type ControlPlane } from '../control-plane.ts'
import { IstioCertificateRequestSchema, type IstioCertificateResponse } from '../proto/gen/istio/v1/auth/ca_pb.ts'
import { CA } from '../proto/services.ts'
import { createCsr, createKey } from './csr.ts'
import { identityOf } from './identity-of.ts'

/** Gets one identity; a new key each time. Rejects with a MESH_CONTROL_* code, MESH_NO_IDENTITY or MESH_IDENTITY_DAMAGED (an answer that is none). */
export type CertificateAuthority = (p: { readonly current: Identity | undefined; readonly spiffeUri: string; readonly ttlSec: number; readonly certificateRefused: boolean }) => Promise<Identity>

const TIMEOUT_MS = 15_000
/** No chain of a mesh is longer. */
const MAX_CHAIN = 16

export function istioCertificateAuthority(control: ControlPlane, clock: Clock): CertificateAuthority {
  let turn = 0
  return async ({ current, spiffeUri, ttlSec, certificateRefused }) => {
    const grpc = await loadGrpc()
    const address = control.addresses[turn++ % control.addresses.length]!
    const { identity, token, shown } = proofOf(control, current, { wallMs: clock.wallMs(), certificateRefused })
    const keyPem = createKey()
    const { target, options } = await reach(control, address, Math.floor(turn / control.addresses.length))
    const client = new grpc.Client(target, channelCredentials(grpc, control, identity), options)
    try {
      const response = await new Promise<IstioCertificateResponse>((resolve, reject) => {
        const { path } = CA.CreateCertificate
        const requestSerialize: typeof CA.CreateCertificate.requestSerialize = (m) => { const b = CA.CreateCertificate.requestSerialize(m); control.bytes?.('certificate', 'sent', b.length); return b }
        const responseDeserialize: typeof CA.CreateCertificate.responseDeserialize = (b) => { control.bytes?.('certificate', 'received', b.length); return CA.CreateCertificate.responseDeserialize(b) }
        const request = create(IstioCertificateRequestSchema, { csr: createCsr(keyPem, spiffeUri), validityDuration: BigInt(ttlSec) })
        const call = client.makeUnaryRequest(path, requestSerialize, responseDeserialize, request, callMetadata(grpc, control, token), (err: ServiceError | null, value?: IstioCertificateResponse) => {
          late.cancel()
          if (value) resolve(value)
          else reject(controlError(err ?? { code: 2, details: 'no answer' }, 'the certificate', address, shown))
        })
        const late = clock.after(TIMEOUT_MS, () => call.cancel())
      })
      const chain = response.certChain
      // istiod: leaf, intermediates, root last.
      if (chain.length < 2 || chain.length > MAX_CHAIN) throw new MeshError('MESH_CONTROL_PROTOCOL', `the CA at ${address} answered with ${chain.length} certificates, expected the leaf and a root at least`)
      return identityOf({ keyPem, chainPem: chain.slice(0, -1).map(lineEnd).join(''), rootsPem: lineEnd(chain.at(-1)!) })
    } finally { client.close() }
  }
}

function lineEnd(pem: string): string { return pem.endsWith('\n') ? pem : `${pem}\n` }
