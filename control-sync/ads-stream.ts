/** Delta ADS over gRPC: bytes to and from the messages of ads-protocol.ts. Knows nothing of what they mean. */
import { create } from '@bufbuild/protobuf'
import type { Client, ClientDuplexStream, ServiceError } from '@grpc/grpc-js'
import type { Clock } from '../agent/core/clock.ts'
import { MeshError } from '../agent/core/errors.ts'
import type { IdentitySource } from '../agent/model/identity.ts'
import type { WorkloadHealth } from '../agent/model/readiness-probe.ts'
import { TYPE_URLS, type ResourceKind } from '../agent/model/snapshot.ts'
import { controlError } from './ads-errors.ts'
import type { AdsRequest, AdsResponse } from './ads-protocol.ts'
import { callMetadata, channelCredentials, channelOptions, loadGrpc, proofOf, type ControlPlane } from './control-plane.ts'
import type { NodeDescription } from './node.ts'
import { DeltaDiscoveryRequestSchema, type DeltaDiscoveryRequest, type DeltaDiscoveryResponse } from './proto/gen/envoy/service/discovery/v3/discovery_pb.ts'
import { ADS } from './proto/services.ts'
import type { AdsStream, AdsStreamEvents, AdsTransport } from './sync.ts'

/** gRPC status INVALID_ARGUMENT, what Envoy puts into a nack. */
const NACK_CODE = 3
/** gRPC status INTERNAL, what Istio's agent says of a workload that does not work. */
const UNHEALTHY_CODE = 13
/** So long the control plane may take to hear us out. */
const LAST_WORDS_MS = 1_000
const HEALTH_TYPE_URL = 'type.googleapis.com/istio.v1.HealthInformation'

export class GrpcTransport implements AdsTransport {
  readonly #control: ControlPlane
  readonly #node: NodeDescription
  readonly #identity: IdentitySource
  readonly #clock: Clock
  #turn = 0
  readonly #onCertificateRefused: () => void
  #certificateRefused = false

  /** @param p.onCertificateRefused called when the control plane accepts our certificate no longer, e.g. because its root was replaced */
  constructor(p: { control: ControlPlane; node: NodeDescription; identity: IdentitySource; clock: Clock; onCertificateRefused: () => void }) {
    this.#control = p.control
    this.#node = p.node
    this.#identity = p.identity
    this.#clock = p.clock
    this.#onCertificateRefused = p.onCertificateRefused
  }

  get address(): string { return this.#control.addresses[this.#turn % this.#control.addresses.length]! }

  /** Rejects with MESH_NO_IDENTITY or MESH_CONTROL_TLS. */
  async open(events: AdsStreamEvents): Promise<AdsStream> {
    const grpc = await loadGrpc()
    const { identity, token, shown } = proofOf(this.#control, this.#identity.current(), { wallMs: this.#clock.wallMs(), certificateRefused: this.#certificateRefused })
    const { address } = this
    const client: Client = new grpc.Client(address, channelCredentials(grpc, this.#control, identity), channelOptions(this.#control))
    const { path, requestSerialize, responseDeserialize } = ADS.DeltaAggregatedResources
    const call: ClientDuplexStream<DeltaDiscoveryRequest, DeltaDiscoveryResponse> = client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize, callMetadata(grpc, this.#control, token))
    let over = false
    let toldHealth = false
    const end = (reason: MeshError): void => {
      if (over) return
      over = true
      this.#turn++
      const refused = reason.code === 'MESH_CONTROL_UNAUTHENTICATED'
      // Turn and turn about: either may be the one that is accepted again first.
      this.#certificateRefused = refused && !this.#certificateRefused
      if (refused && identity) this.#onCertificateRefused()
      client.close()
      events.onEnd(reason)
    }
    call.on('data', (message: DeltaDiscoveryResponse) => {
      const response = responseOf(message)
      // A kind that was not asked for is a habit of some servers and no reason to lose the stream.
      if (response) events.onResponse(response)
    })
    call.on('error', (err: ServiceError) => end(controlError(err, 'the configuration stream', address, shown)))
    call.on('end', () => end(new MeshError('MESH_CONTROL_UNREACHABLE', `${address} closed the configuration stream`)))
    return {
      send: (request) => { if (!over) call.write(requestOf(request, this.#node)) },
      sendHealth: (health) => { if (!over) { toldHealth = true; call.write(healthOf(health)) } },
      close: () => {
        over = true
        const giveUp = (): void => { call.cancel(); client.close() }
        if (!toldHealth) { giveUp(); return }
        // That the workload leaves is read before the end of a stream, and not at all before a reset.
        call.end()
        const late = this.#clock.after(LAST_WORDS_MS, giveUp)
        call.once('status', () => { late.cancel(); client.close() })
      },
    }
  }
}

function requestOf(r: AdsRequest, node: NodeDescription): DeltaDiscoveryRequest {
  return create(DeltaDiscoveryRequestSchema, {
    typeUrl: TYPE_URLS[r.kind], resourceNamesSubscribe: [...r.subscribe], resourceNamesUnsubscribe: [...r.unsubscribe],
    initialResourceVersions: { ...r.known }, responseNonce: r.nonce,
    ...(r.error === undefined ? {} : { errorDetail: { code: NACK_CODE, message: r.error } }),
    ...(r.withNode ? { node: {
      id: node.id, cluster: node.cluster, metadata: node.metadata, locality: node.locality,
      userAgentName: 'meshlet', userAgentVersionType: { case: 'userAgentVersion', value: node.userAgentVersion },
    } } : {}),
  })
}

/** istio.v1.HealthInformation, which has no fields: the error says it (istio pkg/istio-agent/xds_proxy_delta.go). */
function healthOf({ state, reason = '' }: WorkloadHealth): DeltaDiscoveryRequest {
  return create(DeltaDiscoveryRequestSchema, { typeUrl: HEALTH_TYPE_URL, ...(state === 'healthy' ? {} : { errorDetail: { code: UNHEALTHY_CODE, message: reason } }) })
}

const KIND_OF = new Map(Object.entries(TYPE_URLS).map(([kind, url]) => [url as string, kind as ResourceKind]))

function responseOf(message: DeltaDiscoveryResponse): AdsResponse | undefined {
  const kind = KIND_OF.get(message.typeUrl)
  if (!kind) return undefined
  return {
    kind, nonce: message.nonce, systemVersion: message.systemVersionInfo, removed: message.removedResources,
    // An empty table comes as an Any without a value (istiod's NDS).
    resources: message.resources.map(({ name, version, resource }) => ({ name, version, value: resource?.value ?? new Uint8Array(0) })),
  }
}
