/** Where SQLite's native addon is: inside the package during development, unpacked from the bundle once when shipped. */
import { createHash } from 'node:crypto'
import path from 'node:path'
import type { Bundle } from './bundle.ts'
import type { Disk } from './disk.ts'
import { MeshError } from './errors.ts'

/**
 * @returns a path for better-sqlite3's `nativeBinding`; undefined: the package finds its own.
 * Code that is loaded from a writable folder is checked by hash each time.
 * @throws the OS error when the folder is not writable, MESH_STORAGE_FAILED when the bundle itself is damaged
 */
export function sqliteAddon({ stateFolder, bundle, disk }: { readonly stateFolder: string; readonly bundle: Bundle | undefined; readonly disk: Disk }): string | undefined {
  if (!bundle) return undefined
  const file = path.join(stateFolder, `sqlite-${bundle.addonSha256.slice(0, 16)}.node`)
  const there = disk.read(file)
  if (there && sha256(there) === bundle.addonSha256) return file
  const addon = bundle.addon()
  if (sha256(addon) !== bundle.addonSha256) throw new MeshError('MESH_STORAGE_FAILED', `${bundle.file} is damaged: its SQLite addon has another SHA-256 than it should`)
  disk.makeFolder(stateFolder, 0o700)
  disk.replace(file, addon, 0o500)
  return file
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')
