/**
 * Whether a hub runs on a state folder, for the commands beside it. It holds the lock of a file of its own as long as
 * it lives, which the operating system takes back however the process ends; a row that says so would outlive a SIGKILL.
 */
import fs from 'node:fs'
import Database from 'better-sqlite3'
import { toBindingOption } from '../../core/storage/sqlite-addon.ts'

const NAME = 'running.lock'

/**
 * Holds the lock until it is disposed of. Where another hub has it, or the disk refuses, nothing is held: it is only
 * asked for what `devices` shows.
 */
export function holdRunning(folder: string, nativeBinding: object | undefined): Disposable {
  const file = `${folder}/${NAME}`
  let db: Database.Database | undefined
  try {
    db = new Database(file, { timeout: 0, ...toBindingOption(nativeBinding) })
    fs.chmodSync(file, 0o600)
    db.exec('BEGIN EXCLUSIVE')
  } catch {
    db?.close()
    db = undefined
  }
  return {
    [Symbol.dispose]: () => {
      db?.close()
      db = undefined
    },
  }
}

/** Undefined: it is not to be known, e.g. because no hub of this version has run here. */
export function isRunning(folder: string, nativeBinding: object | undefined): boolean | undefined {
  let db: Database.Database | undefined
  try {
    db = new Database(`${folder}/${NAME}`, { timeout: 0, fileMustExist: true, ...toBindingOption(nativeBinding) })
    db.exec('BEGIN IMMEDIATE')
    return false
  } catch (err) {
    return (err as { code?: string }).code === 'SQLITE_BUSY' ? true : undefined
  } finally {
    db?.close()
  }
}
