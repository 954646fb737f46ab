/** envoy.config.route.v3.RetryPolicy. */
import type { RetryOn, RetryPolicy } from '../../../model/route.ts'
import type { RetryPolicy as XRetryPolicy } from '../../../proto/gen/envoy/config/route/v3/route_components_pb.ts'
import { PreviousPrioritiesConfigSchema } from '../../../proto/gen/envoy/extensions/retry/priority/previous_priorities/v3/previous_priorities_config_pb.ts'
import { PreviousHostsPredicateSchema } from '../../../proto/gen/envoy/extensions/retry/host/previous_hosts/v3/previous_hosts_pb.ts'
import { noteOnly, readTypeName, unpack } from '../fields/any.ts'
import type { DecodePath } from '../fields/decode-path.ts'
import { decodeMs } from '../fields/values.ts'

const KNOWN: ReadonlySet<string> = new Set<RetryOn>([
  '5xx',
  'gateway-error',
  'reset',
  'reset-before-request',
  'connect-failure',
  'retriable-4xx',
  'refused-stream',
  'retriable-status-codes',
  'envoy-ratelimited',
  'retriable-headers',
  'cancelled',
  'deadline-exceeded',
  'internal',
  'resource-exhausted',
  'unavailable',
])
const PREVIOUS_HOSTS = PreviousHostsPredicateSchema.typeName
/** So that one request cannot become thousands; Envoy leaves that to the retry budget. */
const MAX_RETRIES = 100

export function retryPolicy(at: DecodePath, from: XRetryPolicy | undefined): RetryPolicy | undefined {
  if (!from) return undefined
  const baseMs = decodeMs(at.in('retry_back_off').in('base_interval'), from.retryBackOff?.baseInterval) || 25
  const picks = Number(from.hostSelectionRetryMaxAttempts)
  return {
    on: isForSome(at, from) ? new Set() : conditions(at.in('retry_on'), from.retryOn),
    maxRetries: Math.min(MAX_RETRIES, from.numRetries ?? 1),
    perTryTimeoutMs: decodeMs(at.in('per_try_timeout'), from.perTryTimeout) || undefined,
    statusCodes: new Set(from.retriableStatusCodes),
    backoff: {
      baseMs,
      capMs: decodeMs(at.in('retry_back_off').in('max_interval'), from.retryBackOff?.maxInterval) || baseMs * 10,
    },
    avoidPreviousHosts:
      from.retryHostPredicate.filter((p, i) => isPreviousHosts(at.in('retry_host_predicate').item(i), p)).length > 0,
    ...previousPriorities(at.in('retry_priority'), from.retryPriority),
    maxHostPicks: picks > 0 ? Math.min(MAX_RETRIES, picks) : 1,
  }
}

/** Other requests must not be sent twice; an empty set keeps the next level's policy out as well. */
function isForSome(at: DecodePath, { retriableRequestHeaders }: XRetryPolicy): boolean {
  if (retriableRequestHeaders.length === 0) return false
  at.in('retriable_request_headers').ignore('not implemented: nothing is tried again')
  return true
}

function previousPriorities(
  at: DecodePath,
  from: XRetryPolicy['retryPriority'],
): Pick<RetryPolicy, 'avoidPreviousPriorities'> {
  if (!from) return {}
  const any = from.configType.value
  const config = unpack(at.in('typed_config'), any, PreviousPrioritiesConfigSchema)
  if (config && config.updateFrequency < 1) at.in('typed_config').in('update_frequency').issue('must be 1 or more')
  if (config) return { avoidPreviousPriorities: config.updateFrequency }
  at.ignore(`${readTypeName(any) || from.name} is not implemented`)
  return {}
}

function isPreviousHosts(
  at: DecodePath,
  { name, configType: { value: any } }: XRetryPolicy['retryHostPredicate'][number],
): boolean {
  const type = readTypeName(any)
  const isKnown = type === PREVIOUS_HOSTS || (type === '' && name === 'envoy.retry_host_predicates.previous_hosts')
  if (isKnown) noteOnly(at.in('typed_config'), any, PreviousHostsPredicateSchema)
  else at.ignore(`${type || name} is not implemented`)
  return isKnown
}

function conditions(at: DecodePath, text: string): ReadonlySet<RetryOn> {
  const on = new Set<RetryOn>()
  for (const word of text.split(',', 64)) {
    const name = word.trim()
    if (KNOWN.has(name)) on.add(name as RetryOn)
    else if (name !== '') at.ignore(name.slice(0, 64))
  }
  return on
}
