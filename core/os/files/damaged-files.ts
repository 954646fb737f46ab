/**
 * Damaged files that were set aside beside the one that took their place, for whoever wants to salvage more of them.
 * They are bounded in number and size: a disk that breaks files again and again must not be filled with them.
 */
import fs from 'node:fs'
import path from 'node:path'

/** The newest stays, whatever its size. */
export type DamagedLimits = { readonly maxFiles: number; readonly maxBytes: number }
/** With their logs. `removed`: files that the limits left no room for. */
export type Damaged = { readonly files: number; readonly bytes: number; readonly removed: number }

/** Of small files: identity, answers. */
export const FEW_DAMAGED: DamagedLimits = { maxFiles: 3, maxBytes: 64 * 1024 * 1024 }
export const NONE_DAMAGED: Damaged = { files: 0, bytes: 0, removed: 0 }
/** What SQLite keeps beside a file of its own belongs to it. */
export const SUFFIXES = ['', '-wal', '-shm', '-journal']

/**
 * Removes the oldest of those that are too many. Never throws: the file beside them is worth more.
 * @param newest what has been set aside now: the clock may have gone back since the others were
 */
export function tidyDamaged(
  file: string,
  limits: DamagedLimits,
  newest: string | undefined,
  calls: TidyCalls = fs,
): Damaged {
  try {
    return removeOldest(file, limits, newest, calls)
  } catch {
    return NONE_DAMAGED
  }
}
export type TidyCalls = Pick<typeof fs, 'readdirSync' | 'rmSync' | 'statSync'>
function removeOldest(file: string, limits: DamagedLimits, newest: string | undefined, calls: TidyCalls): Damaged {
  const folder = path.dirname(file)
  const names = calls.readdirSync(folder).filter((name) => name.startsWith(`${path.basename(file)}.damaged-`))
  const first = newest === undefined ? [] : [path.basename(newest)]
  const all = new Set([...first, ...names.map(withoutSuffix).sort().reverse()])
  let [files, bytes, removed] = [0, 0, 0]
  for (const one of all) {
    const parts = names.filter((name) => withoutSuffix(name) === one).map((name) => path.join(folder, name))
    const size = parts.reduce((sum, part) => sum + (calls.statSync(part, { throwIfNoEntry: false })?.size ?? 0), 0)
    const isKept = files === 0 || (files < limits.maxFiles && bytes + size <= limits.maxBytes)
    if (!isKept) for (const part of parts) calls.rmSync(part, { force: true })
    files += isKept ? 1 : 0
    bytes += isKept ? size : 0
    removed += isKept ? 0 : 1
  }
  return { files, bytes, removed }
}
const withoutSuffix = (name: string): string => name.replace(/-(wal|shm|journal)$/, '')
