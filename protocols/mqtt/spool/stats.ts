/** What the spool says of itself. */
import type { PerDay } from '../../../core/storage/daily-rate.ts'
import type { DurabilityProfile } from '../../../core/storage/storage.ts'

export type SpoolStats = {
  readonly messages: number
  readonly bytes: number
  readonly maxBytes: number
  readonly profile: DurabilityProfile
  /** To the device since the start, and in a day as in the last one; undefined: the system does not say. */
  readonly writtenBytes: number | undefined
  readonly writtenPerDay: PerDay | undefined
  /** Damaged files that are kept beside it. */
  readonly damagedFiles: number
  readonly damagedBytes: number
}
