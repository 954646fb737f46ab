/** The heads of the requests on one connection of HTTP/1.1, as an endpoint finds them: what stands in bodies is none. */
const MAX_HEAD_CHARS = 100_000

export class RequestHeads {
  /** latin1 */
  #rest = ''
  /** Of the body that comes; undefined: a head comes. */
  #left: number | undefined
  #isChunked = false
  /** Something else is spoken behind an upgrade. */
  #isOver = false

  /** @returns heads that have come whole, each with its empty line */
  take(bytes: Buffer): string[] {
    const heads: string[] = []
    if (this.#isOver) return heads
    this.#rest += bytes.toString('latin1')
    for (;;) {
      if (this.#left !== undefined && !this.#skip()) return heads
      const end = this.#rest.indexOf('\r\n\r\n')
      if (end < 0) {
        // What has no end so late is no head that a proxy sends.
        this.#isOver = this.#rest.length > MAX_HEAD_CHARS
        return heads
      }
      const head = this.#rest.slice(0, end + 4)
      this.#rest = this.#rest.slice(end + 4)
      heads.push(head)
      this.#isOver = /^CONNECT |\r\nupgrade:/i.test(head)
      if (this.#isOver) return heads
      this.#isChunked = /\r\ntransfer-encoding: chunked\r\n/i.test(head)
      this.#left = this.#isChunked ? 0 : Number(/\r\ncontent-length: (\d+)\r\n/i.exec(head)?.[1] ?? 0)
    }
  }

  /** @returns whether the body is over */
  #skip(): boolean {
    for (;;) {
      const now = Math.min(this.#left!, this.#rest.length)
      this.#rest = this.#rest.slice(now)
      this.#left! -= now
      if (this.#left! > 0) return false
      if (!this.#isChunked) break
      // Behind the data of a chunk stands CR LF, behind the last chunk an empty line after the trailers.
      const size = /^(?:\r\n)?([0-9a-f]+)[^\r\n]*\r\n/i.exec(this.#rest)
      if (!size) return false
      if (parseInt(size[1]!, 16) > 0) {
        this.#rest = this.#rest.slice(size[0].length)
        this.#left = parseInt(size[1]!, 16) + 2
        continue
      }
      const end = this.#rest.indexOf('\r\n\r\n', size[0].length - 2)
      if (end < 0) return false
      this.#rest = this.#rest.slice(end + 4)
      break
    }
    this.#left = undefined
    return true
  }
}
