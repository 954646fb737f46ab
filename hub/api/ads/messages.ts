/** Protobuf messages of both ADS flavours ↔ the plain words of the state machines. */
import { create } from '@bufbuild/protobuf'
import {
  DeltaDiscoveryResponseSchema,
  DiscoveryResponseSchema,
} from '../../../proto/gen/envoy/service/discovery/v3/discovery_pb.ts'
import type {
  DeltaDiscoveryRequest,
  DeltaDiscoveryResponse,
  DiscoveryRequest,
  DiscoveryResponse,
} from '../../../proto/services.ts'
import type { HubResource, ResourceSet } from '../../source/resources.ts'
import { DeltaSession, type Answer, type DeltaResponse } from './session.ts'
import { SotwSession, type SotwResponse } from './sotw.ts'

/** One stream's conversation, whatever its flavour. */
export type Conversation<Q, A> = {
  /** Throws MESH_CONTROL_PROTOCOL. */
  request(message: Q, set: ResourceSet): Answer<A>
  push(set: ResourceSet): A[]
  /** What the names and versions take that the client has said. */
  readonly subscribedBytes: number
  /** Hash of all that the client has been sent; '' where it is not known. */
  computeContent(): string
}
/** Fields that both flavours' requests have. */
export type AnyRequest = DeltaDiscoveryRequest | DiscoveryRequest
/** Fields that every answer has, whatever carries it. */
export type AnyAnswer = { readonly typeUrl: string; readonly nonce: string }

export function createDeltaConversation(): Conversation<DeltaDiscoveryRequest, DeltaDiscoveryResponse> {
  const session = new DeltaSession()
  return {
    request(m, set) {
      const { responses, outcome } = session.request(
        {
          typeUrl: m.typeUrl,
          subscribe: m.resourceNamesSubscribe,
          unsubscribe: m.resourceNamesUnsubscribe,
          known: m.initialResourceVersions,
          nonce: m.responseNonce,
          error: m.errorDetail?.message,
        },
        set,
      )
      return { responses: responses.map(deltaMessage), outcome }
    },
    push: (set) => session.push(set).map(deltaMessage),
    computeContent: () => session.computeContent(),
    get subscribedBytes() {
      return session.subscribedBytes
    },
  }
}

export function createSotwConversation(): Conversation<DiscoveryRequest, DiscoveryResponse> {
  const session = new SotwSession()
  return {
    request(m, set) {
      const { responses, outcome } = session.request(
        { typeUrl: m.typeUrl, names: m.resourceNames, nonce: m.responseNonce, error: m.errorDetail?.message },
        set,
      )
      return { responses: responses.map(sotwMessage), outcome }
    },
    push: (set) => session.push(set).map(sotwMessage),
    computeContent: () => '',
    get subscribedBytes() {
      return session.subscribedBytes
    },
  }
}

const any = (r: HubResource): { typeUrl: string; value: Uint8Array<ArrayBuffer> } => ({
  typeUrl: r.typeUrl,
  value: r.value as Uint8Array<ArrayBuffer>,
})
const CONTROL_PLANE = { identifier: 'meshlet-hub' }

const deltaMessage = (r: DeltaResponse): DeltaDiscoveryResponse =>
  create(DeltaDiscoveryResponseSchema, {
    typeUrl: r.typeUrl,
    nonce: r.nonce,
    systemVersionInfo: r.systemVersion,
    removedResources: [...r.removed],
    controlPlane: CONTROL_PLANE,
    resources: r.resources.map((one) => ({ name: one.name, version: one.version, resource: any(one) })),
  })
const sotwMessage = (r: SotwResponse): DiscoveryResponse =>
  create(DiscoveryResponseSchema, {
    typeUrl: r.typeUrl,
    nonce: r.nonce,
    versionInfo: r.version,
    resources: r.resources.map(any),
    controlPlane: CONTROL_PLANE,
  })
