/** Types of the stored snapshot and of its store. */
import type { RawResource, ResourceKind, Snapshot } from '../../model/snapshot.ts'
import type { References } from '../references.ts'

export type StoredSnapshot = {
  readonly snapshot: Snapshot
  readonly references: ReadonlyMap<RawResource, References>
  readonly generation: number
  /** Wall milliseconds: when a control plane was last heard of, and when each kind last changed. */
  readonly contactAtMs: number | undefined
  readonly changedAtMs: Ages
  /**
   * "kind name" of resources whose stored bytes are damaged: the version before is served, or none where there is no
   * such.
   */
  readonly damaged: readonly string[]
}
export type Ages = { readonly [K in ResourceKind]?: number }
export type SavedChange =
  | { readonly kind: ResourceKind; readonly name: string; readonly put: RawResource; readonly references: References }
  | { readonly kind: ResourceKind; readonly name: string; readonly put: undefined }
export type Save = {
  readonly node: string
  readonly generation: number
  readonly savedAtMs: number
  readonly contactAtMs: number | undefined
  readonly changedAtMs: Ages
  readonly changes: readonly SavedChange[]
}
/** What the copy holds, and when it was made (wall milliseconds). */
export type Copied = { readonly generation: number; readonly atMs: number }
