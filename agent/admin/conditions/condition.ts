import type { ErrorCode, MeshError } from '../../../core/errors.ts'
import type { StatusParts } from '../status-parts.ts'

export type Found = readonly (MeshError | undefined)[] | MeshError | undefined
export type Condition = {
  readonly name: string
  /** In words, for docs/status.md. */
  readonly holds: string
  /** Codes that it is reported with; of identity and link the most frequent ones. */
  readonly codes: readonly ErrorCode[]
  readonly find: (p: StatusParts) => Found
}
