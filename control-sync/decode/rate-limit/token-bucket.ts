/** envoy.type.v3.TokenBucket, as local rate limits take it. */
import type { TokenBucket } from '../../../model/http/rate-limit.ts'
import type { TokenBucket as XTokenBucket } from '../../../proto/gen/envoy/type/v3/token_bucket_pb.ts'
import type { DecodePath } from '../fields/decode-path.ts'
import { decodeMs } from '../fields/values.ts'

/** Envoy's. */
const MIN_FILL_MS = 50

export function decodeTokenBucket(at: DecodePath, from: XTokenBucket): TokenBucket {
  const fillMs = decodeMs(at.in('fill_interval'), from.fillInterval)
  if (from.maxTokens < 1) at.in('max_tokens').issue('must be 1 or more')
  if (from.tokensPerFill === 0) at.in('tokens_per_fill').issue('must be 1 or more')
  if (fillMs === undefined || fillMs < MIN_FILL_MS) at.in('fill_interval').issue(`must be ${MIN_FILL_MS} ms or more`)
  return { maxTokens: from.maxTokens, tokensPerFill: from.tokensPerFill ?? 1, fillMs: fillMs ?? MIN_FILL_MS }
}
