/**
 * SQLite's native addon: inside the package during development, in the bundle when shipped. Code is never loaded from a
 * name that the agent may write: `meshlet precompile` puts the addon beside the bundle, and without it each start
 * unpacks it into a file that has lost its name before a byte is in it. What is loaded is the descriptor of the file
 * that was looked at, so that nobody can put another in its place meanwhile.
 */
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { zstdDecompressSync } from 'node:zlib'
import type { Bundle, BundlePart } from '../runtime/bundle.ts'
import { MeshError } from '../errors.ts'

/** `fd`: an open descriptor of it, which is looked at first. `encoded`: read only where that is not enough. */
export type Addon = { readonly sha256: string; readonly fd: number | undefined; readonly encoded: BundlePart }
/** What better-sqlite3 takes for `nativeBinding`. `fd` stays open: another thread may load it, too. */
export type LoadedAddon = { readonly binding: object; readonly fd: number }

/** Both are private to the unit, and Debian's /run lets no code be executed. */
const TEMPORARY = [os.tmpdir(), '/dev/shm']

/** For better-sqlite3, whose types know only of paths. */
export function toBindingOption(binding: object | undefined): { nativeBinding?: string } {
  return binding === undefined ? {} : { nativeBinding: binding as unknown as string }
}

export function describeAddon(bundle: Bundle): Addon {
  return { sha256: bundle.addonSha256, fd: bundle.addonBeside, encoded: bundle.encodedAddon }
}

/**
 * @param spare folders for when there is no room for it in temporary ones Throws MESH_STORAGE_FAILED when the bundle is
 * damaged, MESH_STORAGE_FULL or MESH_STATE_UNUSABLE when there is no place for the addon.
 */
export function loadAddon(addon: Addon, spare: readonly string[] = []): LoadedAddon {
  // Else it is that of another version: meshlet was upgraded and `meshlet precompile` not run again.
  if (addon.fd !== undefined && sha256(read(addon.fd)) === addon.sha256)
    return { binding: load(addon.fd), fd: addon.fd }
  const bytes = decodeAddon(addon)
  let failure: unknown
  for (const folder of [...TEMPORARY, ...spare]) {
    let fd: number | undefined
    try {
      fd = nameless(folder, bytes)
      return { binding: load(fd), fd }
    } catch (thrown) {
      failure = thrown
      if (fd !== undefined) fs.closeSync(fd)
    }
  }
  const isFull = (failure as NodeJS.ErrnoException).code === 'ENOSPC'
  throw new MeshError(
    isFull ? 'MESH_STORAGE_FULL' : 'MESH_STATE_UNUSABLE',
    `SQLite can be loaded from none of ${[...TEMPORARY, ...spare].join(', ')}: ${(failure as Error).message}`,
    { cause: failure },
  )
}

/** Throws MESH_STORAGE_FAILED when the bundle is damaged. */
export function decodeAddon({ encoded, sha256: wanted }: Pick<Addon, 'encoded' | 'sha256'>): Uint8Array {
  let bytes: Uint8Array | undefined
  try {
    bytes = zstdDecompressSync(Buffer.from(read(encoded.fd, encoded).toString('latin1'), 'base64'))
  } catch {
    /* told below */
  }
  if (!bytes || sha256(bytes) !== wanted)
    throw new MeshError(
      'MESH_STORAGE_FAILED',
      'the bundle is damaged: its SQLite addon has another SHA-256 than it should',
    )
  return bytes
}

/**
 * Made by this call (O_EXCL follows no link), for this user alone, and gone from the folder before there is anything to
 * read or change in it.
 */
function nameless(folder: string, bytes: Uint8Array): number {
  const name = path.join(folder, `.meshlet-${process.pid}-${crypto.randomUUID()}`)
  const fd = fs.openSync(
    name,
    fs.constants.O_RDWR | fs.constants.O_CREAT | fs.constants.O_EXCL | fs.constants.O_NOFOLLOW,
    0o600,
  )
  try {
    fs.unlinkSync(name)
    fs.writeFileSync(fd, bytes)
  } catch (thrown) {
    fs.closeSync(fd)
    throw thrown
  }
  return fd
}

function load(fd: number): object {
  const target = { exports: {} }
  process.dlopen(target, `/proc/self/fd/${fd}`)
  return target.exports
}

/** All of a file, or a part of it. */
function read(fd: number, { from, length } = { from: 0, length: fs.fstatSync(fd).size }): Buffer {
  const bytes = Buffer.alloc(length)
  for (let at = 0; at < length;) {
    const now = fs.readSync(fd, bytes, at, length - at, from + at)
    if (now === 0) break
    at += now
  }
  return bytes
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')
