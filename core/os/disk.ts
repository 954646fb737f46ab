import fs from 'node:fs'
import path from 'node:path'
import { FEW_DAMAGED, tidyDamaged } from './files/damaged-files.ts'

/** Small whole files (identity, tokens): read whole, replaced whole. Tests inject faults between any two steps. */
export interface Disk {
  /** Undefined when there is no such file. Throws the OS error otherwise. */
  read(file: string): Buffer | undefined
  /**
   * Write beside, fsync, rename, fsync the folder: after it returns, a power cut leaves the new content; before, the
   * old.
   */
  replace(file: string, content: string | Uint8Array, mode: number, owner?: FileOwner): void
  /** Throws what the system says when no file can be made in `folder`; leaves none, and does not wait for the disk. */
  tryWriting(folder: string): void
  /**
   * Gives `file` the name `file.damaged-<stamp>` so that nothing is lost; returns the new name. The newest three of a
   * file are kept.
   */
  setAside(file: string, stamp: string): string
  /** Whether something of that name is there; throws what the system says where that cannot be told. */
  has(file: string): boolean
  /** Through links. Undefined when there is no such file; throws the OS error otherwise. */
  stat(file: string): FileStat | undefined
  makeFolder(folder: string, mode: number): void
  remove(file: string): void
  /** Free bytes of the file system that holds `folder`. */
  freeBytes(folder: string): number
}

export type FileOwner = { readonly userId: number; readonly groupId: number }
export type FileStat = {
  readonly owner: FileOwner
  /** Permission bits. */
  readonly mode: number
  /** Whether the file is root's or that of this process's user. */
  readonly isOurs: boolean
  readonly sizeBytes: number
  /** Another one when the file has another content, or is another. */
  readonly stamp: string
}

/** The system calls that a Disk makes, so that tests can stop the world between any two. */
export type FileCalls = Pick<
  typeof fs,
  | 'closeSync'
  | 'fchmodSync'
  | 'fchownSync'
  | 'fsyncSync'
  | 'mkdirSync'
  | 'openSync'
  | 'readdirSync'
  | 'readFileSync'
  | 'renameSync'
  | 'rmSync'
  | 'statSync'
  | 'statfsSync'
  | 'writeFileSync'
>

export function createDisk(calls: FileCalls): Disk {
  return {
    read(file) {
      try {
        refuseEndless(file, calls)
        return calls.readFileSync(file)
      } catch (err) {
        if ((err as NodeJS.ErrnoException).code === 'ENOENT') return undefined
        throw err
      }
    },
    replace(file, content, mode, owner) {
      const beside = `${file}.new`
      // What a crash left there, or a link that somebody put there, goes; O_EXCL opens nothing that is there already,
      // and follows no link.
      calls.rmSync(beside, { force: true })
      const fd = calls.openSync(beside, 'wx', mode)
      try {
        calls.fchmodSync(fd, mode) // whatever the umask says
        // Only root may give a file away, and for others it is theirs already.
        if (owner && process.getuid?.() === 0) calls.fchownSync(fd, owner.userId, owner.groupId)
        calls.writeFileSync(fd, content)
        calls.fsyncSync(fd)
      } finally {
        calls.closeSync(fd)
      }
      calls.renameSync(beside, file)
      syncFolder(path.dirname(file), calls)
    },
    tryWriting(folder) {
      const file = path.join(folder, '.writable')
      calls.rmSync(file, { force: true })
      calls.closeSync(calls.openSync(file, 'wx', 0o600))
      calls.rmSync(file, { force: true })
    },
    setAside(file, stamp) {
      const name = `${file}.damaged-${stamp}`
      calls.renameSync(file, name)
      tidyDamaged(file, FEW_DAMAGED, name, calls)
      return name
    },
    stat(file) {
      const found = calls.statSync(file, { throwIfNoEntry: false })
      return found && describe(found)
    },
    has: (file) => calls.statSync(file, { throwIfNoEntry: false }) !== undefined,
    makeFolder(folder, mode) {
      makeFolders(path.resolve(folder), mode, calls)
    },
    remove(file) {
      calls.rmSync(file, { force: true })
    },
    freeBytes(folder) {
      const s = calls.statfsSync(folder)
      return s.bavail * s.bsize
    },
  }
}

export const systemDisk: Disk = createDisk(fs)

function describe({ dev, ino, size, mtimeMs, ctimeMs, mode, uid, gid }: fs.Stats): FileStat {
  return {
    owner: { userId: uid, groupId: gid },
    mode: mode & 0o7777,
    isOurs: uid === 0 || uid === process.getuid?.(),
    sizeBytes: size,
    stamp: `${dev} ${ino} ${size} ${mtimeMs} ${ctimeMs}`,
  }
}

/**
 * A pipe that nobody writes to would hold the whole process up, a device may never end. Who names a descriptor of the
 * command line means it.
 */
function refuseEndless(file: string, calls: FileCalls): void {
  const found = calls.statSync(file, { throwIfNoEntry: false })
  if (!found || found.isFile() || found.isDirectory() || /^\/(?:dev\/(?:stdin|fd\/)|proc\/self\/fd\/)/.test(file))
    return
  throw Object.assign(new Error(`${file} is a pipe or a device, no file`), { code: 'ENOTSUP' })
}

function syncFolder(folder: string, calls: FileCalls): void {
  const fd = calls.openSync(folder, 'r')
  try {
    calls.fsyncSync(fd)
  } finally {
    calls.closeSync(fd)
  }
}

/** By hand: Node's `recursive` never returns where mkdir answers ENOENT although the parent is there, as in /proc. */
function makeFolders(folder: string, mode: number, calls: FileCalls): void {
  const isFolder = (name: string): boolean => calls.statSync(name, { throwIfNoEntry: false })?.isDirectory() ?? false
  if (isFolder(folder)) return
  const parent = path.dirname(folder)
  if (!isFolder(parent)) makeFolders(parent, mode, calls)
  try {
    calls.mkdirSync(folder, { mode })
  } catch (err) {
    // Somebody else was quicker.
    if ((err as NodeJS.ErrnoException).code !== 'EEXIST' || !isFolder(folder)) throw err
  }
  // A file that is safe in a folder which is not would be gone with it. A parent that is not ours to read is the
  // system's, made long ago.
  try {
    syncFolder(parent, calls)
  } catch (err) {
    if (!['EACCES', 'EPERM', 'EINVAL'].includes((err as NodeJS.ErrnoException).code ?? '')) throw err
  }
}
