/**
 * The chunked coding (RFC 9112 §7.1), read strictly: extensions are bounded and dropped, every size line and chunk ends
 * in CRLF.
 */
import type { Fail } from './h1-head.ts'
import { HEX, TEXT } from './h1-tables.ts'

/** 4 GiB per chunk; a longer number is an attack or a defect. */
const MAX_SIZE_DIGITS = 8
/** Per message. Nobody acts on extensions, so nobody needs many (CVE-2023-39326). */
const MAX_EXTENSION_BYTES = 16 * 1024

const CR = 13
const LF = 10
const SEMICOLON = 59

const SIZE = 0
const EXTENSION = 1
const SIZE_LF = 2
const DATA = 3
const DATA_CR = 4
const DATA_LF = 5

export class ChunkedReader {
  readonly #fail: Fail
  #state = SIZE
  #digits = 0
  #left = 0
  #extensionBytes = 0

  constructor(fail: Fail) {
    this.#fail = fail
  }

  begin(): void {
    this.#state = SIZE
    this.#digits = 0
    this.#left = 0
    this.#extensionBytes = 0
  }

  /**
   * @param onData gets slices of `bytes`; false = stop here
   * @returns index after what was read; `last` when the next byte belongs to the trailers
   */
  read(bytes: Buffer, from: number, onData: (chunk: Buffer) => boolean): { at: number; last: boolean } {
    let at = from
    while (at < bytes.length) {
      const byte = bytes[at]!
      switch (this.#state) {
        case SIZE: {
          at++
          const digit = HEX[byte]!
          if (digit >= 0) {
            if (++this.#digits > MAX_SIZE_DIGITS) this.#fail('malformed', 'the size of a chunk is too long')
            this.#left = this.#left * 16 + digit
          } else if (this.#digits === 0) this.#fail('malformed', 'a chunk without a size')
          else if (byte === SEMICOLON) this.#state = EXTENSION
          else if (byte === CR) this.#state = SIZE_LF
          else this.#fail('malformed', 'the size of a chunk is not hexadecimal')
          break
        }
        case EXTENSION:
          at++
          if (byte === CR) this.#state = SIZE_LF
          else if (TEXT[byte] !== 1) this.#fail('malformed', 'a control character in a chunk extension')
          else if (++this.#extensionBytes > MAX_EXTENSION_BYTES)
            this.#fail('too-large', `more than ${MAX_EXTENSION_BYTES} bytes of chunk extensions`)
          break
        case SIZE_LF:
          at++
          if (byte !== LF) this.#fail('malformed', 'CR without LF after the size of a chunk')
          if (this.#left === 0) return { at, last: true }
          this.#state = DATA
          break
        case DATA: {
          const end = Math.min(bytes.length, at + this.#left)
          this.#left -= end - at
          if (this.#left === 0) this.#state = DATA_CR
          const goOn = onData(bytes.subarray(at, end))
          at = end
          if (!goOn) return { at, last: false }
          break
        }
        case DATA_CR:
          at++
          if (byte !== CR) this.#fail('malformed', 'a chunk is longer than its size')
          this.#state = DATA_LF
          break
        case DATA_LF:
          at++
          if (byte !== LF) this.#fail('malformed', 'CR without LF after a chunk')
          this.#state = SIZE
          this.#digits = 0
          break
        default:
          this.#fail('malformed', 'unreachable')
      }
    }
    return { at, last: false }
  }
}
