/**
 * SQLite's native addon: inside the package during development, unpacked from the bundle once when shipped. The storage thread checks it by hash
 * before it is loaded, each time: it lies in a folder that the agent may write.
 */
import { createHash } from 'node:crypto'
import path from 'node:path'
import type { Bundle } from './bundle.ts'
import type { Disk } from './disk.ts'
import { MeshError } from './errors.ts'

export type Addon = { readonly file: string; readonly sha256: string }

/** Where it lies, or will. */
export function addonOf(stateFolder: string, bundle: Bundle): Addon {
  return { file: path.resolve(stateFolder, `sqlite-${bundle.addonSha256.slice(0, 16)}.node`), sha256: bundle.addonSha256 }
}

/** @throws MESH_STORAGE_FULL, MESH_STATE_UNUSABLE, or MESH_STORAGE_FAILED when the bundle itself is damaged: what it has is not written then */
export function unpackAddon({ stateFolder, bundle, disk }: { readonly stateFolder: string; readonly bundle: Bundle; readonly disk: Disk }): void {
  const bytes = bundle.addon()
  if (sha256(bytes) !== bundle.addonSha256) throw new MeshError('MESH_STORAGE_FAILED', `${bundle.file} is damaged: its SQLite addon has another SHA-256 than it should`)
  try {
    disk.makeFolder(stateFolder, 0o700)
    disk.replace(addonOf(stateFolder, bundle).file, bytes, 0o500)
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOSPC') throw new MeshError('MESH_STORAGE_FULL', `there is no room for SQLite in ${stateFolder}`, { cause })
    throw new MeshError('MESH_STATE_UNUSABLE', `SQLite cannot be unpacked into ${stateFolder}`, { cause })
  }
}

/** @returns a path for better-sqlite3's `nativeBinding`, with what is right at it; undefined: the package finds its own. Throws as `unpackAddon`. */
export function soundAddon({ stateFolder, bundle, disk }: { readonly stateFolder: string; readonly bundle: Bundle | undefined; readonly disk: Disk }): string | undefined {
  if (!bundle) return undefined
  const { file } = addonOf(stateFolder, bundle)
  const there = disk.read(file)
  if (!there || sha256(there) !== bundle.addonSha256) unpackAddon({ stateFolder, bundle, disk })
  return file
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')
