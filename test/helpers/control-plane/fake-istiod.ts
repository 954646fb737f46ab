/**
 * An istiod that says what a test wants, with the habits of a real one (istio pilot/pkg/xds/delta.go, ads.go and what
 * was seen on the wire): the rules of its answers as plain objects, and a transport without sockets.
 * test/helpers/control-plane/fake-istiod-server.ts puts gRPC around it.
 */
import { create, toBinary } from '@bufbuild/protobuf'
import type { ResourceKind } from '../../../model/snapshot.ts'
import { controlError } from '../../../control-sync/ads/errors.ts'
import type { AdsRequest, AdsResponse } from '../../../control-sync/ads/protocol.ts'
import { SotwStream, type SotwRequest, type SotwResponse } from '../../../control-sync/ads/sotw.ts'
import { ClusterLoadAssignmentSchema } from '../../../proto/gen/envoy/config/endpoint/v3/endpoint_pb.ts'
import { RouteConfigurationSchema } from '../../../proto/gen/envoy/config/route/v3/route_pb.ts'
import type { AdsStream, AdsStreamEvents, AdsTransport } from '../../../control-sync/ads/transport.ts'
import type { Sample } from './resources.ts'

/** gRPC status of an ended stream, with istiod's words. */
export type Ending = { readonly code: number; readonly details: string }
export const ENDINGS = {
  missingNode: { code: 3, details: 'missing node information' },
  notReady: { code: 2, details: 'server is not ready to serve discovery information' },
  noIdentity: { code: 16, details: 'authentication failure' },
  otherIdentity: {
    code: 7,
    details: 'authorization failed: no identities ([spiffe://cluster.local/ns/a/sa/b]) matched edge/gateway',
  },
  rate: { code: 8, details: 'request rate limit exceeded: rate: Wait(n=1) would exceed context deadline' },
  noGroup: { code: 9, details: 'auto-register WorkloadGroup edge/gw not found' },
  dropped: { code: 14, details: 'Connection dropped' },
  gzip: { code: 12, details: 'grpc: Decompressor is not installed for grpc-encoding "gzip"' },
  noDelta: {
    code: 12,
    details:
      'unknown method DeltaAggregatedResources for service envoy.service.discovery.v3.AggregatedDiscoveryService',
  },
} as const satisfies Record<string, Ending>

/** What went over one stream. */
export type StreamRecord = { readonly sent: AdsRequest[]; /** Nonces. */ readonly received: string[] }
export type FakeTransport = AdsTransport & {
  readonly sent: readonly AdsRequest[]
  readonly streams: readonly StreamRecord[]
  readonly opened: number
}

/** Asked for whole: CDS, LDS and every kind that Envoy does not know. */
const WHOLE: readonly ResourceKind[] = ['cluster', 'listener', 'nameTable', 'proxyConfig']
const PUSH_ORDER: readonly ResourceKind[] = [
  'cluster',
  'endpoint',
  'listener',
  'route',
  'extension',
  'nameTable',
  'proxyConfig',
]
type Watch = { names: Set<string>; nonce: string; acked: string; error: string }
type Resources = readonly (readonly [name: string, value: Uint8Array])[]

export class FakeIstiod {
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
            events.onEnd(controlError(ending, 'the configuration stream', 'fake-istiod', 'a token'))
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

/** One delta stream. */
export class DeltaTalk {
  readonly #istiod: FakeIstiod
  readonly #send: (response: AdsResponse) => void
  readonly #end: (ending: Ending) => void
  readonly watches = new Map<ResourceKind, Watch>()
  #hasNode = false

  constructor(istiod: FakeIstiod, send: (response: AdsResponse) => void, end: (ending: Ending) => void) {
    this.#istiod = istiod
    this.#send = send
    this.#end = end
    istiod.streams.add(this)
  }

  end(ending: Ending): void {
    this.#istiod.streams.delete(this)
    this.#end(ending)
  }

  request(r: AdsRequest): void {
    if (!this.#hasNode && !r.withNode) {
      this.end(ENDINGS.missingNode)
      return
    }
    this.#hasNode = true
    const watch = this.watches.get(r.kind)
    if (r.error !== undefined) {
      this.#istiod.log.push(`ADS:${r.kind}: ACK ERROR ${r.error}`)
      if (watch) watch.error = r.error
      return
    }
    if (!watch) {
      const names = new Set([...r.subscribe, ...r.known.keys()])
      names.delete('*')
      if (!WHOLE.includes(r.kind) && r.subscribe.length === 0)
        this.#istiod.log.push(`${r.kind} by name with an empty list`)
      this.watches.set(r.kind, { names, nonce: '', acked: '', error: '' })
      this.#answer(r.kind, names, r.subscribe.length === 0 ? undefined : new Set(names))
      return
    }
    if (r.nonce !== '' && r.nonce !== watch.nonce) {
      this.#istiod.expired++
      return
    }
    const isChanged = changeNames(watch.names, r)
    if (r.nonce !== '') {
      watch.acked = r.nonce
      watch.error = ''
    }
    if ((r.nonce === '') !== isChanged) this.#istiod.log.push(`${r.kind} Subscribed resources check mismatch`)
    if (!isChanged) return
    const asked = new Set(r.subscribe.filter((n) => n !== '*'))
    // Only names were given up: silence.
    if (r.subscribe.length === 0) return
    this.#answer(r.kind, watch.names, asked.size === 0 ? undefined : asked)
  }

