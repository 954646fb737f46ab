/** Header lists of HTTP/2 (RFC 9113 §8.3.2) as the heads of message.ts. */
import { isHopByHop } from '../codec/field-table.ts'
import type { ResponseHead } from '../message.ts'
import { UNKNOWN_LENGTH } from '../codec/framing.ts'

/** An answer's head, final or not. @param fields as the session tells them: `:status` first, well-formed */
export function decodeAnswer(fields: readonly string[]): ResponseHead {
  const headers: string[] = []
  let contentLength = UNKNOWN_LENGTH
  for (let i = 2; i < fields.length; i += 2) {
    const name = fields[i]!
    const value = fields[i + 1]!
    if (name === 'content-length') contentLength = /^\d{1,15}$/.test(value) ? Number(value) : UNKNOWN_LENGTH
    else if (!isHopByHop(name)) headers.push(name, value)
  }
  return { status: Number(fields[1]), headers, contentLength, maybeTrailers: true }
}
