/**
 * Sets of sequence numbers in a queue's row: distances from its first open one, 4 bytes each. Receivers' windows bound
 * their number.
 */

const NOTHING = new Uint8Array(0)

export function encodeSet(seqs: Iterable<number>, firstSeq: number): Uint8Array {
  const offsets: number[] = []
  for (const seq of seqs) if (seq >= firstSeq) offsets.push(seq - firstSeq)
  if (offsets.length === 0) return NOTHING
  const out = Buffer.allocUnsafeSlow(offsets.length * 4)
  for (const [i, offset] of offsets.entries()) out.writeUInt32LE(offset, i * 4)
  return out
}

/** A cut number at the end is left out. */
export function decodeSet(data: Uint8Array, firstSeq: number): number[] {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength)
  return Array.from({ length: bytes.length >> 2 }, (_, i) => firstSeq + bytes.readUInt32LE(i * 4))
}
