/** A CA of the mesh that a test speaks for, on a loopback port. */
import { Server, ServerCredentials, type handleUnaryCall } from '@grpc/grpc-js'
import type { CertificateWish } from '../../../control-sync/identity/ca-client.ts'
import type { IstioCertificateRequest, IstioCertificateResponse } from '../../../proto/gen/istio/v1/auth/ca_pb.ts'
import { CA } from '../../../proto/services.ts'

export const CA_NAME = 'istiod.istio-system.svc'
export const WISH: CertificateWish = {
  current: undefined,
  spiffeUri: 'spiffe://cluster.local/ns/edge/sa/gateway',
  ttlSec: 0,
  key: 'ecdsa-p256',
  certificateRefused: false,
}
type Own = { readonly keyPem: string; readonly chainPem: string; /** Of clients. */ readonly rootsPem?: string }

/** @returns its port */
export function startCaServer(
  t: { after(fn: () => void): void },
  { keyPem, chainPem, rootsPem }: Own,
  CreateCertificate: handleUnaryCall<IstioCertificateRequest, IstioCertificateResponse>,
): Promise<number> {
  const server = new Server()
  server.addService(CA, { CreateCertificate })
  t.after(() => {
    server.forceShutdown()
  })
  const roots = rootsPem === undefined ? null : Buffer.from(rootsPem)
  const pair = { private_key: Buffer.from(keyPem), cert_chain: Buffer.from(chainPem) }
  return new Promise((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createSsl(roots, [pair]), (err, bound) => {
      if (err) reject(err)
      else resolve(bound)
    })
  })
}
