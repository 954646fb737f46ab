/**
 * From what a control plane or a folder says to what is served: stage → decode → build tables → swap → save. One change
 * at a time. What is wrong in a resource blocks the piece that it is in (decode/fields/decode-path.ts), and the rest of
 * it is in force as it was sent: its last good version could be weaker than what is asked for. Only bytes that are no
 * such resource at all leave that version in force.
 */
import type { Clock, Timer } from '../core/os/clock.ts'
import type { Current } from '../core/current.ts'
import type { MeshError } from '../core/errors.ts'
import { detach } from '../core/defects/guard.ts'
import type { Log } from '../core/log.ts'
import type { Family, Metrics } from '../core/metrics.ts'
import { waitForNextTurn, TimeSlice } from '../core/os/time-slice.ts'
import { TYPE_URLS, type RawResource, type ResourceKind, type Snapshot } from '../model/snapshot.ts'
import type { Tables } from '../model/tables.ts'
import { AuthorizationAge } from './authorization-age.ts'
import { Draft } from './draft.ts'
import type { ReadFile } from './decode/fields/decode-path.ts'
import { Findings, type Rejected } from './findings.ts'
import { closeBlocks, Unpacked } from './snapshot/packed-resource.ts'
import { makeListeners, buildTables } from './mesh-tables.ts'
import {
  findDangling,
  NO_REFERENCES,
  type Dangling,
  type Holder,
  type NamedKind,
  type References,
  WHO_NAMES,
} from './references.ts'
import type { SnapshotSaver } from './snapshot/saver.ts'
import type { Ages, SavedChange, StoredSnapshot } from './snapshot/types.ts'
import { collectReferencesAgain, stage, type Incoming, type Staged } from './stage.ts'

export type Change = {
  readonly kind: ResourceKind
  readonly put: readonly Incoming[]
  readonly removed: readonly string[]
}
export type Applied = { readonly changed: number; readonly rejected: readonly Rejected[] }

export type ApplierOptions = {
  readonly node: string
  readonly tables: Current<Tables>
  /** Undefined: nothing is kept (a folder is its own store). */
  readonly saver: SnapshotSaver | undefined
  /**
   * What the decoders are and read by; left out: they are always the same. What others have stored about a resource is
   * found out anew.
   */
  readonly decodedBy?: string
  /** How long inbound listeners serve without a control plane; left out: for ever. */
  readonly authorization?: { readonly maxAgeMs: number; readonly isConnected: () => boolean }
  readonly clock: Clock
  readonly log: Log
  readonly metrics: Metrics
  /**
   * Files that resources name; only for resources that stand in files themselves: a control plane must not read this
   * machine's disk.
   */
  readonly readFile?: ReadFile
  /** Which files may be named for TLS where they are not read at once. */
  readonly files?: { permits(file: string): boolean }
  /** This node is a gateway (node.type: router). */
  readonly gateway?: boolean
}

/** Finding out that a resource is as it was takes microseconds; a look at the clock takes one, too. */
const UNCHANGED_A_LOOK = 32

/** The first requests of a start are not kept waiting for what only saves memory. */
const PACK_AFTER_START_MS = 1_000

const KINDS = Object.keys(TYPE_URLS) as ResourceKind[]
export const EMPTY_SNAPSHOT: Snapshot = {
  // `fromEntries` forgets which keys there are.
  resources: Object.fromEntries(KINDS.map((k) => [k, new Map()])) as unknown as Snapshot['resources'],
  savedAtMs: 0,
}

export class Applier implements Disposable {
  readonly #o: ApplierOptions
  readonly #changedCount: Family<'kind'>
  readonly #findings: Findings
  readonly #age: AuthorizationAge
  #snapshot = EMPTY_SNAPSHOT
  #generation = 0
  #references = new Map<RawResource, References>()
  readonly #unpacked = new Unpacked()
  #packing: Timer | undefined
  readonly #heard = new Set<ResourceKind>()
  /** Of the snapshot in force, once somebody has asked: a look at the status must not cost a walk over the mesh. */
  #dangling: readonly Dangling[] | undefined
  /** As long as the resources that say the names are the same. */
  readonly #named = new Map<NamedKind, { readonly by: readonly object[]; readonly names: ReadonlySet<string> }>()
  #work: Promise<unknown> = Promise.resolve()

