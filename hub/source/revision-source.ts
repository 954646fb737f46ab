/**
 * The hub's source: each device is sent the resources of the revision that it is to have. Which one that is stands in
 * the registry, so every replica serves the same, and a restart changes nothing.
 */
import type { Clock, Timer } from '../../core/os/clock.ts'
import { detach, doNothing, guard } from '../../core/defects/guard.ts'
import { MeshError } from '../../core/errors.ts'
import type { Log } from '../../core/log.ts'
import type { Metrics } from '../../core/metrics.ts'
import { TimeSlice } from '../../core/os/time-slice.ts'
import { isNodeName } from '../registry/node-names.ts'
import type { OpenRegistry } from '../registry/registry.ts'
import { decideRevision, listRevisions, type Desired } from '../rollout/desired.ts'
import type { CompiledRevision, ServedNode } from './compiled.ts'
import type { LiveRevisions } from './live-revisions.ts'
import { makeResourceSet, type ResourceSet, type Source, type Watched } from './resources.ts'

export type RevisionSourceOptions = {
  readonly registry: OpenRegistry
  readonly live: LiveRevisions
  readonly clock: Clock
  readonly log: Log
  readonly metrics: Metrics
}

/** Whoever has changed the registry, it is noticed within this time. */
const LOOK_MS = 500
/** Nothing is known yet, so nothing is gone. */
const NOTHING: ResourceSet = makeResourceSet([], 'later')

type Listener = (next: ResourceSet) => void
type Node = ServedNode & {
  set: ResourceSet
  /** What `set` was made from. */
  from: CompiledRevision | undefined
  readonly listeners: Set<Listener>
  /** Until its labels and its revision are known. */
  ready: Promise<void> | undefined
  areLabelsKnown: boolean
}

export class RevisionSource implements Source, Disposable {
  readonly #o: RevisionSourceOptions
  readonly #nodes = new Map<string, Node>()
  #desired: Desired = { assignments: [], active: undefined }
  #compiled: ReadonlyMap<string, CompiledRevision> = new Map()
  #seen: string | undefined
  #refreshing: Promise<void> = Promise.resolve()
  #timer: Timer | undefined
  #isOver = false

  private constructor(o: RevisionSourceOptions) {
    this.#o = o
    o.metrics.gaugeOf('mesh_hub_nodes_known', 'Nodes that the hub serves resources to.', () => this.#nodes.size)
  }

  /** What was in force when the hub ended is in force again. */
  static async open(o: RevisionSourceOptions): Promise<RevisionSource> {
    const source = new RevisionSource(o)
    await source.refresh()
    source.#lookLater()
    return source
  }

  /** Throws MESH_CONFIG_INVALID when the name cannot be a folder's. */
  watch(name: string, onChange: Listener): Watched {
    // A name comes from a device: it may not lead out of the folder.
    if (!isNodeName(name))
      throw new MeshError(
        'MESH_CONFIG_INVALID',
        `${JSON.stringify(name.slice(0, 64))} cannot be the name of a node's folder`,
      )
    const node = this.#nodes.get(name) ?? this.#add(name)
    const listener: Listener = (next) => onChange(next) // the same function may watch twice
    node.listeners.add(listener)
    return {
      current: () => node.set,
      get ready() {
        return node.ready
      },
      [Symbol.dispose]: () => {
        node.listeners.delete(listener)
        if (node.listeners.size === 0 && this.#nodes.get(name) === node) this.#nodes.delete(name)
      },
    }
  }

  /** Looks what each device is to have, and sends it to those that have something else. Never rejects. */
  refresh(): Promise<void> {
    this.#refreshing = this.#refreshing.then(() => this.#refresh())
    return this.#refreshing
  }

  [Symbol.dispose](): void {
    this.#isOver = true
    this.#timer?.cancel()
  }

  #add(name: string): Node {
    const node: Node = {
      name,
      labels: {},
      set: NOTHING,
      from: undefined,
      listeners: new Set(),
      ready: undefined,
      areLabelsKnown: false,
    }
    this.#nodes.set(name, node)
    const ready = this.#start(node)
    node.ready = ready
    detach('hub', ready)
    return node
  }

  async #start(node: Node): Promise<void> {
    await this.#readLabels(node)
    await this.#catchUp()
    if (node.areLabelsKnown) {
      node.from = this.#revisionOf(node)
      node.set = node.from?.resourcesOf(node) ?? NOTHING
    }
    node.ready = undefined
  }

