/**
 * One bound for everything that waits in memory for somebody else: messages for receivers that do not read, bytes that
 * a socket does not take, packets that are half there. Each has a bound of its own, but their number has none, and
 * together they would fill the machine. Whoever holds says so (`take`, `give`); above the bound the parts that
 * registered give something up, whoever holds most first, until a quarter is free. When the process has nearly all that
 * it may have, whatever fills it, the bound is lower.
 */
import os from 'node:os'
import type { GarbageWatch } from './garbage-watch.ts'
import type { MemoryPressure } from './memory-pressure.ts'
import { guard, doNothing } from '../defects/guard.ts'
import type { Cell, Metrics } from '../metrics.ts'

/** What the process needs when nothing waits: code, heap, the page cache of SQLite. */
export const PROCESS_BYTES = 64 * 1024 * 1024
/** The rest is for what is not counted: garbage that was not collected yet, buffers of TLS and of the kernel. */
const SHARE = 1 / 6
/** With so much used it is not tight any more for those that wait (`whenEased`). */
const CALMER_SHARE = 3 / 8
/** With less than this used it is not tight any more. */
const EASED_SHARE = 1 / 8
const MIN_BYTES = 4 * 1024 * 1024
const MAX_BYTES = 256 * 1024 * 1024

/** What was dropped: a closed set, because it labels a metric. */
const GIVEN = ['unfinished-connect', 'message', 'connection', 'stream', 'replay-copy'] as const
export type Given = (typeof GIVEN)[number]

/** Gives up what it can best do without until `isEnough()`. */
export type Shed = (isEnough: () => boolean) => void

type Part = { readonly shed: Shed; readonly heldBytes: (() => number) | undefined }

export class MemoryBudget {
  readonly maxBytes: number
  readonly #given: Record<Given, Cell> | undefined
  readonly #parts: Part[] = []
  #heldBytes = 0
  readonly #whenEased = new Set<() => void>()
  /** Is told how many bytes come in. */
  garbage: GarbageWatch | undefined
  /** Left out: the process is never full. */
  pressure: MemoryPressure | undefined
  #isScheduled = false
  /** More than half was used, and since then never little. */
  #wasTight = false

  constructor(p: { readonly maxBytes: number; readonly metrics?: Metrics }) {
    this.maxBytes = p.maxBytes
    if (!p.metrics) return
    p.metrics.gaugeOf(
      'mesh_memory_budget_bytes',
      'Bytes that may wait in memory for receivers, sockets and the rest of a packet (limits.maxQueuedMemoryBytes).',
      () => this.maxBytes,
    )
    p.metrics.gaugeOf('mesh_memory_held_bytes', 'Bytes that wait in memory at the moment.', () => this.#heldBytes)
    const given = p.metrics.counter(
      'mesh_memory_given_up_total',
      'What was given up because the memory budget was used up, by what it was.',
      ['what'],
    )
    this.#given = given.cells(GIVEN)
  }

  get heldBytes(): number {
    return this.#heldBytes
  }
  /** The process has nearly all that it may have: nothing should be begun that takes more. */
  get isFull(): boolean {
    return this.pressure !== undefined && this.pressure.roomBytes <= 0
  }
  /** More than half is used: who can wait should. */
  get isTight(): boolean {
    return this.#heldBytes * 2 > this.maxBytes
  }

  /**
   * Negative: it is there no longer. Room is made when the callback at hand is over, and nobody in the middle of
   * something.
   */
  take(bytes: number): void {
    this.#heldBytes += bytes
    if (bytes < 0) this.#tellEased()
    if (this.isTight) this.#wasTight = true
    if (this.#isScheduled || (this.#heldBytes <= this.maxBytes && !this.isFull)) return
    this.#isScheduled = true
    // Between two callbacks: one turn of the loop may read from a thousand sockets.
    queueMicrotask(
      guard('network', doNothing, () => {
        this.#isScheduled = false
        this.#shed()
      }),
    )
  }
  give(bytes: number): void {
    this.#heldBytes -= bytes
    this.#tellEased()
    if (!this.#wasTight || this.#heldBytes > this.maxBytes * EASED_SHARE) return
    this.#wasTight = false
    this.garbage?.eased()
  }

  /** Calls once, when the callback at hand is over, after it has become less tight. */
  whenEased(call: () => void): Disposable {
    this.#whenEased.add(call)
    return {
      [Symbol.dispose]: () => {
        this.#whenEased.delete(call)
      },
    }
  }
  #tellEased(): void {
    if (this.#whenEased.size === 0 || this.#heldBytes > this.maxBytes * CALMER_SHARE) return
    const all = [...this.#whenEased]
    this.#whenEased.clear()
    for (const call of all) queueMicrotask(guard('network', doNothing, call))
  }

  /**
   * @param heldBytes what of it is this part's; left out: what is no other's. Of those that hold the same the first
   * goes first
   */
  onOver(shed: Shed, heldBytes?: () => number): Disposable {
    const part: Part = { shed, heldBytes }
    this.#parts.push(part)
    return {
      [Symbol.dispose]: () => {
        this.#parts.splice(this.#parts.indexOf(part), 1)
      },
    }
  }
  countGivenUp(what: Given, number = 1): void {
    if (this.#given) this.#given[what].value += number
  }

  #deriveBoundBytes(): number {
    const roomBytes = this.pressure?.roomBytes ?? Infinity
    return roomBytes > 0
      ? this.maxBytes
      : Math.min(this.maxBytes, Math.max(this.maxBytes * EASED_SHARE, this.#heldBytes + roomBytes))
  }
  #shed(): void {
    const boundBytes = this.#deriveBoundBytes()
    if (this.#heldBytes <= boundBytes) return
    const isEnough = (): boolean => this.#heldBytes <= (boundBytes * 3) / 4
    const known = this.#parts.reduce((sum, { heldBytes }) => sum + (heldBytes?.() ?? 0), 0)
    const held = ({ heldBytes }: Part): number => heldBytes?.() ?? this.#heldBytes - known
    for (const { shed } of this.#parts
      .map((part) => ({ shed: part.shed, bytes: held(part) }))
      .sort((a, b) => b.bytes - a.bytes))
      if (!isEnough()) shed(isEnough)
  }
}

/** @param limitBytes of memory that the process may have @returns what of it may be filled by what waits */
export function deriveBudgetBytes(limitBytes: number): number {
  return Math.floor(Math.min(Math.max((limitBytes - PROCESS_BYTES) * SHARE, MIN_BYTES), MAX_BYTES))
}

/**
 * The limit of the control group that the process runs in (`MemoryMax=` of systemd, `--memory` of containers), else the
 * machine's memory.
 */
export function readMemoryLimitBytes(): number {
  const constrained = process.constrainedMemory()
  const machine = os.totalmem()
  return constrained > 0 && constrained < machine ? constrained : machine
}