  constructor(options: ApplierOptions) {
    this.#o = options
    const { metrics } = options
    options.saver?.savesFrom(() => this.#everything())
    this.#age = new AuthorizationAge({
      clock: options.clock,
      ...(options.authorization ?? { maxAgeMs: 0, isConnected: () => true }),
      changed: () => this.#swap(this.stale),
    })
    this.#changedCount = metrics.counter(
      'mesh_config_resources_changed_total',
      'Resources that a push changed, by kind.',
      ['kind'],
    )
    this.#findings = new Findings(options)
    metrics.gaugeOf(
      'mesh_config_stale',
      '1 while what is served came from disk and no control plane has confirmed it.',
      () => (this.stale ? 1 : 0),
    )
    metrics.gaugeOf(
      'mesh_config_generation',
      'Number of the configuration in force; each applied change adds one.',
      () => this.#generation,
    )
  }

  get snapshot(): Snapshot {
    return this.#snapshot
  }
  /**
   * Kinds of which something was said that could be used, be it that there are none; all once a stored configuration is
   * in force, names only if it has some.
   */
  get heard(): ReadonlySet<ResourceKind> {
    return this.#heard
  }
  get generation(): number {
    return this.#generation
  }
  get stale(): boolean {
    return this.#o.tables.get().stale
  }
  get rejected(): Findings['rejected'] {
    return this.#findings.rejected
  }
  get ignored(): Findings['ignored'] {
    return this.#findings.ignored
  }
  get skipped(): Findings['skipped'] {
    return this.#findings.skipped
  }
  /** Why the configuration in force is not on disk; undefined when it is. */
  get storageError(): MeshError | undefined {
    return this.#o.saver?.error
  }
  /**
   * Wall milliseconds, also of earlier runs: when a control plane was last heard of, and when each kind last changed.
   */
  get contactAtMs(): number | undefined {
    return this.#o.saver?.contactAtMs
  }
  get changedAtMs(): Ages {
    return this.#o.saver?.changedAtMs ?? {}
  }
  dangling(): readonly Dangling[] {
    return (this.#dangling ??= findDangling(this.#holders(WHO_NAMES.cluster), (name) =>
      this.#snapshot.resources.cluster.has(name),
    ))
  }

  /**
   * Names that the resources of these kinds refer to, e.g. all endpoint sets of the clusters. The same object while
   * none of these has changed.
   */
  referenced(kind: Exclude<NamedKind, 'cluster'>): ReadonlySet<string> {
    const by = WHO_NAMES[kind].map((k) => this.#snapshot.resources[k])
    const known = this.#named.get(kind)
    if (known && known.by.every((resources, i) => resources === by[i])) return known.names
    const names = new Set<string>()
    for (const resources of by)
      for (const raw of resources.values()) for (const name of this.#references.get(raw)?.[kind] ?? []) names.add(name)
    this.#named.set(kind, { by, names })
    return names
  }

  /** What one resource in force names. */
  references(kind: ResourceKind, name: string): References {
    const raw = this.#snapshot.resources[kind].get(name)
    return (raw && this.#references.get(raw)) ?? NO_REFERENCES
  }

  /**
   * The control plane says everything of this kind anew: what was refused and is still there comes again, and what it
   * does not send is gone.
   */
  forgetRejected(kind: ResourceKind): void {
    this.#findings.clearAllRejected(kind)
  }

  /** Cold start: serves what was stored, marked stale until the control plane has spoken. */
  restore(stored: StoredSnapshot): void {
    this.#snapshot = stored.snapshot
    this.#forgetDerived()
    this.#generation = stored.generation
    this.#references = new Map(stored.references)
    for (const kind of KINDS)
      for (const raw of stored.snapshot.resources[kind].values())
        this.#findings.note(kind, raw, this.#references.get(raw))
    this.#o.saver?.restored({ ...stored, savedAtMs: stored.snapshot.savedAtMs })
    this.#age.restored(stored.contactAtMs ?? stored.snapshot.savedAtMs)
    // No stored names: they may not have been asked for.
    for (const kind of KINDS)
      if (kind !== 'nameTable' || stored.snapshot.resources.nameTable.size > 0) this.#heard.add(kind)
    this.#swap(true)
    for (const { put } of this.#everything()) if (put) this.#unpacked.add(put)
    this.#packing = this.#o.clock.after(PACK_AFTER_START_MS, () => {
      const slice = new TimeSlice(this.#o.clock)
      detach('configuration', (this.#work = this.#work.then(() => this.#pack(slice)).then(() => this.#renew(slice))))
    })
  }

  /** After an upgrade, or with other settings: what is told of a resource is what these decoders say. */
  async #renew(slice: TimeSlice): Promise<void> {
    const { decodedBy } = this.#o
    if (decodedBy === undefined) return
    for (const kind of KINDS) {
      for (const raw of this.#snapshot.resources[kind].values()) {
        if (this.#references.get(raw)?.by === decodedBy) continue
        const found = await collectReferencesAgain(kind, raw, this.#o, slice)
        if (slice.due) await slice.yield()
        if (!found || !this.#references.has(raw)) continue
        this.#findings.forget(raw)
        this.#references.set(raw, { ...found, by: decodedBy })
        this.#findings.note(kind, raw, found)
      }
    }
    this.#forgetDerived()
  }

  /**
   * Applies changes as one generation. Calls are worked off in order. What is served is stored a moment later; a disk
   * that cannot take it keeps nothing from being served (`storageError`). Never rejects.
   */
  apply(changes: readonly Change[]): Promise<Applied> {
    const done = this.#work.then(async () => {
      const slice = new TimeSlice(this.#o.clock)
      const applied = await this.#apply(changes, slice)
      closeBlocks()
      if (applied.changed > 0) await this.#pack(slice)
      // What follows a large change, often another, is not put on top of its last slice.
      if (slice.hasYielded) await waitForNextTurn()
      for (const { kind } of changes)
        if (!applied.rejected.some((r) => r.kind === kind && !r.blocked)) this.#heard.add(kind)
      return applied
    })
    this.#work = done.catch(() => undefined)
    return done
  }
  /** The control plane is there, or was until now, be it that it said nothing. */
  contact(): void {
    this.#o.saver?.contact()
    this.#age.contact()
  }
  /** The control plane has confirmed what came from disk. */
  confirm(): void {
    if (this.stale) this.#swap(false)
  }

  async #apply(changes: readonly Change[], slice: TimeSlice): Promise<Applied> {
    const draft = new Draft(this.#snapshot.resources)
    this.contact()
    for (const { kind, put, removed } of changes) {
      for (let i = 0; i < put.length; i++) {
        const incoming = put[i]!
        const staging = stage(kind, incoming, draft.get(kind, incoming.name), this.#o, slice)
        const staged = staging instanceof Promise ? await staging : staging
        if ((staged.outcome !== 'same' || i % UNCHANGED_A_LOOK === 0) && slice.due) await slice.yield()
        this.#take(draft, kind, incoming.name, staged)
      }
      for (const name of removed) {
        this.#findings.clearRejected(kind, name)
        draft.remove(kind, name)
      }
    }
    // What follows is one turn, and not on top of the last slice.
    if (slice.due) await slice.yield()
    const { resources, saved, rejected, stillBlocked } = draft
    for (const [kind, of] of Map.groupBy(saved, (s) => s.kind)) this.#changedCount.cell({ kind }).value += of.length
    this.#findings.report(rejected)
    const applied = { changed: saved.length, rejected: [...rejected, ...stillBlocked] }
    if (saved.length === 0) {
      this.confirm()
      return applied
    }
    for (const listeners = makeListeners(resources, this.#o); !listeners.next().done;)
      if (slice.due) await slice.yield()
    this.#putInForce(draft)
    return applied
  }

  #take(draft: Draft, kind: ResourceKind, name: string, staged: Staged): void {
    if (staged.outcome === 'refused') {
      draft.rejected.push({ kind, name, issues: staged.issues, blocked: false })
      return
    }
    this.#findings.clearRejected(kind, name)
    if (staged.outcome === 'same') {
      const blocked = this.#findings.blockedIn(draft.get(kind, name)!)
      if (blocked) draft.stillBlocked.push(blocked)
      return
    }
    const { raw } = staged
    const { decodedBy } = this.#o
    const references = decodedBy === undefined ? staged.references : { ...staged.references, by: decodedBy }
    draft.put(kind, raw, references)
    this.#unpacked.add(raw)
    this.#references.set(raw, references)
    this.#findings.note(kind, raw, references)
    this.#findings.countIgnored(references)
    const blocked = this.#findings.blockedIn(raw)
    if (blocked) draft.rejected.push(blocked)
  }

  #putInForce({ resources, saved, rejected, gone }: Draft): void {
    const savedAtMs = this.#o.clock.wallMs()
    const generation = this.#generation + 1
    this.#snapshot = { resources, savedAtMs }
    this.#dangling = undefined
    this.#generation = generation
    for (const raw of gone) {
      this.#references.delete(raw)
      this.#findings.forget(raw)
    }
    this.#swap(false)
    this.#o.saver?.add({ generation, savedAtMs }, saved)
    this.#o.log.info(
      { evt: 'config.applied', generation, changed: saved.length, rejected: rejected.length },
      'configuration applied',
    )
  }

  #forgetDerived(): void {
    this.#dangling = undefined
    this.#named.clear()
  }

  #swap(stale: boolean): void {
    this.#o.tables.swap(
      buildTables(this.#snapshot, { generation: this.#generation, stale, inboundClosed: this.#age.expired }, this.#o),
    )
  }
  [Symbol.dispose](): void {
    this.#packing?.cancel()
    this.#age[Symbol.dispose]()
  }

  async #pack(slice: TimeSlice): Promise<void> {
    const blocks = this.#unpacked.pack((raw) => this.#references.has(raw))
    do if (slice.due) await slice.yield()
    while (!blocks.next().done)
  }

  #everything(): SavedChange[] {
    return KINDS.flatMap((kind) =>
      [...this.#snapshot.resources[kind]].map(([name, put]) => ({
        kind,
        name,
        put,
        references: this.#references.get(put) ?? NO_REFERENCES,
      })),
    )
  }

  *#holders(kinds: readonly ResourceKind[]): Iterable<Holder> {
    for (const kind of kinds) {
      for (const [name, raw] of this.#snapshot.resources[kind])
        yield { kind, name, references: this.#references.get(raw) ?? NO_REFERENCES }
    }
  }
}
