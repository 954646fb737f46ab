/** The last lines of something, bounded in bytes: what was said before makes room. */
const MAX_BYTES = 64 * 1024

export class RecentLines {
  readonly #lines: string[] = []
  #bytes = 0

  add(line: string): void {
    this.#lines.push(line)
    this.#bytes += line.length
    while (this.#bytes > MAX_BYTES && this.#lines.length > 1) this.#bytes -= this.#lines.shift()!.length
  }
  /** Oldest first. */
  last(most: number): readonly string[] {
    return this.#lines.slice(-most)
  }
}
