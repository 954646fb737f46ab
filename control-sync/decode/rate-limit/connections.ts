/** Network filters that limit connections: envoy.filters.network.local_ratelimit, connection_limit and ratelimit. */
import type { Any } from '@bufbuild/protobuf/wkt'
import type { ConnectionCounter, ConnectionLimit } from '../../../model/http/connection-limit.ts'
import { ConnectionLimitSchema } from '../../../proto/gen/envoy/extensions/filters/network/connection_limit/v3/connection_limit_pb.ts'
import { LocalRateLimitSchema } from '../../../proto/gen/envoy/extensions/filters/network/local_ratelimit/v3/local_rate_limit_pb.ts'
import {
  RateLimitSchema,
  type RateLimit,
} from '../../../proto/gen/envoy/extensions/filters/network/ratelimit/v3/rate_limit_pb.ts'
import { parseSubstitution } from '../../../model/substitution.ts'
import { unpack } from '../fields/any.ts'
import { noteIgnored, type DecodePath } from '../fields/decode-path.ts'
import { decodeMs } from '../fields/values.ts'
import { decodeLimitService } from './global.ts'
import { decodeTokenBucket } from './token-bucket.ts'

/** @returns undefined for another filter, `off` for one that is not enabled (there is no runtime layer) */
export function decodeConnectionLimit(at: DecodePath, any: Any | undefined): ConnectionLimit | 'off' | undefined {
  const rate = unpack(at, any, LocalRateLimitSchema)
  if (rate) {
    noteIgnored(at, LocalRateLimitSchema, rate)
    if (!rate.tokenBucket) at.in('token_bucket').issue('is missing')
    if (!rate.tokenBucket || rate.runtimeEnabled?.defaultValue === false) return 'off'
    const bucket = decodeTokenBucket(at.in('token_bucket'), rate.tokenBucket)
    return { kind: 'rate', statPrefix: rate.statPrefix, bucket, shareKey: rate.shareKey }
  }
  const global = unpack(at, any, RateLimitSchema)
  if (global) return decodeCounter(at, global)
  const count = unpack(at, any, ConnectionLimitSchema)
  if (!count) return undefined
  noteIgnored(at, ConnectionLimitSchema, count)
  const max = Number(count.maxConnections ?? 0n)
  if (max < 1) at.in('max_connections').issue('must be 1 or more')
  const delayMs = decodeMs(at.in('delay'), count.delay) ?? 0
  if (count.runtimeEnabled?.defaultValue === false) return 'off'
  return { kind: 'count', statPrefix: count.statPrefix, max, delayMs }
}

function decodeCounter(at: DecodePath, from: RateLimit): ConnectionCounter {
  noteIgnored(at, RateLimitSchema, from)
  if (from.statPrefix === '') at.in('stat_prefix').issue('is missing')
  if (from.domain === '') at.in('domain').issue('is missing')
  if (from.descriptors.length === 0) at.in('descriptors').issue('is empty')
  return {
    kind: 'service',
    statPrefix: from.statPrefix,
    domain: from.domain,
    service: decodeLimitService(at, from),
    failureDenies: from.failureModeDeny,
    descriptors: from.descriptors.map(({ entries }, i) => {
      const here = at.in('descriptors').item(i).in('entries')
      if (entries.length === 0) here.issue('is empty')
      return entries.map(({ key, value }, no) => {
        if (key === '') here.item(no).in('key').issue('is missing')
        checkOperators(here.item(no).in('value'), value)
        return [key, value] as const
      })
    }),
  }
}

/** Others would be counted by the same text for all: there is no request, and TLS has not begun. */
function checkOperators(at: DecodePath, value: string): void {
  for (const operator of parseSubstitution(value).unknown) at.issue(`${operator} is not supported`)
  for (const [operator, name] of value.replaceAll('%%', '').matchAll(/%([A-Z_0-9]+)[^%]*%/g))
    if (!OF_CONNECTIONS.test(name!)) at.issue(`${operator} is not known of a connection`)
}
const OF_CONNECTIONS = /^(DOWNSTREAM_(DIRECT_)?(REMOTE|LOCAL)_(ADDRESS(_WITHOUT_PORT)?|PORT)|REQUESTED_SERVER_NAME)$/
