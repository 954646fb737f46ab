/**
 * The two gRPC services of a control plane as @grpc/grpc-js wants them: method descriptions whose bytes are protobuf-es
 * messages. Requests and responses are plain messages of ./gen; a message that does not parse fails its call with
 * INTERNAL (grpc-js).
 */
import { fromBinary, toBinary, type DescMessage, type DescService, type MessageShape } from '@bufbuild/protobuf'
import type { MethodDefinition } from '@grpc/grpc-js'
import { AggregatedDiscoveryService } from './gen/envoy/service/discovery/v3/ads_pb.ts'
import {
  DeltaDiscoveryRequestSchema,
  DeltaDiscoveryResponseSchema,
  DiscoveryRequestSchema,
  DiscoveryResponseSchema,
  type DeltaDiscoveryRequest,
  type DeltaDiscoveryResponse,
  type DiscoveryRequest,
  type DiscoveryResponse,
} from './gen/envoy/service/discovery/v3/discovery_pb.ts'
import {
  IstioCertificateRequestSchema,
  IstioCertificateResponseSchema,
  IstioCertificateService,
  type IstioCertificateRequest,
  type IstioCertificateResponse,
} from './gen/istio/v1/auth/ca_pb.ts'

/**
 * Client: `client.makeBidiStreamRequest(d.path, d.requestSerialize, d.responseDeserialize, metadata)`; server:
 * `server.addService(ADS, handlers)`.
 */
export const ADS = {
  /** State of the world: every response carries all resources of its type. */
  StreamAggregatedResources: method(
    AggregatedDiscoveryService,
    'StreamAggregatedResources',
    'both',
    DiscoveryRequestSchema,
    DiscoveryResponseSchema,
  ),
  /** Incremental: responses carry what changed. */
  DeltaAggregatedResources: method(
    AggregatedDiscoveryService,
    'DeltaAggregatedResources',
    'both',
    DeltaDiscoveryRequestSchema,
    DeltaDiscoveryResponseSchema,
  ),
}

export const CA = {
  CreateCertificate: method(
    IstioCertificateService,
    'CreateCertificate',
    'none',
    IstioCertificateRequestSchema,
    IstioCertificateResponseSchema,
  ),
}

export type {
  DeltaDiscoveryRequest,
  DeltaDiscoveryResponse,
  DiscoveryRequest,
  DiscoveryResponse,
  IstioCertificateRequest,
  IstioCertificateResponse,
}

function method<Q extends DescMessage, A extends DescMessage>(
  service: DescService,
  name: string,
  streams: 'none' | 'both',
  request: Q,
  response: A,
): MethodDefinition<MessageShape<Q>, MessageShape<A>> {
  return {
    path: `/${service.typeName}/${name}`,
    originalName: name[0]!.toLowerCase() + name.slice(1),
    requestStream: streams === 'both',
    responseStream: streams === 'both',
    requestSerialize: (message) => bytesOf(request, message),
    requestDeserialize: (bytes) => fromBinary(request, bytes),
    responseSerialize: (message) => bytesOf(response, message),
    responseDeserialize: (bytes) => fromBinary(response, bytes),
  }
}

/** grpc-js wants Buffers; this one shares the memory. */
function bytesOf<T extends DescMessage>(schema: T, message: MessageShape<T>): Buffer {
  const bytes = toBinary(schema, message)
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
