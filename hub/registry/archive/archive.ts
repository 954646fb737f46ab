/**
 * A backup of the hub in one file: a copy of the registry with the hub's other files in a table beside its own. What
 * has been written whole has its rows, all or none.
 */
import fs from 'node:fs'
import Database from 'better-sqlite3'
import { MeshError } from '../../../core/errors.ts'
import { toBindingOption } from '../../../core/storage/sqlite-addon.ts'
import type { OpenRegistry } from '../registry.ts'

export type ArchivedFile = { readonly name: string; readonly content: Buffer }

const TABLE = 'backup_files'
const FORMAT = 1

/** @param file must not exist; what is left of one that failed is the caller's to remove */
export async function writeArchive(
  file: string,
  p: {
    readonly registry: OpenRegistry
    readonly files: readonly ArchivedFile[]
    readonly nativeBinding: object | undefined
  },
): Promise<void> {
  await p.registry.copyTo(file, p.nativeBinding)
  fs.chmodSync(file, 0o600)
  const db = open(file, p.nativeBinding)
  try {
    db.transaction(() => {
      db.exec(`CREATE TABLE ${TABLE} (format INTEGER NOT NULL, name TEXT PRIMARY KEY, content BLOB NOT NULL) STRICT`)
      const insert = db.prepare(`INSERT INTO ${TABLE} VALUES (${FORMAT}, ?, ?)`)
      for (const { name, content } of p.files) insert.run(name, content)
    })()
  } finally {
    db.close()
  }
}

/**
 * Puts the registry to `registryFile`, without the files.
 * @returns the files. Throws MESH_CONFIG_INVALID for what is no backup.
 */
export function readArchive(
  file: string,
  p: { readonly registryFile: string; readonly nativeBinding: object | undefined },
): readonly ArchivedFile[] {
  try {
    fs.copyFileSync(file, p.registryFile, fs.constants.COPYFILE_EXCL)
    fs.chmodSync(p.registryFile, 0o600)
    const db = open(p.registryFile, p.nativeBinding)
    try {
      if (db.pragma('integrity_check', { simple: true }) !== 'ok') throw new Error('it is damaged')
      const rows = db.prepare(`SELECT name, content FROM ${TABLE} WHERE format = ${FORMAT} ORDER BY name`).all()
      db.exec(`DROP TABLE ${TABLE}`)
      db.exec('VACUUM')
      return rows as ArchivedFile[]
    } finally {
      db.close()
    }
  } catch (cause) {
    throw new MeshError('MESH_CONFIG_INVALID', `${file} cannot be read as a backup of a hub`, { cause })
  }
}

const open = (file: string, nativeBinding: object | undefined): Database.Database =>
  new Database(file, { fileMustExist: true, ...toBindingOption(nativeBinding) })
