/** The next snapshot while changes are applied to the one in force. */
import type { RawResource, ResourceKind, Snapshot } from '../model/snapshot.ts'
import type { Rejected } from './findings.ts'
import type { References } from './references.ts'
import type { SavedChange } from './snapshot/types.ts'

export class Draft {
  readonly #resources: Record<ResourceKind, ReadonlyMap<string, RawResource>>
  /** What differs from the snapshot in force. */
  readonly saved: SavedChange[] = []
  readonly rejected: Rejected[] = []
  /** Resources in force as they were sent, with blocked pieces: a push that repeats one gets the same issues. */
  readonly stillBlocked: Rejected[] = []
  /** What the next snapshot does not hold any more. */
  readonly gone: RawResource[] = []
  /** Only what changes is copied: a stream that comes back mostly says that everything is as it was. */
  readonly #copies = new Map<ResourceKind, Map<string, RawResource>>()

  constructor(inForce: Snapshot['resources']) {
    this.#resources = { ...inForce }
  }

  get resources(): Snapshot['resources'] {
    return this.#resources
  }
  get(kind: ResourceKind, name: string): RawResource | undefined {
    return this.#resources[kind].get(name)
  }

  put(kind: ResourceKind, raw: RawResource, references: References): void {
    const { name } = raw
    const known = this.get(kind, name)
    if (known) this.gone.push(known)
    this.#copy(kind).set(name, raw)
    this.saved.push({ kind, name, put: raw, references })
  }

  remove(kind: ResourceKind, name: string): void {
    const known = this.get(kind, name)
    if (!known) return
    this.gone.push(known)
    this.#copy(kind).delete(name)
    this.saved.push({ kind, name, put: undefined })
  }

  #copy(kind: ResourceKind): Map<string, RawResource> {
    const known = this.#copies.get(kind)
    if (known) return known
    const made = new Map(this.#resources[kind])
    this.#copies.set(kind, made)
    this.#resources[kind] = made
    return made
  }
}
