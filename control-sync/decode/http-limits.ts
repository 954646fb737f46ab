/** How large heads may be: max_request_headers_kb, max_response_headers_kb and max_headers_count. */
import type { DecodePath } from './fields/decode-path.ts'

/** Envoy's bound. */
const MAX_KB = 8192
/** No message has so many fields; each costs memory before anybody is authorised. */
const MAX_COUNT = 10_000

/** KiB; Envoy's default for requests where nothing is said. */
export function decodeHeadersKb(at: DecodePath, kb: number | undefined): number {
  if (kb !== undefined && (kb < 1 || kb > MAX_KB)) {
    at.issue(`must be 1 to ${MAX_KB}`)
    return 60
  }
  return kb ?? 60
}

/** Undefined where nothing is said: Envoy's default is 100, and agent.yaml's `limits` has the same. */
export function decodeHeadersCount(at: DecodePath, count: number | undefined): number | undefined {
  if (count === undefined || (count >= 1 && count <= MAX_COUNT)) return count
  at.issue(`must be 1 to ${MAX_COUNT}`)
  return undefined
}
