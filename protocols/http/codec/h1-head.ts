/**
 * Finds the lines of a header or trailer block, byte by byte and strictly (RFC 9112 §2.2, §5): every line ends in CRLF,
 * no bare CR or LF, no control character, no space before the colon, no folded line. Remembers positions only; strings
 * are made once, at the end. It goes on where the last bytes ended, so that a block in many pieces costs no more than
 * one in one piece.
 */
import { findKnownName, TEXT, TOKEN } from './h1-tables.ts'

/** Kind of a fault, from which the caller derives its error code. */
export type Fault = 'malformed' | 'too-large' | 'unsupported'
export type Fail = (fault: Fault, what: string) => never

const CR = 13
const LF = 10
const SP = 32
const HTAB = 9
const COLON = 58

/* States. */
const START_LINE = 0
const START_LINE_LF = 1
const LINE = 2
const NAME = 3
const VALUE = 4
const VALUE_LF = 5
const END_LF = 6

export type HeadLimits = { readonly maxHeaderBytes: number; readonly maxHeaderCount: number }

export class HeadScanner {
  readonly #fail: Fail
  readonly #maxCount: number
  #state = START_LINE
  /** Where to go on, from the block's first byte. */
  #at = 0
  #nameStart = 0
  #colon = 0
  #startLineEnd = 0
  /** nameStart, colon, end of each line. */
  readonly #marks: number[] = []
  /** Of each line, where the name is a usual one. */
  readonly #names: (string | undefined)[] = []
  #count = 0

  constructor(limits: HeadLimits, fail: Fail) {
    this.#fail = fail
    this.#maxCount = limits.maxHeaderCount
  }

  /** Bytes of the block seen so far; all of them once `scan` said true. */
  get length(): number {
    return this.#at
  }
  get startLineEnd(): number {
    return this.#startLineEnd
  }

  /** @param kind `head` begins with a start line, `trailers` does not */
  begin(kind: 'head' | 'trailers'): void {
    this.#state = kind === 'head' ? START_LINE : LINE
    this.#at = 0
    this.#count = 0
  }

  /**
   * @param base index of the block's first byte
   * @param end index after the last byte that may be looked at
   * @returns true when the block is complete
   */
  scan(bytes: Uint8Array, base: number, end: number): boolean {
    let state = this.#state
    let at = base + this.#at
    while (at < end) {
      switch (state) {
        case START_LINE:
          at = skipText(bytes, at, end)
          if (at === end) break
          if (bytes[at] !== CR) this.#fail('malformed', control(bytes[at]!, 'the start line'))
          this.#startLineEnd = at++ - base
          state = START_LINE_LF
          break
        case NAME:
          while (at < end && TOKEN[bytes[at]!] === 1) at++
          if (at === end) break
          if (bytes[at] !== COLON)
            this.#fail(
              'malformed',
              bytes[at] === SP || bytes[at] === HTAB
                ? 'whitespace before the colon of a field (RFC 9112 §5.1)'
                : 'a field name is not a token',
            )
          if (at - base === this.#nameStart) this.#fail('malformed', 'a field without a name')
          this.#colon = at++ - base
          state = VALUE
          break
        case VALUE:
          at = skipText(bytes, at, end)
          if (at === end) break
          if (bytes[at] !== CR) this.#fail('malformed', control(bytes[at]!, 'a field value'))
          this.#mark(bytes, base, at++ - base)
          state = VALUE_LF
          break
        case LINE:
          if (bytes[at] === CR) {
            state = END_LF
            at++
            break
          }
          if (bytes[at] === SP || bytes[at] === HTAB) this.#fail('malformed', 'a folded line (RFC 9112 §5.2)')
          this.#nameStart = at - base
          state = NAME
          break
        default:
          if (bytes[at++] !== LF) this.#fail('malformed', 'CR without LF (RFC 9112 §2.2)')
          if (state === END_LF) {
            this.#at = at - base
            return true
          }
          state = LINE
      }
    }
    this.#state = state
    this.#at = at - base
    return false
  }

  /**
   * Appends the block's fields to `into`: lower-case name, value without the whitespace around it.
   * @param text the block as latin1
   */
  fields(text: string, into: string[]): void {
    const marks = this.#marks
    for (let line = 0, i = 0; line < this.#count; line++, i += 3) {
      let start = marks[i + 1]! + 1
      let end = marks[i + 2]!
      while (start < end && isSpace(text.charCodeAt(start))) start++
      while (end > start && isSpace(text.charCodeAt(end - 1))) end--
      into.push(this.#names[line] ?? text.slice(marks[i]!, marks[i + 1]!).toLowerCase(), text.slice(start, end))
    }
  }

  /** Of the block's fields, as they are written; the first of each name. @param text the block as latin1 */
  names(text: string): Map<string, string> {
    const marks = this.#marks
    const found = new Map<string, string>()
    for (let line = 0, i = 0; line < this.#count; line++, i += 3) {
      const written = text.slice(marks[i]!, marks[i + 1]!)
      const name = this.#names[line] ?? written.toLowerCase()
      if (!found.has(name)) found.set(name, written)
    }
    return found
  }

  #mark(bytes: Uint8Array, base: number, end: number): void {
    if (this.#count === this.#maxCount) this.#fail('too-large', `more than ${this.#maxCount} fields`)
    this.#names[this.#count] = findKnownName(bytes, base + this.#nameStart, base + this.#colon)
    const i = this.#count++ * 3
    this.#marks[i] = this.#nameStart
    this.#marks[i + 1] = this.#colon
    this.#marks[i + 2] = end
  }
}

/** @returns index of the first byte that is none of a text */
function skipText(bytes: Uint8Array, from: number, end: number): number {
  let at = from
  while (
    at + 3 < end &&
    (TEXT[bytes[at]!]! & TEXT[bytes[at + 1]!]! & TEXT[bytes[at + 2]!]! & TEXT[bytes[at + 3]!]!) === 1
  )
    at += 4
  while (at < end && TEXT[bytes[at]!] === 1) at++
  return at
}

function isSpace(code: number): boolean {
  return code === SP || code === HTAB
}

function control(byte: number, where: string): string {
  return byte === LF ? `LF without CR in ${where} (RFC 9112 §2.2)` : `a control character in ${where}`
}
