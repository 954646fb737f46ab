import type { ErrorCode, MeshError } from '../../../core/errors.ts'
import type { StatusParts } from '../status-parts.ts'

export type Found = readonly (MeshError | undefined)[] | MeshError | undefined
export type Condition = {
  readonly name: string
  /** In words, for docs/status.md. */
  readonly holds: string
  /** Those that it is told with; of identity and link the most frequent ones. */
  readonly codes: readonly ErrorCode[]
  readonly find: (p: StatusParts) => Found
}
