/**
 * What Istio's agent does beside a sidecar and istiod's clusters wait for: SDS of the secrets `default` and `ROOTCA`,
 * over plain gRPC on loopback.
 */
import { Server, ServerCredentials, type ServerDuplexStream } from '@grpc/grpc-js'
import { create, toBinary } from '@bufbuild/protobuf'
import { SecretSchema } from '../../../proto/gen/envoy/extensions/transport_sockets/tls/v3/secret_pb.ts'
import { DiscoveryResponseSchema } from '../../../proto/gen/envoy/service/discovery/v3/discovery_pb.ts'
import { ADS, type DiscoveryRequest, type DiscoveryResponse } from '../../../proto/services.ts'
import type { Finally } from '../../conformance/programs.ts'
import { testCa } from '../../helpers/test-ca.ts'

const SECRET = 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret'
const METHOD = {
  ...ADS.StreamAggregatedResources,
  path: '/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets',
}

/** @returns its port */
export async function serveSecrets(t: Finally): Promise<number> {
  const ca = testCa()
  const own = ca.issue('edge', 'gateway')
  const text = (inlineString: string) => ({ specifier: { case: 'inlineString', value: inlineString } }) as const
  const secret = (name: string) =>
    create(
      SecretSchema,
      name === 'ROOTCA'
        ? { name, type: { case: 'validationContext', value: { trustedCa: text(ca.rootsPem) } } }
        : {
            name,
            type: {
              case: 'tlsCertificate',
              value: { certificateChain: text(own.chainPem), privateKey: text(own.keyPem) },
            },
          },
    )
  const streamSecrets = (call: ServerDuplexStream<DiscoveryRequest, DiscoveryResponse>): void => {
    call.on('error', () => {
      /* Envoy has ended */
    })
    call.on('data', ({ resourceNames, responseNonce }: DiscoveryRequest) => {
      if (responseNonce !== '') return
      call.write(
        create(DiscoveryResponseSchema, {
          typeUrl: SECRET,
          versionInfo: '1',
          nonce: '1',
          resources: resourceNames.map((n) => ({
            typeUrl: SECRET,
            value: toBinary(SecretSchema, secret(n)) as Uint8Array<ArrayBuffer>,
          })),
        }),
      )
    })
    call.on('end', () => {
      call.end()
    })
  }
  const server = new Server()
  server.addService({ StreamSecrets: METHOD }, { StreamSecrets: streamSecrets })
  t.after(() => {
    server.forceShutdown()
  })
  return new Promise((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (err, port) => {
      if (err) reject(err)
      else resolve(port)
    })
  })
}
