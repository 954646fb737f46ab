/**
 * What this thread has had written to a device, as Linux counts it (`write_bytes` of proc(5)): whole pages, each once
 * until it is on the disk. That is what wears flash out. What the file system writes of its own is not in it, and of a
 * file in memory there is nothing.
 */
import fs from 'node:fs'
import { guard, doNothing } from '../defects/guard.ts'

const FILE = '/proc/thread-self/io'
/** Larger than the file is. */
const MAX_BYTES = 512

export class WrittenBytes {
  #fd: number | undefined
  readonly #buffer = Buffer.alloc(MAX_BYTES)

  /** @param file of this thread */
  constructor(file = FILE) {
    try {
      const fd = (this.#fd = fs.openSync(file, 'r'))
      process.once(
        'exit',
        guard('storage', doNothing, () => fs.closeSync(fd)),
      )
    } catch {
      /* a kernel without accounting of tasks */
    }
  }
  /** Since the thread began; undefined where the system does not say. */
  read(): number | undefined {
    if (this.#fd === undefined) return undefined
    try {
      const text = this.#buffer.toString('latin1', 0, fs.readSync(this.#fd, this.#buffer, 0, MAX_BYTES, 0))
      const found = /^write_bytes: (\d+)$/m.exec(text)
      return found ? Number(found[1]) : undefined
    } catch {
      return undefined
    }
  }
}
