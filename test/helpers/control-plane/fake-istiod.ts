/**
 * An istiod that says what a test wants, with the habits of a real one (istio pilot/pkg/xds/delta.go, ads.go and what
 * was seen on the wire): the rules of its answers as plain objects, and a transport without sockets.
 * test/helpers/control-plane/fake-istiod-server.ts puts gRPC around it.
 */
import { create, toBinary } from '@bufbuild/protobuf'
import type { ResourceKind } from '../../../model/snapshot.ts'
import { toControlError } from '../../../control-sync/ads/errors.ts'
import type { AdsRequest } from '../../../control-sync/ads/protocol.ts'
import { SotwStream } from '../../../control-sync/ads/sotw.ts'
import { ClusterLoadAssignmentSchema } from '../../../proto/gen/envoy/config/endpoint/v3/endpoint_pb.ts'
import { RouteConfigurationSchema } from '../../../proto/gen/envoy/config/route/v3/route_pb.ts'
import type { AdsStream, AdsStreamEvents, AdsTransport } from '../../../control-sync/ads/transport.ts'
import { DeltaTalk, type Ending, ENDINGS, type IstiodOfStreams, type Resources, SotwTalk } from './fake-streams.ts'
import type { Sample } from './resources.ts'

/** What went over one stream. */
export type StreamRecord = { readonly sent: AdsRequest[]; /** Nonces. */ readonly received: string[] }
export type FakeTransport = AdsTransport & {
  readonly sent: readonly AdsRequest[]
  readonly streams: readonly StreamRecord[]
  readonly opened: number
}

export class FakeIstiod implements IstiodOfStreams {
  readonly #resources = new Map<ResourceKind, Map<string, Uint8Array>>()
  readonly streams = new Set<DeltaTalk | SotwTalk>()
  /** What it would log: nacks and what it takes for a mistake of the client. */
  readonly log: string[] = []
  /** Answers to a response that was not the last of its kind: ignored, and nobody's mistake. */
  expired = 0
  /** ISTIO_MULTIROOT_MESH: without it PCDS is not answered. */
  multiRoot = false
  /** How the next streams end at once, in order. */
  readonly refuse: Ending[] = []
  #version = 0
  #nonces = 0

