/**
 * What a SQLite file starts from: itself; the whole copy of it when it is damaged or gone; nothing when that is
 * damaged, too. What is damaged is set aside, never overwritten.
 */
import fs from 'node:fs'
import path from 'node:path'
import { NONE_DAMAGED, SUFFIXES, tidyDamaged } from '../os/files/damaged-files.ts'
import { replaceAtomically, syncFolder, type SlowCalls } from '../os/atomic-write.ts'
import {
  readChunks,
  isDamage,
  isUnreadable,
  readSize,
  SqliteFile,
  nameSuspicion,
  type OpenFile,
} from './sqlite-file.ts'
import { findLoss } from './sqlite-loss.ts'
import type { Loss, Opened } from './storage.ts'

export type Found = Omit<Opened, 'storage'> & { readonly opened: SqliteFile }

/** Rejects with `code` MESH_STORAGE_NEWER, or what SQLite or the system say. */
export async function openSqlite(o: OpenFile): Promise<Found> {
  const lost = o.tellsLoss && o.whenDamaged === 'set aside' ? findLoss(o.path, o.profile) : undefined
  const found = await openFile(o, lost)
  const { damagedLimits = o.previous === undefined ? undefined : OF_COPIED } = o
  // Whoever opens it again counts nothing.
  const damaged =
    damagedLimits && o.whenDamaged === 'set aside' ? tidyDamaged(o.path, damagedLimits, found.setAside) : NONE_DAMAGED
  return { ...found, lost, damaged }
}

async function openFile(o: OpenFile, lost: Loss | undefined): Promise<Omit<Found, 'damaged'>> {
  const copy = o.previous !== undefined && readSize(o.previous) > 0 ? o.previous : undefined
  const previous = copy === undefined ? 'none' : 'there'
  if (o.whenDamaged === 'fail' && readSize(o.path) === 0)
    throw Object.assign(new Error('the file is gone'), { code: 'SQLITE_CORRUPT' })
  const isToSalvage = lost === 'broken log' || (lost === 'file' && readSize(`${o.path}-wal`) > 0)
  if (!isToSalvage && o.startFrom === 'file' && (readSize(o.path) > 0 || copy === undefined)) {
    const source = readSize(o.path) > 0 ? 'file' : 'nothing'
    try {
      return { opened: SqliteFile.open(o), source, setAside: undefined, previous }
    } catch (thrown) {
      if (o.whenDamaged === 'fail' || !(o.previous === undefined ? isDamage : isUnreadable)(thrown)) throw thrown
    }
  }
  fs.rmSync(nameSuspicion(o.path), { force: true })
  const wasThere = fs.existsSync(o.path)
  const cleared = await clearWay(o.path, o.stamp)
  // A log alone is worth something only where no copy stands in for the file.
  const setAside = wasThere || o.previous === undefined ? cleared : undefined
  if (o.startFrom === 'nothing' || copy === undefined)
    return { opened: SqliteFile.open(o), source: 'nothing', setAside, previous }
  try {
    await bringBack(copy, o.path)
    return { opened: SqliteFile.open({ ...o, check: 'whole' }), source: 'previous', setAside, previous }
  } catch (thrown) {
    if (!isUnreadable(thrown)) throw thrown
    for (const suffix of SUFFIXES) fs.rmSync(o.path + suffix, { force: true })
    return { opened: SqliteFile.open(o), source: 'nothing', setAside, previous: 'damaged' }
  }
}

/** Of a file that has a copy: where it comes from again more is of no use. */
const OF_COPIED = { maxFiles: 3, maxBytes: Infinity }

/**
 * Nothing is left at `path`, and no log of it: SQLite would apply one to whatever file lies beside it. On the disk,
 * too, before another file takes the name. @returns the new name of what was there; undefined when nothing was
 */
export async function clearWay(
  file: string,
  stamp: string,
  calls: ClearCalls = fs.promises,
): Promise<string | undefined> {
  const names = new Set(await calls.readdir(path.dirname(file)))
  const isThere = (name: string): boolean => names.has(path.basename(name))
  let aside = `${file}.damaged-${stamp}`
  for (let n = 2; isThere(aside); n++) aside = `${file}.damaged-${stamp}-${n}`
  // The file first: SQLite removes a log beside a file that is not there.
  const left = SUFFIXES.filter((suffix) => isThere(file + suffix))
  for (const suffix of left) await calls.rename(file + suffix, aside + suffix)
  if (left.length > 0) await syncFolder(path.dirname(file), calls)
  return left.includes('') || left.includes('-wal') ? aside : undefined
}
export type ClearCalls = SlowCalls & { readdir(folder: string): Promise<string[]> }

async function bringBack(copy: string, file: string): Promise<void> {
  const fd = fs.openSync(copy, 'r')
  try {
    await replaceAtomically(file, readChunks(fd), 0o600)
  } finally {
    fs.closeSync(fd)
  }
}