  push({
    clusters,
    endpoints = [],
  }: {
    readonly clusters?: readonly string[]
    readonly endpoints?: readonly string[]
  }): void {
    const touched = new Set([...endpoints, ...(clusters ?? [])])
    for (const kind of PUSH_ORDER) {
      const watch = this.watches.get(kind)
      if (!watch || (clusters === undefined && kind !== 'endpoint')) continue
      if (kind === 'cluster') this.#pushClusters(watch, clusters ?? [])
      else if (kind === 'endpoint') {
        const concerned = watch.names.intersection(touched)
        if (concerned.size > 0) this.#respond(kind, this.#istiod.generate(kind, concerned), [])
      } else this.#whole(kind)
    }
  }
  pushAll(): void {
    for (const kind of PUSH_ORDER) if (this.watches.has(kind)) this.#whole(kind)
  }

  #whole(kind: ResourceKind): void {
    this.#generateAll(kind, this.watches.get(kind)!.names)
  }

  /** The changed ones, and those that are rebuilt for every push (inbound, BlackHole, Passthrough). */
  #pushClusters(watch: Watch, changed: readonly string[]): void {
    const now = this.#istiod.all('cluster')
    const rebuilt = now.filter(
      ([name]) =>
        changed.includes(name) ||
        name.startsWith('inbound|') ||
        (!name.includes('|') && /^(BlackHole|Passthrough)/.test(name)),
    )
    const removed = changed.filter((name) => watch.names.has(name) && !this.#istiod.get('cluster', name))
    for (const [name] of rebuilt) watch.names.add(name)
    for (const name of removed) watch.names.delete(name)
    this.#respond('cluster', rebuilt, removed)
  }

  /** @param asked undefined: the whole kind */
  #answer(kind: ResourceKind, names: ReadonlySet<string>, asked: ReadonlySet<string> | undefined): void {
    if (asked) this.#respond(kind, this.#istiod.generate(kind, asked), [])
    else this.#generateAll(kind, names)
    // Endpoints follow every answer about clusters, asked for or not.
    const endpoints = this.watches.get('endpoint')
    if (kind === 'cluster' && endpoints && endpoints.names.size > 0)
      this.#respond('endpoint', this.#istiod.generate('endpoint', endpoints.names), [])
  }

  #generateAll(kind: ResourceKind, names: ReadonlySet<string>): void {
    const made = this.#istiod.generate(kind, names)
    if (!made) return
    const have = new Set(made.map(([name]) => name))
    // ECDS is never removed: what nobody names is to be forgotten by the client.
    const removed = kind === 'extension' ? [] : [...names].filter((name) => !have.has(name)).sort()
    const watch = this.watches.get(kind)!
    if (WHOLE.includes(kind)) watch.names = have
    this.#respond(kind, made, removed)
  }

  #respond(kind: ResourceKind, made: Resources | undefined, removed: readonly string[]): void {
    if (!made) return
    const nonce = this.#istiod.nonce()
    this.watches.get(kind)!.nonce = nonce
    // Resource.version is always empty.
    this.#send({
      kind,
      nonce,
      systemVersion: this.#istiod.version,
      removed,
      resources: made.map(([name, value]) => ({ name, version: '', value })),
    })
  }
}

function changeNames(names: Set<string>, { subscribe, unsubscribe }: AdsRequest): boolean {
  let isChanged = false
  for (const name of subscribe)
    if (!names.has(name)) {
      names.add(name)
      isChanged = true
    }
  for (const name of unsubscribe) if (names.delete(name)) isChanged = true
  names.delete('*')
  return isChanged
}

/** One state-of-the-world stream (istio pkg/xds ShouldRespond). */
export class SotwTalk {
  readonly #istiod: FakeIstiod
  readonly #send: (response: SotwResponse) => void
  readonly #end: (ending: Ending) => void
  readonly #watches = new Map<ResourceKind, Watch>()

  constructor(istiod: FakeIstiod, send: (response: SotwResponse) => void, end: (ending: Ending) => void) {
    this.#istiod = istiod
    this.#send = send
    this.#end = end
    istiod.streams.add(this)
  }
  end(ending: Ending): void {
    this.#istiod.streams.delete(this)
    this.#end(ending)
  }

  request(r: SotwRequest): void {
    const watch = this.#watches.get(r.kind)
    if (r.error !== undefined) {
      this.#istiod.log.push(`ADS:${r.kind}: ACK ERROR ${r.error}`)
      return
    }
    const names = new Set(r.names)
    if (!WHOLE.includes(r.kind) && names.size === 0) {
      this.#watches.delete(r.kind)
      return
    }
    if (!watch || r.nonce === '') {
      this.#watches.set(r.kind, { names, nonce: '', acked: '', error: '' })
      this.#respond(r.kind, names)
      return
    }
    if (r.nonce !== watch.nonce) {
      this.#istiod.expired++
      return
    }
    const added = names.difference(watch.names)
    watch.names = names
    watch.acked = r.nonce
    if (added.size > 0) this.#respond(r.kind, added)
  }
  push({
    clusters,
    endpoints = [],
  }: {
    readonly clusters?: readonly string[]
    readonly endpoints?: readonly string[]
  }): void {
    for (const kind of PUSH_ORDER) {
      const watch = this.#watches.get(kind)
      if (!watch || (clusters === undefined && kind !== 'endpoint')) continue
      this.#respond(
        kind,
        kind === 'endpoint' ? watch.names.intersection(new Set([...endpoints, ...(clusters ?? [])])) : watch.names,
      )
    }
  }
  pushAll(): void {
    for (const [kind, { names }] of this.#watches) this.#respond(kind, names)
  }

  #respond(kind: ResourceKind, names: ReadonlySet<string>): void {
    const made = this.#istiod.generate(kind, names)
    if (!made || (made.length === 0 && !WHOLE.includes(kind))) return
    const nonce = this.#istiod.nonce()
    this.#watches.get(kind)!.nonce = nonce
    this.#send({ kind, nonce, version: this.#istiod.version, values: made.map(([, value]) => value) })
  }
}
