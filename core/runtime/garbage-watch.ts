/**
 * Memory that nobody holds any more counts until V8 collects it, and of what lies outside its heap (chunks of sockets,
 * pieces of packets) it lets some 64 MB gather before it looks. A process that may have 96 MiB is ended before that. So
 * after each megabyte received it is asked how much of that is garbage, and V8 is told to collect when it is more than
 * a small share of what the process may have; and once more soon after the memory budget was tight: what stood still
 * and was ended then is garbage, and perhaps nothing comes any more. Where memory is very small it is asked more often,
 * and what the heap has grown by since it was last given back is given back: pages that burst after burst leaves half
 * empty. Idle, or with much memory, this never does anything.
 */
const LOOK_BYTES = 1024 * 1024
const SMALL_LOOK_BYTES = 256 * 1024
/** Of the memory that the process may have. */
const GARBAGE_SHARE = 1 / 32
const HEAP_SHARE = 1 / 24
/** Half empty pages of the heap may be so much, and are given back once in so long: it takes some 50 ms. */
const PAGES_SHARE = 1 / 24
const RELEASE_EVERY_MS = 5_000
/** Above this the collector's own measure is good enough. */
const MOST_LIMIT_BYTES = 1024 * 1024 * 1024
/** Time for ended connections to release what they held. */
const EASED_MS = 500
/** Below it memory is saved wherever that is possible. */
export const SMALL_LIMIT_BYTES = 160 * 1024 * 1024

export type GarbageParts = {
  readonly limitBytes: number
  readonly heldBytes: () => number
  readonly usage: () => { readonly arrayBuffers: number; readonly heapUsed: number; readonly heapTotal: number }
  /** `all` gives pages back to the system. */
  readonly collect: (what: 'minor' | 'major' | 'all') => void
  readonly nowMs: () => number
  /** Once; nobody is kept waiting for it at the end. */
  readonly after: (ms: number, fn: () => void) => void
  /** Called where memory is very small. */
  readonly saveMemory: () => void
}

export class GarbageWatch {
  readonly #p: GarbageParts
  readonly #isOff: boolean
  #sinceLookBytes = 0
  /** After the last major collection: what lives. */
  #livingHeapBytes = Infinity
  #livingBuffersBytes = 0
  #looksLater = false
  readonly #isSmall: boolean
  /** After the last time that pages were given back. */
  #pagesBytes = Infinity
  #releasedMs: number

  constructor(parts: GarbageParts) {
    this.#p = parts
    this.#isOff = parts.limitBytes > MOST_LIMIT_BYTES
    this.#isSmall = parts.limitBytes < SMALL_LIMIT_BYTES
    this.#releasedMs = parts.nowMs()
    if (this.#isSmall) parts.saveMemory()
  }

  received(bytes: number): void {
    this.#sinceLookBytes += bytes
    if (this.#sinceLookBytes >= (this.#isSmall ? SMALL_LOOK_BYTES : LOOK_BYTES)) this.#look(2)
  }
  /** The budget was tight, and is not any more. */
  eased(): void {
    if (this.#isOff || this.#looksLater) return
    this.#looksLater = true
    this.#p.after(EASED_MS, () => {
      this.#looksLater = false
      this.#look(1)
    })
  }

  /** @param times the share that calls for a major collection */
  #look(times: number): void {
    this.#sinceLookBytes = 0
    if (this.#isOff || (this.#isSmall && this.#releasePages())) return
    const { usage, collect } = this.#p
    const before = usage()
    if (this.#livingHeapBytes === Infinity) this.#livingHeapBytes = before.heapUsed
    // Uncounted memory that was alive then may be gone by now, and must not hide new garbage.
    this.#livingBuffersBytes = Math.min(
      this.#livingBuffersBytes,
      Math.max(0, before.arrayBuffers - this.#p.heldBytes()),
    )
    if (!this.#isMuch(before, 1)) return
    collect('minor')
    // What got old while it waited is not found by that.
    if (!this.#isMuch(usage(), times)) return
    collect('major')
    this.#noteLiving(usage())
  }
  #releasePages(): boolean {
    const { usage, collect, limitBytes, nowMs } = this.#p
    const { heapTotal } = usage()
    if (this.#pagesBytes === Infinity) this.#pagesBytes = heapTotal
    const isDue = nowMs() - this.#releasedMs >= RELEASE_EVERY_MS
    if (!isDue || heapTotal - this.#pagesBytes <= limitBytes * PAGES_SHARE) return false
    collect('all')
    this.#releasedMs = nowMs()
    const after = usage()
    this.#pagesBytes = after.heapTotal
    this.#noteLiving(after)
    return true
  }
  #noteLiving({ arrayBuffers, heapUsed }: ReturnType<GarbageParts['usage']>): void {
    this.#livingHeapBytes = heapUsed
    // It is alive, or the sweeper has not come to it: then the next look finds less. To collect for it again would only
    // cost time.
    this.#livingBuffersBytes = Math.max(0, arrayBuffers - this.#p.heldBytes())
  }
  #isMuch(
    { arrayBuffers, heapUsed }: { readonly arrayBuffers: number; readonly heapUsed: number },
    times: number,
  ): boolean {
    const { limitBytes, heldBytes } = this.#p
    return (
      arrayBuffers - heldBytes() - this.#livingBuffersBytes > limitBytes * GARBAGE_SHARE * times ||
      heapUsed - this.#livingHeapBytes > limitBytes * HEAP_SHARE * times
    )
  }
}
