/** What the process has of memory, as V8 and the system count it. */
import fs from 'node:fs'

export type MemoryUsage = {
  readonly arrayBuffers: number
  /** Outside of V8's heap, as far as V8 knows: array buffers and others. */
  readonly external: number
  readonly heapUsed: number
  /** Without the pages that V8 keeps for later. */
  readonly heapTotal: number
}

export function readMemoryUsage(): MemoryUsage {
  return process.memoryUsage()
}

/** Resident pages that are no file's; 0 where the system does not say. */
export function readOwnBytes(): number {
  try {
    const status = fs.readFileSync('/proc/self/status', 'latin1')
    return Number(/^RssAnon:\s*(\d+) kB$/m.exec(status)?.[1] ?? 0) * 1024
  } catch {
    return 0
  }
}
