/**
 * A part of a chunk or slab keeps all of it: what waits for long, or for as long as a peer likes, has memory of its
 * own.
 */

/** Keeping it keeps little else. */
export function isMostOfItsMemory(bytes: Uint8Array): boolean {
  return bytes.byteLength * 2 >= bytes.buffer.byteLength
}

export function copyToOwnMemory(bytes: Uint8Array): Buffer {
  const copy = Buffer.allocUnsafeSlow(bytes.byteLength)
  copy.set(bytes)
  return copy
}
