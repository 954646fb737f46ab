/**
 * How a listener words the answers that the proxy gives itself: the HttpConnectionManager's local_reply_config. Text is
 * bytes as latin1 characters.
 */
import type { LogFilter } from '../access-log/filter.ts'
import type { LogFormat } from '../access-log/format.ts'
import type { HeaderEdit } from '../route.ts'

export type LocalReplyConfig = {
  /** The first whose filter takes the answer counts. */
  readonly mappers: readonly ReplyMapper[]
  /** Where the mapper has none of its own; left out: the text stays as it is. */
  readonly format?: ReplyFormat
}
export type ReplyMapper = {
  readonly filter: LogFilter
  readonly status?: number
  readonly body?: string
  readonly format?: ReplyFormat
  readonly headers: HeaderEdit
}
export type ReplyFormat = { readonly format: LogFormat; readonly contentType: string }
