/**
 * Memory that nobody holds any more counts until V8 collects it, and of what lies outside its heap (chunks of sockets,
 * pieces of packets) it lets some 64 MB gather before it looks. A process that may have 96 MiB is ended before that. So
 * after each megabyte received it is asked how much of that is garbage, and V8 is told to collect when it is more than
 * a small share of what the process may have; and once more soon after the memory budget was tight: what stood still
 * and was ended then is garbage, and perhaps nothing comes any more.
 *
 * Pages that a collection has emptied V8 keeps for the next burst, without end and outside the size of its heap, and
 * malloc keeps what was freed between pieces that live; the system counts both. So it is remembered how much the heap
 * had at most and how little was kept, and what has come to it is given back when the burst is over. Idle, or with much
 * memory, none of this ever does anything.
 */
import type { MemoryPressure } from './memory-pressure.ts'
import type { MemoryUsage } from './memory-usage.ts'

const LOOK_BYTES = 1024 * 1024
const SMALL_LOOK_BYTES = 256 * 1024
/** Of the memory that the process may have. */
const GARBAGE_SHARE = 1 / 32
const HEAP_SHARE = 1 / 24
/** What V8 or malloc keeps may be so much of it. */
const KEPT_SHARE = 1 / 12
const PRESSED_KEPT_SHARE = 1 / 24
/** To give V8's pages back takes some 50 ms. */
const RELEASE_EVERY_MS = 5_000
/** Under pressure it is done sooner, but never takes more than a twentieth of the time. */
const PRESSED_RELEASE_EVERY_MS = 1_000
const RELEASE_PAUSE_TIMES = 20
/** Above this the collector's own measure is good enough. */
export const MOST_LIMIT_BYTES = 1024 * 1024 * 1024
/** Time for ended connections to release what they held. */
const EASED_MS = 500
/** Below it memory is saved wherever that is possible. */
export const SMALL_LIMIT_BYTES = 160 * 1024 * 1024

export type GarbageParts = {
  readonly limitBytes: number
  readonly heldBytes: () => number
  readonly usage: () => MemoryUsage
  readonly pressure: MemoryPressure
  /** `all` gives pages of the heap back to the system. */
  readonly collect: (what: 'minor' | 'major' | 'all') => void
  /** Soon, on a thread of its own: gives back what malloc has free. */
  readonly trimMalloc: () => void
  readonly nowMs: () => number
  /** Once; nobody is kept waiting for it at the end. */
  readonly after: (ms: number, fn: () => void) => void
  /** Called where memory is very small. */
  readonly saveMemory: () => void
}

export class GarbageWatch {
  readonly #p: GarbageParts
  readonly #isOff: boolean
  /** How many there were of what is old. */
  collections = 0
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
  /** Resident and neither the heap's nor of its buffers, the least since then: code, stacks, connections of TLS. */
  #leastKeptBytes = Infinity
  /** What has come to it. */
  #keptBytes = 0
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
  /** @param began `collections` at that time: what lived at the last one is garbage now, and does not live any more */
  left(bytes: number, began: number): void {
    if (began < this.collections)
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
    if (this.#release(before)) return
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
  /** @returns whether everything was collected */
  #release(before: MemoryUsage): boolean {
    const { usage, limitBytes, nowMs, after, trimMalloc, pressure } = this.#p
    this.#measure(before)
    const pagesBytes = this.#mostPagesBytes - this.#pagesBytes
    const { isPressed } = pressure
    const mayKeepBytes = limitBytes * (isPressed || this.#isSmall ? PRESSED_KEPT_SHARE : KEPT_SHARE)
    if (Math.max(pagesBytes, this.#keptBytes) <= mayKeepBytes) return false
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
        this.#release(usage())
      })
      return false
    }
    const isOfHeap = pagesBytes > mayKeepBytes
    if (isOfHeap) this.#collectAll()
    this.#releasedMs = nowMs()
    trimMalloc()
    // What cannot be given back is no reason to try again.
    this.#leastKeptBytes = Infinity
    this.#keptBytes = 0
    return isOfHeap
  }
  #measure({ heapTotal, external }: MemoryUsage): void {
    if (this.#pagesBytes === Infinity) this.#pagesBytes = heapTotal
    this.#mostPagesBytes = Math.max(this.#mostPagesBytes, heapTotal)
    const { pressure } = this.#p
    if (!pressure.measure()) return
    const keptBytes = pressure.ownBytes - heapTotal - external
    this.#leastKeptBytes = Math.min(this.#leastKeptBytes, keptBytes)
    this.#keptBytes = keptBytes - this.#leastKeptBytes
  }
  #collectAll(): void {
    const { usage, collect, nowMs } = this.#p
    const startedMs = nowMs()
    collect('all')
    this.#pauseMs = nowMs() - startedMs
    const after = usage()
    this.#pagesBytes = this.#mostPagesBytes = after.heapTotal
    this.#noteLiving(after)
  }
  #noteLiving({ arrayBuffers, heapUsed }: MemoryUsage): void {
    this.collections++
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
