/**
 * Binary as text a sixteenth shorter than base 64, for what a bundle seldom reads. The bundle's loader has the way back
 * as well.
 */

/** Four bytes are five digits from `(` on, the last group filled up with zeros. No digit ends a comment line. */
export function base85(bytes: Buffer): string {
  const padded = Buffer.concat([bytes, Buffer.alloc((4 - (bytes.length % 4)) % 4)])
  const text = Buffer.alloc((padded.length / 4) * 5)
  for (let from = 0, to = 0; from < padded.length; from += 4, to += 5) {
    for (let group = padded.readUInt32BE(from), digit = 4; digit >= 0; digit--, group = Math.floor(group / 85))
      text[to + digit] = 40 + (group % 85)
  }
  return text.toString('latin1')
}

/** @param length of what was encoded, in bytes */
export function fromBase85(text: string, length: number): Buffer {
  const bytes = Buffer.alloc((text.length / 5) * 4)
  for (let from = 0, to = 0; from < text.length; from += 5, to += 4) {
    let group = 0
    for (let digit = 0; digit < 5; digit++) group = group * 85 + text.charCodeAt(from + digit) - 40
    bytes.writeUInt32BE(group, to)
  }
  return bytes.subarray(0, length)
}
