/**
 * Memory that nobody holds any more counts until V8 collects it, and of what lies outside its heap (chunks of sockets,
 * pieces of packets) it lets some 64 MB gather before it looks. A process that may have 96 MiB is ended before that. So
 * after each megabyte received it is asked how much of that is garbage, and V8 is told to collect when it is more than
 * a small share of what the process may have; and once more soon after the memory budget was tight: what stood still
 * and was ended then is garbage, and perhaps nothing comes any more.
 *
 * Pages that a collection has emptied V8 keeps for the next burst, without end and outside the size of its heap, and
 * the system counts them. So the most that the heap had is remembered, and what it has grown by is given back when the
 * burst is over. Idle, or with much memory, none of this ever does anything.
 */
const LOOK_BYTES = 1024 * 1024
const SMALL_LOOK_BYTES = 256 * 1024
/** Of the memory that the process may have. */
const GARBAGE_SHARE = 1 / 32
const HEAP_SHARE = 1 / 24
/** Pages that V8 keeps, empty or half empty, may be so much of it. */
const PAGES_SHARE = 1 / 12
const PRESSED_PAGES_SHARE = 1 / 24
/** Giving back takes some 50 ms. */
const RELEASE_EVERY_MS = 5_000
/** With more of the memory in use it is done sooner, but never takes more than a twentieth of the time. */
const PRESSED_SHARE = 3 / 4
const PRESSED_RELEASE_EVERY_MS = 1_000
const RELEASE_PAUSE_TIMES = 20
/** Above this the collector's own measure is good enough. */
const MOST_LIMIT_BYTES = 1024 * 1024 * 1024
/** Time for ended connections to release what they held. */
const EASED_MS = 500
/** Below it memory is saved wherever that is possible. */
export const SMALL_LIMIT_BYTES = 160 * 1024 * 1024

export type MemoryUsage = {
  readonly arrayBuffers: number
  readonly heapUsed: number
  /** Without the pages that V8 keeps for later. */
  readonly heapTotal: number
  /** Resident: of everything. */
  readonly rss: number
}

export type GarbageParts = {
  readonly limitBytes: number
  readonly heldBytes: () => number
  readonly usage: () => MemoryUsage
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
  /** The least of it that there ever was. */
  #leastLivingHeapBytes = Infinity
  #livingBuffersBytes = 0
  #looksLater = false
  readonly #isSmall: boolean
  /** After the last time that pages were given back, and the most since then. */
  #pagesBytes = Infinity
  #mostPagesBytes = 0
  #releasedMs: number
  #pauseMs = 0
  #releasesLater = false

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
  /** So much that may have lived at the last collection is garbage now. */
  left(bytes: number): void {
    this.#livingHeapBytes = Math.max(this.#livingHeapBytes - bytes, this.#leastLivingHeapBytes)
    this.received(bytes)
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
    if (this.#isOff) return
    const { usage, collect } = this.#p
    const before = usage()
    if (this.#releasePages(before)) return
    if (this.#livingHeapBytes === Infinity) this.#livingHeapBytes = this.#leastLivingHeapBytes = before.heapUsed
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
  /** @returns whether it was time */
  #releasePages(before: MemoryUsage): boolean {
    const { usage, collect, limitBytes, nowMs, after } = this.#p
    if (this.#pagesBytes === Infinity) this.#pagesBytes = before.heapTotal
    this.#mostPagesBytes = Math.max(this.#mostPagesBytes, before.heapTotal)
    const isPressed = before.rss > limitBytes * PRESSED_SHARE
    const share = isPressed || this.#isSmall ? PRESSED_PAGES_SHARE : PAGES_SHARE
    if (this.#mostPagesBytes - this.#pagesBytes <= limitBytes * share) return false
    const everyMs = isPressed
      ? Math.max(PRESSED_RELEASE_EVERY_MS, this.#pauseMs * RELEASE_PAUSE_TIMES)
      : RELEASE_EVERY_MS
    const leftMs = this.#releasedMs + everyMs - nowMs()
    if (leftMs > 0) {
      // Perhaps nothing comes any more.
      if (this.#releasesLater) return false
      this.#releasesLater = true
      after(leftMs, () => {
        this.#releasesLater = false
        this.#releasePages(usage())
      })
      return false
    }
    const startedMs = nowMs()
    collect('all')
    this.#releasedMs = nowMs()
    this.#pauseMs = this.#releasedMs - startedMs
    const now = usage()
    this.#pagesBytes = this.#mostPagesBytes = now.heapTotal
    this.#noteLiving(now)
    return true
  }
  #noteLiving({ arrayBuffers, heapUsed }: MemoryUsage): void {
    this.#livingHeapBytes = heapUsed
    this.#leastLivingHeapBytes = Math.min(this.#leastLivingHeapBytes, heapUsed)
    // It is alive, or the sweeper has not come to it: then the next look finds less. To collect for it again would only
    // cost time.
    this.#livingBuffersBytes = Math.max(0, arrayBuffers - this.#p.heldBytes())
  }
  #isMuch({ arrayBuffers, heapUsed }: MemoryUsage, times: number): boolean {
    const { limitBytes, heldBytes } = this.#p
    return (
      arrayBuffers - heldBytes() - this.#livingBuffersBytes > limitBytes * GARBAGE_SHARE * times ||
      heapUsed - this.#livingHeapBytes > limitBytes * HEAP_SHARE * times
    )
  }
}
