/**
 * Delta xDS over the relay. What is told the hub of what is here are digests, and what comes are differences
 * (proto/relay/xds.ts); to whoever keeps the stream it is one like any other.
 */
import { MeshError, toMeshError } from '../../core/errors.ts'
import { packMessage, unpackAgainst, unpackMessage } from '../../core/relay/compression.ts'
import type { RelayStream } from '../../core/relay/stream.ts'
import type { WorkloadHealth } from '../../model/readiness-probe.ts'
import type { ResourceKind } from '../../model/snapshot.ts'
import { computeDigest } from '../../proto/relay/digest.ts'
import {
  decodeAnswer,
  encodeRequest,
  STREAM_FLAGS,
  type RelayResource,
  type RelayResponse,
} from '../../proto/relay/xds.ts'
import type { DeltaDiscoveryRequest } from '../../proto/services.ts'
import { readNamesAndVersions } from '../ads/delta-wire.ts'
import { encodeDeltaHealth, encodeDeltaRequest, findKind } from '../ads/messages.ts'
import type { NodeDescription } from '../ads/node.ts'
import type { AdsRequest, AdsResponse } from '../ads/protocol.ts'
import type { AdsStream, AdsStreamEvents, AdsTransport } from '../ads/transport.ts'
import { MAX_MESSAGE_BYTES, type ControlPlane } from '../connection/control-plane.ts'
import type { Connection, RelayLink } from './relay-link.ts'

export type RelayTransportOptions = {
  readonly link: RelayLink
  readonly control: ControlPlane
  /** Read anew for each stream. */
  readonly node: NodeDescription
  /** What is kept of a resource; undefined: nothing. */
  readonly stored: (kind: ResourceKind, name: string) => Kept | undefined
  /** The hub takes our certificate no longer. */
  readonly onCertificateRefused: () => void
  /** The stream is open: what else goes over its connection begins, and ends when the result is disposed of. */
  readonly attach?: ((connection: Connection) => Disposable) | undefined
}
export type Kept = { readonly version: string; readonly value: Uint8Array }

/** A hub that is started anew has thousands of devices: in no second come more than a thirtieth of them. */
const RETURN_WITHIN_MS = 60_000
/** A digest is 12 bytes; fewer names are shorter themselves. */
const WORTH_A_DIGEST = 3

export class RelayTransport implements AdsTransport {
  readonly returnWithinMs = RETURN_WITHIN_MS
  readonly #o: RelayTransportOptions
  #certificateRefused = false
  /** A difference came to something that is not here: the next stream has whole resources. */
  #wantsWhole = false

  constructor(options: RelayTransportOptions) {
    this.#o = options
  }

  get address(): string {
    return this.#o.link.address
  }

