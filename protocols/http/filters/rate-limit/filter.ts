/** A local rate limit is asked about a request (envoy.filters.http.local_ratelimit). */
import { memoize } from '../../../../core/memoize.ts'
import type { Clock, Random } from '../../../../core/os/clock.ts'
import type { LocalRateLimit } from '../../../../model/http/rate-limit.ts'
import type { HeaderEdit } from '../../../../model/route.ts'
import type { TokenBucket } from './token-bucket.ts'
import { describeRequest, type DescriptorFacts } from './descriptors.ts'
import { LocalRateLimiter, type Taken } from './limiter.ts'

/** `result`: undefined where the request was not counted. `edit`: of its answer, whoever gives it. */
export type LimitVerdict =
  | { readonly kind: 'passes'; readonly result?: LimitResult; readonly edit?: HeaderEdit | undefined }
  /** Nobody knows whether it is too much. */
  | { readonly kind: 'unknown'; readonly why: string }
  | { readonly kind: 'refused'; readonly result: 'refused'; readonly edits: readonly HeaderEdit[] }
/** `over`: too much, and passes. `unknown`: the service could not be asked, and it passes. */
export type LimitResult = 'ok' | 'over' | 'refused' | 'unknown'
/** `prefix`: the limit's stat_prefix. */
export type LimitFound = { readonly prefix: string; readonly result: LimitResult }

type Asked = DescriptorFacts & {
  /** Whose requests are counted by themselves, where the limit says so. */
  readonly connection: object
  readonly clock: Pick<Clock, 'monotonicMs'>
  readonly random: Random
}

export function askLimit(settings: LocalRateLimit, asked: Asked): LimitVerdict {
  const { clock, random } = asked
  if (!isDrawn(settings.enabledFraction, random)) return { kind: 'passes' }
  const descriptors = describeRequest(settings, asked)
  if ('unsupported' in descriptors) return { kind: 'unknown', why: descriptors.unsupported }
  const nowMs = clock.monotonicMs()
  const taken = findLimiter(settings, asked.connection, nowMs).take(descriptors, nowMs)
  const edit = taken.bucket && (taken.tellsRest ?? settings.tellsRest) ? tellRest(taken.bucket, clock) : undefined
  if (taken.isAllowed) return { kind: 'passes', result: 'ok', edit }
  if (!isDrawn(settings.enforcedFraction, random)) return { kind: 'passes', result: 'over', edit }
  const edits = [settings.answerHeaders, tellRetryAfter(settings, taken, nowMs), edit]
  return { kind: 'refused', result: 'refused', edits: edits.filter((one) => one !== undefined) }
}

export function isDrawn(fraction: number, random: Random): boolean {
  return fraction >= 1 || (fraction > 0 && random.float() < fraction)
}

type Limiters = {
  own: LocalRateLimiter | undefined
  readonly byConnection: WeakMap<object, LocalRateLimiter>
}
const limitersOf = memoize((_settings: LocalRateLimit): Limiters => ({ own: undefined, byConnection: new WeakMap() }))

function findLimiter(settings: LocalRateLimit, connection: object, nowMs: number): LocalRateLimiter {
  const limiters = limitersOf(settings)
  if (!settings.perConnection) return (limiters.own ??= new LocalRateLimiter(settings, nowMs))
  const known = limiters.byConnection.get(connection)
  if (known) return known
  const made = new LocalRateLimiter(settings, nowMs)
  limiters.byConnection.set(connection, made)
  return made
}

/** draft-polli-ratelimit-headers-03. Worked out when the answer is given, as in Envoy. */
function tellRest(bucket: TokenBucket, clock: Asked['clock']): HeaderEdit {
  const add = (name: string, say: () => number): HeaderEdit['add'][number] => ({
    name,
    how: 'append',
    get value() {
      return String(say())
    },
  })
  return {
    remove: [],
    add: [
      add('x-ratelimit-limit', () => bucket.maxTokens),
      add('x-ratelimit-remaining', () => bucket.left(clock.monotonicMs())),
      add('x-ratelimit-reset', () => Math.floor(bucket.waitMs(clock.monotonicMs()) / 1_000)),
    ],
  }
}

function tellRetryAfter(settings: LocalRateLimit, { bucket }: Taken, nowMs: number): HeaderEdit | undefined {
  if (!settings.tellsRetryAfter || settings.status !== 429 || !bucket) return undefined
  const seconds = Math.max(1, Math.ceil(bucket.waitMs(nowMs) / 1_000))
  return { remove: [], add: [{ name: 'retry-after', value: String(seconds), how: 'if-absent' }] }
}
