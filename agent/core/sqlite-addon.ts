/** Where SQLite's native addon is: inside the package during development, unpacked from the bundle once when shipped. */
import { createHash } from 'node:crypto'
import path from 'node:path'
import type { Bundle } from './bundle.ts'
import type { Disk } from './disk.ts'

/**
 * @returns a path for better-sqlite3's `nativeBinding`; undefined: the package finds its own.
 * Code that is loaded from a writable folder is checked by hash each time.
 */
export function sqliteAddon({ stateFolder, bundle, disk }: { readonly stateFolder: string; readonly bundle: Bundle | undefined; readonly disk: Disk }): string | undefined {
  if (!bundle) return undefined
  const file = path.join(stateFolder, `sqlite-${bundle.addonSha256.slice(0, 16)}.node`)
  const there = disk.read(file)
  if (!there || createHash('sha256').update(there).digest('hex') !== bundle.addonSha256) {
    disk.makeFolder(stateFolder, 0o700)
    disk.replace(file, bundle.addon(), 0o500)
  }
  return file
}
