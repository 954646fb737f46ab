/** What a gRPC call tells about its caller. */
import type { Metadata, ServerDuplexStream, ServerUnaryCall } from '@grpc/grpc-js'
import type { Credentials } from './authenticate.ts'
import { toPlainAddress } from './source-address.ts'

type Call = Pick<
  ServerUnaryCall<unknown, unknown> | ServerDuplexStream<unknown, unknown>,
  'getPeer' | 'getAuthContext'
> & { readonly metadata: Metadata }

/** grpc-js gives the certificate only when OpenSSL has verified its chain (`authorized`). */
export function readCredentials(call: Call): Credentials {
  return {
    certificate: call.getAuthContext().sslPeerCertificate?.raw,
    authorization: call.metadata.get('authorization').map(String),
  }
}

/** `10.0.0.1:4711`, `[::1]:4711` or, from a dual-stack listener, `::ffff:10.0.0.1:4711` → the address alone. */
export function readIp(call: Pick<Call, 'getPeer'>): string {
  const host = call
    .getPeer()
    .replace(/:\d+$/, '')
    .replace(/^\[|\]$/g, '')
  return toPlainAddress(host)
}
