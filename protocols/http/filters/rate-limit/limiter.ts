/** The buckets of one local rate limit, and which of them a request takes from (Envoy's LocalRateLimiterImpl). */
import crypto from 'node:crypto'
import type { Descriptor, DescriptorEntry, LocalDescriptor, LocalRateLimit } from '../../../../model/http/rate-limit.ts'
import { TokenBucket } from './token-bucket.ts'

/** `bucket`: the one that decided, undefined where none was asked. `tellsRest`: what the rule of its descriptor says. */
export type Taken = {
  readonly isAllowed: boolean
  readonly bucket: TokenBucket | undefined
  readonly tellsRest?: boolean | undefined
}
type Found = { readonly bucket: TokenBucket; readonly isShadow: boolean }
type Matched = Found & { readonly by: Descriptor }

/** Longer keys of values that clients choose are kept as their digest. */
const MAX_KEY_CHARS = 128

export class LocalRateLimiter {
  readonly #settings: LocalRateLimit
  readonly #default: TokenBucket | undefined
  readonly #fixed = new Map<string, Found>()
  readonly #open: OpenDescriptor[] = []

  constructor(settings: LocalRateLimit, nowMs: number) {
    this.#settings = settings
    this.#default = settings.bucket && new TokenBucket(settings.bucket, nowMs)
    for (const descriptor of settings.descriptors) {
      const { entries, bucket, isShadow } = descriptor
      if (entries.some(([, value]) => value === ''))
        this.#open.push(new OpenDescriptor(descriptor, settings.maxDynamic))
      else this.#fixed.set(keyOf(entries), { bucket: new TokenBucket(bucket, nowMs), isShadow })
    }
  }

  take(descriptors: readonly Descriptor[], nowMs: number): Taken {
    const found = descriptors.flatMap((by): Matched[] => {
      const one = this.#find(by.entries, nowMs)
      return one ? [{ ...one, by }] : []
    })
    // The slowest first, so that a refusal takes nothing from the others.
    found.sort((a, b) => a.bucket.tokensPerMs - b.bucket.tokensPerMs)
    for (const one of found)
      if (!count(one, nowMs) && !one.isShadow)
        return { isAllowed: false, bucket: one.bucket, tellsRest: one.by.tellsRest }
    const [first] = found
    const allowed = { isAllowed: true, bucket: first?.bucket ?? this.#default, tellsRest: first?.by.tellsRest }
    if (first && !this.#settings.alwaysDefault) return allowed
    return this.#default && !this.#default.take(nowMs) ? { isAllowed: false, bucket: this.#default } : allowed
  }

  #find(entries: readonly DescriptorEntry[], nowMs: number): Found | undefined {
    const fixed = this.#fixed.get(keyOf(entries))
    return fixed ?? this.#open.find((one) => one.takes(entries))?.bucketOf(entries, nowMs)
  }
}

/** @returns whether there was enough */
function count({ bucket, by: { hits = 1, givesBack } }: Matched, nowMs: number): boolean {
  if (!givesBack) return bucket.take(nowMs, hits)
  bucket.release(nowMs, hits)
  return true
}

/** With a bucket for each value that has come; the one that was asked for longest ago goes when there are too many. */
class OpenDescriptor {
  readonly #descriptor: LocalDescriptor
  readonly #max: number
  readonly #buckets = new Map<string, Found>()

  constructor(descriptor: LocalDescriptor, max: number) {
    this.#descriptor = descriptor
    this.#max = max
  }

  takes(entries: readonly DescriptorEntry[]): boolean {
    const { entries: own } = this.#descriptor
    return (
      own.length === entries.length &&
      own.every(([key, value], i) => key === entries[i]![0] && (value === '' || value === entries[i]![1]))
    )
  }
  bucketOf(entries: readonly DescriptorEntry[], nowMs: number): Found {
    const key = keyOf(entries)
    const { bucket, isShadow } = this.#descriptor
    const found = this.#buckets.get(key) ?? { bucket: new TokenBucket(bucket, nowMs), isShadow }
    this.#buckets.delete(key)
    this.#buckets.set(key, found)
    if (this.#buckets.size > this.#max) this.#buckets.delete(this.#buckets.keys().next().value!)
    return found
  }
}

function keyOf(entries: readonly DescriptorEntry[]): string {
  const key = JSON.stringify(entries)
  return key.length <= MAX_KEY_CHARS ? key : crypto.hash('sha256', key, 'base64')
}
