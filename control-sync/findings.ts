/**
 * What is not in force as it was sent: resources that were rejected as a whole, and of those in force the pieces that
 * are blocked, the fields without effect and what is left out. Counted and logged here; status and the control plane are
 * told of it.
 */
import type { Log } from '../core/log.ts'
import type { Cell, Family, Metrics } from '../core/metrics.ts'
import type { Issue, RawResource, ResourceKind } from '../model/snapshot.ts'
import { shareNotes, type Notes } from './notes.ts'
import type { References } from './references.ts'

/**
 * `blocked`: it is in force, and the pieces with these issues refuse. Else its last good version serves on, if there is
 * one.
 */
export type Rejected = {
  readonly kind: ResourceKind
  readonly name: string
  readonly issues: readonly Issue[]
  readonly blocked: boolean
}

export class Findings {
  readonly #log: Log
  readonly #rejectedCount: Family<'kind'>
  readonly #ignoredCount: Cell
  /** Of the resources in force, by their raw form: a new version has notes of its own. */
  readonly #notes = new Map<RawResource, { readonly kind: ResourceKind; readonly notes: Notes }>()
  /** By kind and name. */
  readonly #rejected = new Map<string, Rejected>()

  constructor({ log, metrics }: { readonly log: Log; readonly metrics: Metrics }) {
    this.#log = log
    this.#rejectedCount = metrics.counter(
      'mesh_config_resources_rejected_total',
      'Resources with something that cannot be taken, by kind: pieces of them refuse, or the previous version serves on.',
      ['kind'],
    )
    this.#ignoredCount = metrics
      .counter('mesh_config_ignored_fields_total', 'Fields of received resources that meshlet does not act upon.')
      .cell({})
  }

  get rejected(): readonly Rejected[] {
    return [...this.#rejected.values(), ...[...this.#notes.keys()].flatMap((raw) => this.blockedIn(raw) ?? [])]
  }
  get ignored(): readonly { readonly name: string; readonly fields: readonly string[] }[] {
    return [...this.#notes].flatMap(([{ name }, { notes }]) => (notes.ignored ? [{ name, fields: notes.ignored }] : []))
  }
  /** Features that are asked for and not implemented, in words, with the resources that ask for them. */
  get skipped(): ReadonlyMap<string, readonly { readonly kind: ResourceKind; readonly name: string }[]> {
    const all = [...this.#notes].flatMap(([{ name }, { kind, notes }]) =>
      (notes.skipped ?? []).map((what) => ({ what, kind, name })),
    )
    return Map.groupBy(all, ({ what }) => what)
  }

  blockedIn(raw: RawResource): Rejected | undefined {
    const noted = this.#notes.get(raw)
    return noted?.notes.blocked && { kind: noted.kind, name: raw.name, issues: noted.notes.blocked, blocked: true }
  }

  note(kind: ResourceKind, raw: RawResource, references: References | undefined): void {
    if (references?.notes) this.#notes.set(raw, { kind, notes: shareNotes(references.notes) })
  }
  /** It is in no snapshot any more. */
  forget(raw: RawResource): void {
    this.#notes.delete(raw)
  }
  countIgnored({ notes }: References): void {
    this.#ignoredCount.value += notes?.ignored?.length ?? 0
  }

  /** Counts, logs and remembers what a push brought. */
  report(rejected: readonly Rejected[]): void {
    for (const r of rejected) {
      if (!r.blocked) this.#rejected.set(`${r.kind} ${r.name}`, r)
      this.#rejectedCount.cell({ kind: r.kind }).value++
      const line = {
        evt: 'config.rejected',
        code: 'MESH_CONFIG_REJECTED',
        kind: r.kind,
        resource: r.name,
        blocked: r.blocked,
        issues: r.issues,
      }
      this.#log.warn(
        line,
        r.blocked
          ? 'what cannot be taken of a resource is blocked, the rest of it is in force'
          : 'resource refused, its last good version serves on',
      )
    }
  }
  /** It came anew and could be taken, or it is gone. */
  clearRejected(kind: ResourceKind, name: string): void {
    if (this.#rejected.size > 0) this.#rejected.delete(`${kind} ${name}`)
  }
  clearAllRejected(kind: ResourceKind): void {
    for (const [key, r] of this.#rejected) if (r.kind === kind) this.#rejected.delete(key)
  }
}
