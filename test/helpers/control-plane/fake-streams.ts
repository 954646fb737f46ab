/** What the fake istiod answers on one stream, of either flavour. */
import type { ResourceKind } from '../../../model/snapshot.ts'
import type { AdsRequest, AdsResponse } from '../../../control-sync/ads/protocol.ts'
import type { SotwRequest, SotwResponse } from '../../../control-sync/ads/sotw.ts'

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

export type Resources = readonly (readonly [name: string, value: Uint8Array])[]

/** What a stream needs of the istiod that it belongs to. */
export interface IstiodOfStreams {
  readonly streams: Set<DeltaTalk | SotwTalk>
  readonly log: string[]
  expired: number
  readonly version: string
  get(kind: ResourceKind, name: string): Uint8Array | undefined
  all(kind: ResourceKind): Resources
  generate(kind: ResourceKind, names: ReadonlySet<string>): Resources | undefined
  nonce(): string
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
/** One delta stream. */
export class DeltaTalk {
  readonly #istiod: IstiodOfStreams
  readonly #send: (response: AdsResponse) => void
  readonly #end: (ending: Ending) => void
  readonly watches = new Map<ResourceKind, Watch>()
  #hasNode = false

  constructor(istiod: IstiodOfStreams, send: (response: AdsResponse) => void, end: (ending: Ending) => void) {
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
  readonly #istiod: IstiodOfStreams
  readonly #send: (response: SotwResponse) => void
  readonly #end: (ending: Ending) => void
  readonly #watches = new Map<ResourceKind, Watch>()

  constructor(istiod: IstiodOfStreams, send: (response: SotwResponse) => void, end: (ending: Ending) => void) {
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
