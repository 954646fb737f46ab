/**
 * ADS over gRPC, in the flavour that the server speaks: bytes to and from the messages of protocol.ts. Knows nothing of
 * what they mean.
 */
import type { Client, ServiceError } from '@grpc/grpc-js'
import type { Clock } from '../../core/os/clock.ts'
import { MeshError, toMeshError } from '../../core/errors.ts'
import type { IdentitySource } from '../../model/identity.ts'
import type { WorkloadHealth } from '../../model/readiness-probe.ts'
import { TYPE_URLS, type ResourceKind } from '../../model/snapshot.ts'
import { toControlError } from './errors.ts'
import { startCall, type Call, type CallEvents, type CallOptions, type Outgoing } from './grpc-call.ts'
import {
  encodeDeltaHealth,
  encodeDeltaRequest,
  decodeDeltaResponse,
  encodeSotwHealth,
  encodeSotwRequest,
  decodeSotwResponse,
} from './messages.ts'
import type { AdsRequest, AdsResponse } from './protocol.ts'
import { SotwStream } from './sotw.ts'
import {
  createCallMetadata,
  createChannelCredentials,
  loadGrpc,
  chooseProof,
  reach,
  type ControlPlane,
} from '../connection/control-plane.ts'
import { readNamesAndVersions, readDeltaResponse } from './delta-wire.ts'
import type { NodeDescription } from './node.ts'
import { ADS, type DeltaDiscoveryRequest, type DiscoveryRequest } from '../../proto/services.ts'
import { GOOD_STREAM_MS, type AdsStream, type AdsStreamEvents, type AdsTransport } from './transport.ts'

/** For so long the last word is waited for to be heard. */
const LAST_WORDS_MS = 1_000

export type GrpcTransportOptions = {
  readonly control: ControlPlane
  /** Read anew for each stream. */
  readonly node: NodeDescription
  /** False: this node has no address yet, and would be registered under one that is everybody's. Left out: it has. */
  readonly hasAddress?: () => boolean
  readonly identity: IdentitySource
  readonly clock: Clock
  /** `auto`: delta, and the state of the world from a server that does not know delta. */
  readonly protocol?: 'delta' | 'sotw' | 'auto' | undefined
  /**
   * Of what is sent; a server that mirrors it (grpc-go with gzip registered) compresses its pushes. istiod ends the
   * stream.
   */
  readonly compression?: 'none' | 'gzip' | undefined
  /** The control plane accepts our certificate no longer, e.g. because its root was replaced. */
  readonly onCertificateRefused: () => void
}

/** What a server has shown that it cannot. */
type Learned = { flavour: 'delta' | 'sotw'; plain: boolean; readonly without: Set<ResourceKind> }
type Way = Pick<CallOptions<never>, 'grpc' | 'client' | 'metadata'>
/** grpc.CompressionAlgorithms. */
const GZIP = 2
/** Kinds that not every server has, and without which everything else goes on. */
const OPTIONAL: readonly ResourceKind[] = ['nameTable', 'proxyConfig', 'extension', 'secret']

export class GrpcTransport implements AdsTransport {
  readonly #o: GrpcTransportOptions
  readonly #learned = new Map<string, Learned>()
  /** Those that turns are about: others begin anew. */
  #addresses: readonly string[]
  #turn = 0
  #certificateRefused = false

  constructor(options: GrpcTransportOptions) {
    this.#o = options
    this.#addresses = options.control.addresses
  }

