/** Changes of header fields. Names lower case. */
import type { StringMatch } from '../matcher.ts'

/** Applied in the order remove, add. */
export type HeaderEdit = {
  readonly remove: readonly string[]
  /** Names that it matches are removed, too. */
  readonly removeMatching?: StringMatch
  readonly add: readonly HeaderAdd[]
}
export type HeaderAdd = {
  readonly name: string
  readonly value: string
  readonly how: 'append' | 'overwrite' | 'if-absent' | 'overwrite-present'
  readonly keepEmpty?: boolean
}
