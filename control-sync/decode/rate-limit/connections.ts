/** Network filters that limit connections: envoy.filters.network.local_ratelimit and connection_limit. */
import type { Any } from '@bufbuild/protobuf/wkt'
import type { ConnectionLimit } from '../../../model/http/rate-limit.ts'
import { ConnectionLimitSchema } from '../../../proto/gen/envoy/extensions/filters/network/connection_limit/v3/connection_limit_pb.ts'
import { LocalRateLimitSchema } from '../../../proto/gen/envoy/extensions/filters/network/local_ratelimit/v3/local_rate_limit_pb.ts'
import { unpack } from '../fields/any.ts'
import { noteIgnored, type DecodePath } from '../fields/decode-path.ts'
import { decodeMs } from '../fields/values.ts'
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
  const count = unpack(at, any, ConnectionLimitSchema)
  if (!count) return undefined
  noteIgnored(at, ConnectionLimitSchema, count)
  const max = Number(count.maxConnections ?? 0n)
  if (max < 1) at.in('max_connections').issue('must be 1 or more')
  const delayMs = decodeMs(at.in('delay'), count.delay) ?? 0
  if (count.runtimeEnabled?.defaultValue === false) return 'off'
  return { kind: 'count', statPrefix: count.statPrefix, max, delayMs }
}