  get(kind: ResourceKind, name: string): Uint8Array | undefined {
    return this.#resources.get(kind)?.get(name)
  }
  all(kind: ResourceKind): Resources {
    return [...(this.#resources.get(kind) ?? [])]
  }

  /** Known from now on; told with the next push. */
  put(...samples: readonly Sample[]): void {
    for (const { kind, name, bytes } of samples) this.#of(kind).set(name, bytes)
  }
  drop(kind: ResourceKind, ...names: readonly string[]): void {
    for (const name of names) this.#of(kind).delete(name)
  }

  /**
   * A full push after a change of these clusters (CDS is a delta; LDS, RDS and NDS come whole), or of these endpoints
   * alone.
   */
  push(changed: { readonly clusters?: readonly string[]; readonly endpoints?: readonly string[] }): void {
    this.#version++
    for (const stream of this.streams) stream.push(changed)
  }
  /** Something that concerns everybody (mesh config): every kind whole. */
  pushAll(): void {
    this.#version++
    for (const stream of this.streams) stream.pushAll()
  }
  end(ending: Ending): void {
    for (const stream of this.streams) stream.end(ending)
  }
  /** All of it is lost, also the version counter. */
  restart(): void {
    this.end(ENDINGS.dropped)
    this.#version = 0
  }

  get version(): string {
    return `2026-11-25T10:00:00Z/${this.#version}`
  }
  nonce(): string {
    return `${this.version}${String(++this.#nonces).padStart(8, '0')}`
  }

  /**
   * What is generated for a kind; undefined: nothing is said at all.
   * @param names of a kind by name: those that are asked for
   */
  generate(kind: ResourceKind, names: ReadonlySet<string>): Resources | undefined {
    switch (kind) {
      case 'cluster':
      case 'listener':
        return this.all(kind)
      // Every name is answered, known or not.
      case 'endpoint':
        return [...names].map((name) => [
          name,
          this.get(kind, name) ??
            toBinary(ClusterLoadAssignmentSchema, create(ClusterLoadAssignmentSchema, { clusterName: name })),
        ])
      case 'route':
        return [...names].map((name) => [name, this.get(kind, name) ?? allowAny(name)])
      case 'secret':
      case 'extension': {
        const found = this.all(kind).filter(([name]) => names.has(name))
        return found.length > 0 ? found : undefined
      }
      case 'nameTable':
        return [['', this.get(kind, '') ?? new Uint8Array(0)]]
      case 'proxyConfig':
        return this.multiRoot ? [['', this.get(kind, '') ?? new Uint8Array(0)]] : undefined
      default:
        return kind satisfies never
    }
  }

  /** One client, without sockets. Answers come in a later turn of the loop, as from a network. */
  transport(flavour: 'delta' | 'sotw' = 'delta'): FakeTransport {
    const sent: AdsRequest[] = []
    const streams: StreamRecord[] = []
    return {
      address: 'fake-istiod',
      sent,
      streams,
      get opened() {
        return streams.length
      },
      open: async (given: AdsStreamEvents): Promise<AdsStream> => {
        const record: StreamRecord = { sent: [], received: [] }
        streams.push(record)
        const events: AdsStreamEvents = {
          ...given,
          onResponse: (response) => {
            record.received.push(response.nonce)
            given.onResponse(response)
          },
        }
        let over = false
        const later = (fn: () => void): void => {
          setImmediate(() => {
            if (!over) fn()
          })
        }
        const end = (ending: Ending): void =>
          later(() => {
            over = true
            events.onEnd(toControlError(ending, 'the configuration stream', 'fake-istiod', 'a token'))
          })
        const refused = this.refuse.shift()
        if (refused) {
          end(refused)
          return {
            send: () => undefined,
            close: () => {
              over = true
            },
          }
        }
        const { talk, request } = flavour === 'delta' ? this.#delta(later, events, end) : this.#sotw(later, events, end)
        return {
          send: (r) => {
            sent.push(r)
            record.sent.push(r)
            request(r)
          },
          close: () => {
            over = true
            this.streams.delete(talk)
          },
        }
      },
    }
  }
  #delta(
    later: (fn: () => void) => void,
    events: AdsStreamEvents,
    end: (ending: Ending) => void,
  ): { talk: DeltaTalk; request: (r: AdsRequest) => void } {
    const talk = new DeltaTalk(this, (response) => later(() => events.onResponse(response)), end)
    return { talk, request: (r) => later(() => talk.request(r)) }
  }
  #sotw(
    later: (fn: () => void) => void,
    events: AdsStreamEvents,
    end: (ending: Ending) => void,
  ): { talk: SotwTalk; request: (r: AdsRequest) => void } {
    const words = new SotwStream()
    const talk = new SotwTalk(this, (response) => later(() => events.onResponse(words.response(response))), end)
    return {
      talk,
      request: (r) => {
        const said = words.request(r)
        later(() => talk.request(said))
      },
    }
  }
  #of(kind: ResourceKind): Map<string, Uint8Array> {
    const known = this.#resources.get(kind) ?? new Map<string, Uint8Array>()
    this.#resources.set(kind, known)
    return known
  }
}

/** What istiod sends for a route table that it does not know: everything goes to its original destination. */
export function allowAny(name: string): Uint8Array {
  return toBinary(
    RouteConfigurationSchema,
    create(RouteConfigurationSchema, {
      name,
      virtualHosts: [
        {
          name: 'allow_any',
          domains: ['*'],
          routes: [
            {
              name: 'allow_any',
              match: { pathSpecifier: { case: 'prefix', value: '/' } },
              action: { case: 'route', value: { clusterSpecifier: { case: 'cluster', value: 'PassthroughCluster' } } },
            },
          ],
        },
      ],
    }),
  )
}
