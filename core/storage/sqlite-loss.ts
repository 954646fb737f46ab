/**
 * Losses that SQLite does not see: a file that is gone or empty is a new one for it, a log that is gone was never there,
 * and behind a bit that was flipped in the log it reads no further. So a mark beside the file says whether it was used,
 * in which run of the kernel, and with which profile: a kill leaves a log with no torn writes but its last, a power cut
 * may take of it whatever was not synced.
 */
import fs from 'node:fs'
import type { DurabilityProfile, Loss } from './storage.ts'

export const WAL_HEADER_BYTES = 32
export const FRAME_HEADER_BYTES = 24
const MAGIC = 0x377f0682
/** What a restart of the log leaves behind its end has a salt that is lower by its number. */
const MAX_OLD_SALTS = 1 << 20

export const nameMark = (path: string): string => `${path}.used`

type State = 'open' | 'closing' | 'closed'
/**
 * `open`: with the first commit. `closing`: SQLite is about to remove the log, so this has to be on the disk before. The
 * others are not synced: without the mark a loss is only not seen.
 */
export function mark(path: string, state: State, profile: DurabilityProfile): void {
  try {
    const fd = fs.openSync(nameMark(path), 'w', 0o600)
    try {
      fs.writeSync(fd, `${state} ${bootId()} ${profile}\n`)
      if (state === 'closing') fs.fsyncSync(fd)
    } finally {
      fs.closeSync(fd)
    }
  } catch {
    /* a full disk; the next start sees less */
  }
}

/**
 * Must be called before SQLite opens the file.
 *
 * @param profile of now, for a mark that an earlier version made: it does not name its own
 */
export function findLoss(path: string, profile: DurabilityProfile): Loss | undefined {
  const [state, boot, written = profile] = readMark(path)
  // One that is torn says nothing.
  if (state !== 'open' && state !== 'closing' && state !== 'closed') return undefined
  if (sizeOf(path) === 0) return 'file'
  if (state === 'closed') return undefined
  if (sizeOf(`${path}-wal`) < WAL_HEADER_BYTES) return state === 'closing' ? undefined : 'log'
  const isSameBoot = boot !== undefined && boot === bootId()
  return damageOf(fs.readFileSync(`${path}-wal`), isSameBoot ? 'frame' : written === 'strict' ? 'commit' : 'unsynced')
}

function readMark(path: string): readonly (string | undefined)[] {
  try {
    return fs.readFileSync(nameMark(path), 'utf8').trim().split(' ')
  } catch {
    return []
  }
}
function bootId(): string {
  try {
    return fs.readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  } catch {
    return ''
  }
}
const sizeOf = (path: string): number => fs.statSync(path, { throwIfNoEntry: false })?.size ?? 0

/**
 * What may be torn though nothing is damaged. `frame`: the last, by a kill. By a power cut: `commit`, the last
 * transaction, where each is synced; `unsynced`, any part of what was not, where they are not.
 */
type Torn = 'frame' | 'commit' | 'unsynced'

/** The checksums of https://sqlite.org/fileformat2.html §4: each goes on from the one before. */
function damageOf(log: Buffer, torn: Torn): Loss | undefined {
  const magic = log.readUInt32BE(0)
  if ((magic & ~1) !== MAGIC) return 'broken log'
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
  if (!isAt(24)) return 'broken log'
  const frameBytes = FRAME_HEADER_BYTES + log.readUInt32BE(8)
  let at = WAL_HEADER_BYTES
  for (; at + frameBytes <= log.length && hasSaltOf(log, at); at += frameBytes) {
    sum(at, at + 8)
    sum(at + FRAME_HEADER_BYTES, at + frameBytes)
    if (!isAt(at + 16)) break
  }
  return afterEnd(log, at, frameBytes, torn)
}

/** @param end of the frames that SQLite reads */
function afterEnd(log: Buffer, end: number, frameBytes: number, torn: Torn): Loss | undefined {
  let frames = 0
  let commits = 0
  for (let at = end; at + frameBytes <= log.length; at += frameBytes) {
    if (isOfEarlierRound(log, at)) {
      if (at === end) return undefined
      continue
    }
    frames++
    if (log.readUInt32BE(at + 4) !== 0) commits++
  }
  if (frames === 0) return end < log.length ? 'log end' : undefined
  if (torn === 'unsynced') return commits > 0 ? 'unsynced' : 'log end'
  return frames > 1 && (torn === 'frame' || commits > 1) ? 'broken log' : 'log end'
}

/** Whether the frame is of this round of the log, whose salt is in the header. */
const hasSaltOf = (log: Buffer, at: number): boolean => log.compare(log, at + 8, at + 16, 16, 24) === 0
function isOfEarlierRound(log: Buffer, at: number): boolean {
  const age = (log.readUInt32BE(16) - log.readUInt32BE(at + 8)) >>> 0
  return age > 0 && age < MAX_OLD_SALTS && log.readUInt32BE(at + 12) !== log.readUInt32BE(20)
}
