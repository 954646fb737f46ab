/** Limits of a filter chain for connections, before anything else of them, in the order in which they are configured. */
import type { GrpcAuthService } from './ext-authz.ts'
import type { DescriptorEntry, TokenBucket } from './rate-limit.ts'

export type ConnectionLimit =
  /** Those with one `shareKey` and the same bucket take from one bucket; '' = none (network local_ratelimit). */
  | { readonly kind: 'rate'; readonly statPrefix: string; readonly bucket: TokenBucket; readonly shareKey: string }
  /** One too many is closed after `delayMs` (connection_limit). */
  | { readonly kind: 'count'; readonly statPrefix: string; readonly max: number; readonly delayMs: number }
  | ConnectionCounter

/** A service counts them (network ratelimit). */
export type ConnectionCounter = {
  readonly kind: 'service'
  readonly statPrefix: string
  readonly domain: string
  readonly service: GrpcAuthService
  /** Values may hold operators. */
  readonly descriptors: readonly (readonly DescriptorEntry[])[]
  /** Connections that nobody could count are refused. */
  readonly failureDenies: boolean
}
