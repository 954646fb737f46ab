/**
 * Checksums of stored rows. Damage of one byte is always found; any other damage goes unnoticed once in 2³². They do
 * not protect against an attacker, who can write the checksums as well.
 */
import { crc32 } from 'node:zlib'
import type { SqlValue } from '../../../core/storage/storage.ts'

/** From here on the call into zlib costs less than the loop. */
const MIN_NATIVE_BYTES = 512
const PRIME = 0x01_00_01_93

/**
 * Of bytes that are mostly few: every step can be undone for given bytes, so two inputs that differ in one word have
 * different sums.
 */
export function computeSum(buf: Buffer, from: number, to: number, start = 0x81_1c_9d_c5): number {
  if (to - from >= MIN_NATIVE_BYTES) return crc32(buf.subarray(from, to), start)
  let sum = start | 0
  let at = from
  for (; at + 4 <= to; at += 4) {
    sum = Math.imul(sum ^ (buf[at]! | (buf[at + 1]! << 8) | (buf[at + 2]! << 16) | (buf[at + 3]! << 24)), PRIME)
    sum ^= sum >>> 15
  }
  for (; at < to; at++) sum = Math.imul(sum ^ buf[at]!, PRIME)
  return sum >>> 0
}

/** Of the values of a row; a value that moves to the next column is another row. */
export function computeRowSum(...values: readonly SqlValue[]): number {
  let sum = 0
  let text = ''
  for (const value of values) {
    if (value instanceof Uint8Array) {
      sum = crc32(value, crc32(`${text}${value.length}:`, sum))
      text = ''
    } else text += `${value}\0`
  }
  return crc32(text, sum)
}
/** Rows of an earlier version have none. */
export const isWhole = (sum: SqlValue | undefined, ...values: readonly SqlValue[]): boolean =>
  sum === null || sum === undefined || Number(sum) === computeRowSum(...values)
