/** Retry policies of routes (core/route/retry/retry.go). */
import { STATUS_CODES } from 'node:http'
import { formatDuration } from '../kinds/durations.ts'
import type { Retries } from '../kinds/virtual-service.ts'
import { makeAny, compact, makeExtension, type Json } from '../json.ts'

const RETRY_ON = 'connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes'
const OTHER_HOSTS: Json = makeExtension(
  'envoy.retry_host_predicates.previous_hosts',
  makeAny('envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate'),
)
const OTHER_PLACES: Json = makeExtension(
  'envoy.retry_priorities.previous_priorities',
  makeAny('envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig', { update_frequency: 2 }),
)

/** @param host `hashed`: it follows from the request: another one would be wrong */
export function makeRetryPolicy(retries: Retries | undefined, host: 'hashed' | 'any'): Json | undefined {
  const isHashed = host === 'hashed'
  if (!retries)
    return compact({
      num_retries: 2,
      retry_on: RETRY_ON,
      host_selection_retry_max_attempts: 5,
      retry_host_predicate: isHashed ? undefined : [OTHER_HOSTS],
    })
  if ((retries.attempts ?? 0) === 0) return undefined
  const avoids = retries.retryIgnorePreviousHosts ?? !isHashed
  return compact({
    num_retries: retries.attempts,
    host_selection_retry_max_attempts: 5,
    ...readRetryOn(retries.retryOn),
    per_try_timeout: retries.perTryTimeout && formatDuration(retries.perTryTimeout),
    retry_host_predicate: avoids ? [OTHER_HOSTS] : undefined,
    retry_priority: retries.retryRemoteLocalities === true ? OTHER_PLACES : undefined,
    retry_back_off: retries.backoff === undefined ? undefined : { base_interval: formatDuration(retries.backoff) },
  })
}

/** Numbers among the words are status codes. */
function readRetryOn(text: string | undefined): Json {
  if (text === undefined || text === '') return { retry_on: RETRY_ON }
  const parts = text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '')
  const isCode = (part: string): boolean => /^\d+$/.test(part) && STATUS_CODES[part] !== undefined
  const codes = parts.filter(isCode).map(Number)
  const words = parts.filter((part) => !isCode(part)).join(',')
  if (codes.length === 0) return { retry_on: words }
  const all = words.includes('retriable-status-codes') ? words : `${words},retriable-status-codes`
  return { retry_on: all, retriable_status_codes: codes }
}