  /** Rejects as RelayLink.connect. */
  async open(events: AdsStreamEvents): Promise<AdsStream> {
    const { link } = this.#o
    try {
      const connection = await link.connect({ certificateRefused: this.#certificateRefused })
      const head = Buffer.of(this.#wantsWhole ? STREAM_FLAGS.whole : 0)
      this.#wantsWhole = false
      return new RelayAdsStream({
        ...this.#o,
        connection,
        attached: this.#o.attach?.(connection),
        stream: connection.mux.open('configuration', head),
        onResponse: events.onResponse,
        onEnd: (reason) => {
          this.#noteEnd(reason)
          events.onEnd(reason)
        },
        onMissing: () => {
          this.#wantsWhole = true
        },
      })
    } catch (thrown) {
      const reason = toMeshError(thrown)
      this.#noteEnd(reason)
      throw reason
    }
  }

  #noteEnd({ code }: MeshError): void {
    const isRefused = code === 'MESH_CONTROL_UNAUTHENTICATED'
    if (isRefused && !this.#certificateRefused) this.#o.onCertificateRefused()
    // Turn and turn about: either may be the one that is accepted again first.
    this.#certificateRefused = isRefused && !this.#certificateRefused
  }
}

type RelayAdsStreamOptions = RelayTransportOptions & {
  readonly connection: Connection
  readonly attached: Disposable | undefined
  readonly stream: RelayStream
  readonly onResponse: (response: AdsResponse) => void
  readonly onEnd: (reason: MeshError) => void
  readonly onMissing: () => void
}

class RelayAdsStream implements AdsStream {
  readonly #o: RelayAdsStreamOptions
  /** First requests of which the hub has not said whether it knows the digest, and what waits for that. */
  readonly #undecided = new Map<ResourceKind, AdsRequest[]>()
  readonly #asked = new Set<ResourceKind>()
  /** Came, and is not stored yet: by nonce. */
  readonly #fresh = new Map<string, Map<string, Kept>>()
  #isOver = false

  constructor(options: RelayAdsStreamOptions) {
    this.#o = options
    options.stream.listen({
      onMessage: (message) => this.#onMessage(message),
      onEnd: () => this.#end(new MeshError('MESH_CONTROL_UNREACHABLE', 'the hub ended the configuration stream')),
      onReset: (reason) => this.#end(reason),
    })
  }

  send(request: AdsRequest): void {
    if (this.#isOver) return
    const { kind } = request
    if (request.nonce !== '') this.#fresh.delete(request.nonce)
    const undecided = this.#undecided.get(kind)
    if (undecided) {
      undecided.push(request)
      return
    }
    const isFirst = !this.#asked.has(kind)
    this.#asked.add(kind)
    const versions = isFirst ? listVersions(request) : new Map<string, string>()
    if (versions.size < WORTH_A_DIGEST) {
      this.#sendWhole(request)
      return
    }
    this.#undecided.set(kind, [request])
    this.#write(kind, encodeRequest({ message: this.#describe(request), digest: computeDigest(versions) }))
  }
  sendHealth(health: WorkloadHealth): void {
    this.#write('other', encodeRequest({ message: encodeDeltaHealth(health), digest: undefined }))
  }
  pause(): void {
    this.#o.stream.pause()
  }
  resume(): void {
    this.#o.stream.resume()
  }
  close(): void {
    if (!this.#isOver) {
      this.#isOver = true
      this.#o.attached?.[Symbol.dispose]()
      this.#o.stream.reset(new MeshError('MESH_DRAINING', 'the agent ends the stream'))
    }
    this.#o.link.closeIfUnusedSoon()
  }

  #onMessage(message: Uint8Array): void {
    const { control } = this.#o
    try {
      const answer = decodeAnswer(unpackMessage(message, control.maxMessageBytes ?? MAX_MESSAGE_BYTES))
      const typeUrl = 'tell' in answer ? answer.tell : answer.response.typeUrl
      const kind = findKind(typeUrl)
      control.bytes?.(kind ?? 'other', 'received', message.length)
      if (!kind) return
      this.#decide(kind, 'tell' in answer)
      if ('response' in answer) this.#take(kind, answer.response)
    } catch (thrown) {
      const reason = toMeshError(thrown)
      this.#o.stream.reset(reason)
      this.#end(reason)
    }
  }

  /** @param isUnknown the hub knows no set of that digest */
  #decide(kind: ResourceKind, isUnknown: boolean): void {
    const [first, ...later] = this.#undecided.get(kind) ?? []
    this.#undecided.delete(kind)
    if (first && isUnknown) this.#sendWhole(first)
    for (const request of later) this.#sendWhole(request)
  }

  #take(kind: ResourceKind, response: RelayResponse): void {
    const { nonce, systemVersion, removed } = response
    const resources = response.resources.map((resource) => ({
      name: resource.name,
      version: resource.version,
      value: this.#valueOf(kind, resource),
    }))
    this.#fresh.set(nonce, new Map(resources.map((r) => [`${kind} ${r.name}`, r])))
    this.#o.onResponse({ kind, nonce, systemVersion, resources, removed })
  }

  #valueOf(kind: ResourceKind, { name, base, bytes }: RelayResource): Uint8Array {
    if (base === '') return bytes
    const key = `${kind} ${name}`
    const fresh = [...this.#fresh.values()].map((some) => some.get(key)).find((one) => one?.version === base)
    // An equal resource of another version may be kept under the earlier one; what is wrong shows in the checksum.
    const kept = fresh ?? this.#o.stored(kind, name)
    if (!kept) {
      this.#o.onMissing()
      throw new MeshError(
        'MESH_CONTROL_PROTOCOL',
        `the hub sent what is new in ${name} since a version that is not here`,
      )
    }
    try {
      return unpackAgainst(kept.value, bytes, this.#o.control.maxMessageBytes ?? MAX_MESSAGE_BYTES)
    } catch (thrown) {
      this.#o.onMissing()
      throw thrown
    }
  }

  #sendWhole(request: AdsRequest): void {
    const encoded = encodeRequest(
      { message: this.#describe(request), digest: undefined },
      readNamesAndVersions(request),
    )
    this.#write(request.kind, encoded)
  }
  #describe(request: AdsRequest): DeltaDiscoveryRequest {
    return encodeDeltaRequest(request, this.#o.node)
  }
  #write(purpose: ResourceKind | 'other', message: Uint8Array): void {
    if (this.#isOver) return
    const { connection, control, stream } = this.#o
    const packed = packMessage(message, connection)
    control.bytes?.(purpose, 'sent', packed.length)
    stream.send(packed)
  }

  #end(reason: MeshError): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#o.attached?.[Symbol.dispose]()
    this.#o.onEnd(reason)
  }
}

function listVersions({ known, subscribe }: AdsRequest): Map<string, string> {
  const versions = new Map(subscribe.map((name) => [name, '']))
  known.forEach(({ version }, name) => versions.set(name, version))
  return versions
}
