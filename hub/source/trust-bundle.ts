/**
 * Whom the mesh is to trust, beside each node's resources: revocation lists, and the roots while they rotate, in Istio's
 * ProxyConfig, which agents ask for with `control.trustBundle`. It changes within a second of what the registry says, whoever wrote that.
 */
import { create, toBinary } from '@bufbuild/protobuf'
import type { Clock, Timer } from '../../core/os/clock.ts'
import { detach, guard, doNothing } from '../../core/defects/guard.ts'
import type { Log } from '../../core/log.ts'
import type { Cell, Metrics } from '../../core/metrics.ts'
import { TYPE_URLS } from '../../model/snapshot.ts'
import { ProxyConfigSchema } from '../../proto/gen/istio/mesh/v1alpha1/proxy_pb.ts'
import type { Ca } from '../ca/ca.ts'
import { listKeyHashes } from '../ca/key-hash.ts'
import type { OpenRegistry } from '../registry/registry.ts'
import { RevocationLists } from './revocation-lists.ts'
import {
  hashContent,
  makeResourceSet,
  overlay,
  type NodeFacts,
  type ResourceSet,
  type Source,
  type Watched,
} from './resources.ts'

export type TrustBundleOptions = {
  readonly ca: Ca
  readonly registry: OpenRegistry
  readonly clock: Clock
  readonly log: Log
  readonly metrics: Metrics
  /** Serials on the list at most. */
  readonly maxSerials?: number
  /** Other roots are trusted, or another one signs (`meshlet-hub roots`). */
  readonly rootsChanged: () => void
}

const LOOK_MS = 500
/** About ten megabytes, five when packed: those that end last stay on the lists, and the hub itself refuses them all. */
const MAX_SERIALS = 250_000
const NAME = 'mesh'

export class TrustBundle implements Source, Disposable {
  readonly #source: Source
  readonly #o: TrustBundleOptions
  readonly #listeners = new Set<() => void>()
  readonly #lists = new RevocationLists()
  #revision: string | undefined
  /** Other hubs on the registry have other roots. */
  #isBehind = false
  /** What was sent last: serials, and roots while they rotate. */
  #sent = ''
  #own: ResourceSet = makeResourceSet([])
  /** Many nodes share one set. */
  #merged = new WeakMap<ResourceSet, ResourceSet>()
  readonly #leftOut: Cell
  #timer: Timer | undefined
  #isOver = false

  private constructor(source: Source, o: TrustBundleOptions) {
    this.#source = source
    this.#o = o
    this.#leftOut = o.metrics
      .gauge(
        'mesh_hub_revoked_left_out',
        'Revoked certificates that have not ended and that agents are not told of, because the list is full.',
      )
      .cell({})
  }

  /** @param source of everything else */
  static async open(source: Source, o: TrustBundleOptions): Promise<TrustBundle> {
    const bundle = new TrustBundle(source, o)
    await bundle.#look()
    return bundle
  }

  watch(node: string, onChange: (next: ResourceSet) => void, facts?: NodeFacts): Watched {
    const watched = this.#source.watch(node, (next) => onChange(this.#with(next)), facts)
    const listener = (): void => onChange(this.#with(watched.current()))
    this.#listeners.add(listener)
    return {
      current: () => this.#with(watched.current()),
      get ready() {
        return watched.ready
      },
      [Symbol.dispose]: () => {
        this.#listeners.delete(listener)
        watched[Symbol.dispose]()
      },
    }
  }

  [Symbol.dispose](): void {
    this.#isOver = true
    this.#timer?.cancel()
  }

  #with(set: ResourceSet): ResourceSet {
    if (this.#own.types.size === 0) return set
    const known = this.#merged.get(set)
    if (known) return known
    const made = overlay(set, this.#own, set.removals)
    this.#merged.set(set, made)
    return made
  }

  async #look(): Promise<void> {
    try {
      await this.#read()
    } catch (err) {
      this.#o.log.warn({ evt: 'hub.registry', err }, 'what is revoked is not to be read; the list of before counts on')
    }
    if (this.#isOver) return
    this.#timer = this.#o.clock.after(
      LOOK_MS,
      guard('hub', doNothing, () => detach('hub', this.#look())),
    )
  }

  async #readSerials(): Promise<readonly string[]> {
    const { registry, clock, log, maxSerials = MAX_SERIALS } = this.#o
    const nowMs = clock.wallMs()
    const serials = await registry.revokedSerials(nowMs, maxSerials)
    const leftOut = serials.length < maxSerials ? 0 : (await registry.countRevoked(nowMs)) - serials.length
    if (leftOut > this.#leftOut.value)
      log.warn(
        { evt: 'hub.trust', listed: serials.length, leftOut },
        'more certificates are revoked than agents are told of; the hub refuses them all',
      )
    this.#leftOut.value = leftOut
    return serials
  }

  /** Roots were rotated at another hub: this one goes on with what it has, and takes what is copied here. */
  async #compare(): Promise<void> {
    const { ca, registry, log } = this.#o
    const known = (await registry.authority('ca')).join(' ')
    const own = listKeyHashes(ca.roots).join(' ')
    const wasBehind = this.#isBehind
    this.#isBehind = known !== '' && known !== own
    if (this.#isBehind && !wasBehind)
      log.error(
        { evt: 'hub.roots-behind', known, own },
        'roots were rotated at another hub: copy the folder ca of its state to this one',
      )
    if (wasBehind && !this.#isBehind) log.info({ evt: 'hub.roots' }, 'the roots are those of the other hubs')
  }

  async #read(): Promise<void> {
    const { ca, registry, clock, log } = this.#o
    const { revision } = registry
    if (revision === this.#revision && !this.#isBehind) return
    const serials = await this.#readSerials()
    if (ca.reload()) this.#o.rootsChanged()
    await this.#compare()
    this.#revision = revision
    const caCertificatesPem = ca.roots.length > 1 ? ca.roots.map((root) => root.certificatePem) : []
    const content = serials.join() + caCertificatesPem.join('')
    if (content === this.#sent) return
    this.#sent = content
    const certificateRevocationListsPem = [...this.#lists.sign(ca.roots, serials, clock.wallMs())]
    const bundle = create(ProxyConfigSchema, { caCertificatesPem, certificateRevocationListsPem })
    const value = toBinary(ProxyConfigSchema, bundle)
    // By what it says: signatures differ.
    const version = hashContent(content)
    this.#own = makeResourceSet([{ name: NAME, typeUrl: TYPE_URLS.proxyConfig, version, value }])
    this.#merged = new WeakMap()
    log.info(
      { evt: 'hub.trust', revoked: serials.length, roots: ca.roots.length },
      'other roots or another revocation list go to the agents',
    )
    for (const listener of this.#listeners) listener()
  }
}