  get address(): string {
    const { addresses } = this.#o.control
    if (addresses !== this.#addresses) {
      this.#addresses = addresses
      this.#turn = 0
    }
    return addresses[this.#turn % addresses.length]!
  }
  get without(): ReadonlySet<ResourceKind> {
    return this.#learnedOf(this.address).without
  }

  /**
   * Rejects with MESH_NO_IDENTITY, MESH_CONTROL_TLS, MESH_NO_ADDRESS or MESH_CONTROL_UNREACHABLE (a name that nobody
   * knows).
   */
  async open(events: AdsStreamEvents): Promise<AdsStream> {
    try {
      return await this.#open(events)
    } catch (thrown) {
      this.#turn++
      throw toMeshError(thrown)
    }
  }

  async #open(events: AdsStreamEvents): Promise<AdsStream> {
    const { control, identity: source, clock, compression = 'none', onCertificateRefused } = this.#o
    const { address } = this
    const grpc = await loadGrpc()
    const { identity, token, shown } = chooseProof(control, source.current(), {
      wallMs: clock.wallMs(),
      certificateRefused: this.#certificateRefused,
    })
    const { target, options } = await reach(control, address, Math.floor(this.#turn / control.addresses.length))
    // A control plane on this very machine is reached without any.
    if (this.#o.hasAddress?.() === false && !isLoopback(target))
      throw new MeshError('MESH_NO_ADDRESS', 'this machine has no address yet under which the mesh could know it')
    const learned = this.#learnedOf(address)
    const client: Client = new grpc.Client(target, createChannelCredentials(grpc, control, identity), {
      ...options,
      ...(compression === 'gzip' && !learned.plain ? { 'grpc.default_compression_algorithm': GZIP } : {}),
    })
    const metadata = createCallMetadata(grpc, control, token)
    return new OpenStream({
      client,
      clock,
      address,
      call: (callEvents) => this.#call(learned.flavour, { grpc, client, metadata }, callEvents),
      explain: (err) => {
        const reason = toControlError(err, 'the configuration stream', address, shown)
        this.#learn(learned, reason, err.details)
        return reason
      },
      onResponse: events.onResponse,
      onEnd: (reason, { wasGood }) => {
        // The first of the addresses is the one that is meant; the others are for when it cannot be had.
        this.#turn = wasGood ? 0 : this.#turn + 1
        const isRefused = reason.code === 'MESH_CONTROL_UNAUTHENTICATED'
        // Turn and turn about: either may be the one that is accepted again first.
        this.#certificateRefused = isRefused && !this.#certificateRefused
        if (isRefused && identity) onCertificateRefused()
        events.onEnd(reason)
      },
      onClose: () => {
        this.#turn++
      },
    })
  }

  #learnedOf(address: string): Learned {
    const known = this.#learned.get(address)
    if (known) return known
    const made: Learned = { flavour: this.#o.protocol === 'sotw' ? 'sotw' : 'delta', plain: false, without: new Set() }
    this.#learned.set(address, made)
    return made
  }

  /** Behind one name may stand servers of several kinds, so the other flavour is tried whichever it was. */
  #learn(learned: Learned, { code }: MeshError, details: string): void {
    const kind = OPTIONAL.find((k) => details.includes(TYPE_URLS[k]))
    if (kind) learned.without.add(kind)
    else if (code === 'MESH_CONTROL_COMPRESSION') learned.plain = true
    else if (code === 'MESH_CONTROL_UNIMPLEMENTED' && (this.#o.protocol ?? 'auto') === 'auto')
      learned.flavour = learned.flavour === 'delta' ? 'sotw' : 'delta'
  }

  #call(flavour: Learned['flavour'], way: Way, events: CallEvents): Call {
    const {
      node,
      control: { bytes },
    } = this.#o
    if (flavour === 'delta') {
      const { path, requestSerialize } = ADS.DeltaAggregatedResources
      const written = (message: DeltaDiscoveryRequest, ...more: Uint8Array[]): Outgoing => ({
        typeUrl: message.typeUrl,
        bytes: Buffer.concat([requestSerialize(message), ...more]),
      })
      return startCall(
        {
          ...way,
          path,
          count: bytes,
          write: (r) => written(encodeDeltaRequest(r, node), readNamesAndVersions(r)),
          health: (h) => written(encodeDeltaHealth(h)),
          read: readDeltaResponse,
          response: decodeDeltaResponse,
        },
        events,
      )
    }
    const { path, requestSerialize, responseDeserialize } = ADS.StreamAggregatedResources
    const sotw = new SotwStream()
    const written = (message: DiscoveryRequest): Outgoing => ({
      typeUrl: message.typeUrl,
      bytes: requestSerialize(message),
    })
    return startCall(
      {
        ...way,
        path,
        count: bytes,
        write: (r) => written(encodeSotwRequest(sotw.request(r), node)),
        health: (h) => written(encodeSotwHealth(h)),
        read: responseDeserialize,
        response: (message) => {
          const response = decodeSotwResponse(message)
          return response && sotw.response(response)
        },
      },
      events,
    )
  }
}

/** @param target HOST:PORT, or as gRPC takes it, ipv4:A:P,A:P */
const isLoopback = (target: string): boolean => /^(ipv[46]:)?(127\.[\d.]+|localhost|\[::1\]):\d+(,|$)/.test(target)

type OpenStreamOptions = {
  readonly client: Client
  readonly clock: Clock
  readonly address: string
  readonly call: (events: CallEvents) => Call
  readonly explain: (err: ServiceError) => MeshError
  readonly onResponse: (response: AdsResponse) => void
  /** The other side has ended it, or the link. @param wasGood it was answered and lasted */
  readonly onEnd: (reason: MeshError, { wasGood }: { readonly wasGood: boolean }) => void
  /** This side has ended it. */
  readonly onClose: () => void
}

class OpenStream implements AdsStream {
  readonly #o: OpenStreamOptions
  readonly #call: Call
  readonly #openedMs: number
  #isAnswered = false
  #isOver = false
  #hasToldHealth = false

  constructor(options: OpenStreamOptions) {
    this.#o = options
    const { clock, call, explain, address } = options
    this.#openedMs = clock.monotonicMs()
    this.#call = call({
      onResponse: (response) => {
        this.#isAnswered = true
        if (!this.#isOver) this.#o.onResponse(response)
      },
      onError: (err) => this.#end(explain(err)),
      onClose: () => this.#end(new MeshError('MESH_CONTROL_UNREACHABLE', `${address} closed the configuration stream`)),
    })
  }

  send(request: AdsRequest): void {
    if (!this.#isOver) this.#call.send(request)
  }
  sendHealth(health: WorkloadHealth): void {
    if (this.#isOver) return
    this.#hasToldHealth = true
    this.#call.sendHealth(health)
  }
  pause(): void {
    this.#call.pause()
  }
  resume(): void {
    this.#call.resume()
  }

  close(): void {
    const { client, clock, onClose } = this.#o
    if (!this.#isOver) onClose()
    this.#isOver = true
    const cancel = (): void => {
      this.#call.cancel()
      client.close()
    }
    if (!this.#hasToldHealth) {
      cancel()
      return
    }
    // That the workload leaves is read before the end of a stream, and not at all before a reset.
    const late = clock.after(LAST_WORDS_MS, cancel)
    this.#call.finish(() => {
      late.cancel()
      client.close()
    })
  }

  #end(reason: MeshError): void {
    if (this.#isOver) return
    this.#isOver = true
    const { client, clock, onEnd } = this.#o
    client.close()
    onEnd(reason, { wasGood: this.#isAnswered && clock.monotonicMs() - this.#openedMs > GOOD_STREAM_MS })
  }
}
