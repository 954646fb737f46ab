/**
 * An answer of our own in the words of the listener (local_reply_config). Pure. As in Envoy it is done before gRPC
 * callers get the answer as a status, so that they are told the new words, too.
 */
import type { Random } from '../../../../core/os/clock.ts'
import type { LogFacts } from '../../../../model/access-log/facts.ts'
import { matchesFilter } from '../../../../model/access-log/filter.ts'
import { formatLine } from '../../../../model/access-log/format.ts'
import type { LocalReplyConfig } from '../../../../model/http/local-reply.ts'
import type { HeaderEdit } from '../../../../model/route.ts'
import { findFirstValue, setHeader } from '../../filters/header-edit.ts'
import { removeHeader } from '../../codec/field-table.ts'
import type { LocalReply } from './reply.ts'

export type ReplyFacts = {
  /** Of the answer with that status and that text. */
  facts(reply: LocalReply): LogFacts
  edit(headers: string[], edit: HeaderEdit, status: number): void
  readonly random: Random
}

export function rewriteReply(reply: LocalReply, config: LocalReplyConfig | undefined, of: ReplyFacts): LocalReply {
  if (!config) return reply
  const mapper = config.mappers.find(({ filter }) => matchesFilter(filter, of.facts(reply), of.random))
  const own = mapper?.format ?? config.format
  if (!mapper && !own) return reply
  const headers = [...reply.headers]
  const before = findFirstValue(headers, 'content-type')
  if (mapper) of.edit(headers, mapper.headers, reply.status)
  const mapped: LocalReply = {
    ...reply,
    headers,
    status: mapper?.status ?? reply.status,
    ...(mapper?.body !== undefined && { text: mapper.body, end: '' as const }),
  }
  const text = own ? formatLine(own.format, of.facts(mapped)) : mapped.text
  const type = findFirstValue(headers, 'content-type')
  if (text === '') removeHeader(headers, 'content-type')
  else if (type === undefined || (text !== reply.text && type === before))
    setHeader(headers, 'content-type', own?.contentType ?? 'text/plain')
  return { ...mapped, text, end: own ? '' : mapped.end }
}
