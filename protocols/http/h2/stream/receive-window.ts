/**
 * What the peer may still send before we have taken what it sent (RFC 9113 §5.2, §6.9): of the connection, or of one
 * stream.
 */
export class ReceiveWindow {
  readonly #bytes: number
  readonly #permittedBytes: number
  /** Came, and the peer was not given it back. */
  #usedBytes = 0
  /** Of those: taken. */
  #takenBytes = 0

  /** @param permittedBytes where the peer may not yet know of a smaller window */
  constructor(bytes: number, permittedBytes = bytes) {
    this.#bytes = bytes
    this.#permittedBytes = Math.max(bytes, permittedBytes)
  }

  /** @returns false: more than the window has */
  receive(bytes: number): boolean {
    this.#usedBytes += bytes
    return this.#usedBytes <= this.#permittedBytes
  }
  /** @returns bytes for a WINDOW_UPDATE; 0 = not yet worth a frame */
  take(bytes: number): number {
    this.#takenBytes += bytes
    if (this.#takenBytes < this.#bytes / 2) return 0
    const given = this.#takenBytes
    this.#usedBytes -= given
    this.#takenBytes = 0
    return given
  }
}