  /** Without its labels a device would be sent what is for others, and told that its own is gone: it waits. */
  async #readLabels(node: Node): Promise<void> {
    try {
      const enrolled = await this.#o.registry.enrollments.byName(node.name)
      Object.assign(node, { labels: enrolled?.labels ?? {}, areLabelsKnown: true })
    } catch (err) {
      this.#o.log.warn({ evt: 'hub.registry', node: node.name, err }, 'the labels of a device cannot be read')
    }
  }

  async #readLabelsAgain(): Promise<void> {
    for (const node of this.#nodes.values()) {
      if (node.areLabelsKnown || node.ready !== undefined) continue
      await this.#readLabels(node)
      if (!node.areLabelsKnown) return
      this.#update(node)
    }
  }

  /** One that comes from another hub may have what has not been looked at here, and would be sent back for a moment. */
  async #catchUp(): Promise<void> {
    if (this.#isRegistrySeen()) return
    this.#refreshing = this.#refreshing.then(async () => {
      // All others follow with the next look: with each that comes, it would be work for the whole fleet.
      await this.#readDesired()
    })
    await this.#refreshing
  }

  #isRegistrySeen(): boolean {
    try {
      return this.#o.registry.revision === this.#seen
    } catch {
      return true // told by whoever needs it
    }
  }

  /** @returns of which revision of the registry it is; undefined: it cannot be read */
  async #readDesired(): Promise<string | undefined> {
    const { registry, live, log } = this.#o
    try {
      const { revision } = registry
      const desired = await registry.rollouts.desired()
      const compiled = new Map<string, CompiledRevision>()
      for (const id of listRevisions(desired)) compiled.set(id, await live.get(id))
      this.#desired = desired
      this.#compiled = compiled
      live.retain(new Set(compiled.keys()))
      return revision
    } catch (err) {
      log.warn({ evt: 'hub.registry', err }, 'what devices are to have cannot be read; they are served what they had')
      return undefined
    }
  }

  async #refresh(): Promise<void> {
    const { log, clock } = this.#o
    const revision = await this.#readDesired()
    if (revision === undefined) return
    this.#seen = revision
    const slice = new TimeSlice(clock)
    let changed = 0
    for (const node of this.#nodes.values()) {
      if (slice.due) await slice.yield()
      if (node.ready === undefined && node.areLabelsKnown && this.#update(node)) changed++
    }
    if (changed > 0)
      log.info(
        { evt: 'hub.resources-changed', nodes: changed, of: this.#nodes.size },
        'devices are sent another revision',
      )
  }

  /** @returns whether it is to have another revision than before */
  #update(node: Node): boolean {
    const from = this.#revisionOf(node)
    if (!from || from === node.from) return false
    node.from = from
    node.set = from.resourcesOf(node)
    for (const listener of node.listeners) listener(node.set)
    return true
  }

  #revisionOf(node: Node): CompiledRevision | undefined {
    const id = decideRevision(this.#desired, node)
    return id === undefined ? undefined : this.#compiled.get(id)
  }

  #lookLater(): void {
    if (this.#isOver) return
    this.#timer = this.#o.clock.after(
      LOOK_MS,
      guard('hub', doNothing, () => {
        detach(
          'hub',
          this.#look().then(() => this.#lookLater()),
        )
      }),
    )
  }

  async #look(): Promise<void> {
    if (!this.#isRegistrySeen()) await this.refresh()
    await this.#readLabelsAgain()
  }
}
