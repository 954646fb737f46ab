/**
 * Losses that SQLite does not see: a file that is gone or empty is a new one for it, a log that is gone was never there,
 * and behind a bit that was flipped in the log it reads no further. So a mark beside the file says whether it was used.
 */
import fs from 'node:fs'
import type { DurabilityProfile, Loss } from './storage.ts'

const WAL_HEADER_BYTES = 32
const FRAME_HEADER_BYTES = 24
const MAGIC = 0x377f0682
/** Transactions behind a broken frame. One may be there after a power cut: it was not acknowledged. */
const MIN_LOST_COMMITS = 2

export const markOf = (path: string): string => `${path}.used`

/** `open`: with the first commit. Not fsynced: without the mark a loss is only not seen. */
export function mark(path: string, state: 'open' | 'closed'): void {
  try {
    fs.writeFileSync(markOf(path), `${state}\n`, { mode: 0o600 })
  } catch {
    /* a full disk; the next start sees less */
  }
}

/** Asked before SQLite opens the file. */
export function lossOf(path: string, profile: DurabilityProfile): Loss | undefined {
  const state = readMark(path)
  if (state === undefined) return undefined
  if (sizeOf(path) === 0) return 'file'
  if (state === 'closed') return undefined
  if (sizeOf(`${path}-wal`) < WAL_HEADER_BYTES) return 'log'
  return profile === 'strict' && isBroken(fs.readFileSync(`${path}-wal`)) ? 'broken log' : undefined
}

function readMark(path: string): string | undefined {
  try {
    return fs.readFileSync(markOf(path), 'utf8').trim()
  } catch {
    return undefined
  }
}
const sizeOf = (path: string): number => fs.statSync(path, { throwIfNoEntry: false })?.size ?? 0

/** The checksums of https://sqlite.org/fileformat2.html §4: each goes on from the one before. */
function isBroken(log: Buffer): boolean {
  const magic = log.readUInt32BE(0)
  if ((magic & ~1) !== MAGIC) return true
  const read = (magic & 1) === 1 ? (at: number) => log.readUInt32BE(at) : (at: number) => log.readUInt32LE(at)
  let [s0, s1] = [0, 0]
  const sum = (from: number, to: number): void => {
    for (let at = from; at < to; at += 8) {
      s0 = (s0 + read(at) + s1) >>> 0
      s1 = (s1 + read(at + 4) + s0) >>> 0
    }
  }
  const isAt = (at: number): boolean => log.readUInt32BE(at) === s0 && log.readUInt32BE(at + 4) === s1
  sum(0, 24)
  if (!isAt(24)) return true
  const frameBytes = FRAME_HEADER_BYTES + log.readUInt32BE(8)
  const salt = log.subarray(16, 24)
  let lostCommits = 0
  let isWhole = true
  for (let at = WAL_HEADER_BYTES; at + frameBytes <= log.length; at += frameBytes) {
    if (!log.subarray(at + 8, at + 16).equals(salt)) {
      // What an earlier round of the log has left begins here, unless it is the salt that was flipped.
      isWhole = false
      continue
    }
    if (isWhole) {
      sum(at, at + 8)
      sum(at + FRAME_HEADER_BYTES, at + frameBytes)
      isWhole = isAt(at + 16)
    }
    if (!isWhole && log.readUInt32BE(at + 4) !== 0) lostCommits++
  }
  return lostCommits >= MIN_LOST_COMMITS
}
