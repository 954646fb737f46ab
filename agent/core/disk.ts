import fs from 'node:fs'
import path from 'node:path'

/** Small whole files (identity, tokens): read whole, replaced whole. Tests inject faults between any two steps. */
export interface Disk {
  /** Undefined when there is no such file. Throws the OS error otherwise. */
  read(file: string): Buffer | undefined
  /** Write beside, fsync, rename, fsync the folder: after it returns, a power cut leaves the new content; before, the old. */
  replace(file: string, content: string | Uint8Array, mode: number): void
  /** Gives `file` the name `file.damaged-<stamp>` so that nothing is lost; returns the new name. */
  setAside(file: string, stamp: string): string
  makeFolder(folder: string, mode: number): void
  remove(file: string): void
  /** Free bytes of the file system that holds `folder`. */
  freeBytes(folder: string): number
}

export const systemDisk: Disk = {
  read(file) {
    try { return fs.readFileSync(file) } catch (err) {
      if ((err as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      throw err
    }
  },
  replace(file, content, mode) {
    const beside = `${file}.new`
    const fd = fs.openSync(beside, 'w', mode)
    try {
      fs.fchmodSync(fd, mode) // an earlier crash may have left the file with another mode
      fs.writeFileSync(fd, content)
      fs.fsyncSync(fd)
    } finally { fs.closeSync(fd) }
    fs.renameSync(beside, file)
    const folder = fs.openSync(path.dirname(file), 'r')
    try { fs.fsyncSync(folder) } finally { fs.closeSync(folder) }
  },
  setAside(file, stamp) {
    const name = `${file}.damaged-${stamp}`
    fs.renameSync(file, name)
    return name
  },
  makeFolder(folder, mode) { makeFolders(path.resolve(folder), mode) },
  remove(file) { fs.rmSync(file, { force: true }) },
  freeBytes(folder) {
    const s = fs.statfsSync(folder)
    return s.bavail * s.bsize
  },
}

/** By hand: Node's `recursive` never returns where mkdir answers ENOENT although the parent is there, as in /proc. */
function makeFolders(folder: string, mode: number): void {
  const isFolder = (name: string): boolean => fs.statSync(name, { throwIfNoEntry: false })?.isDirectory() ?? false
  if (isFolder(folder)) return
  const parent = path.dirname(folder)
  if (!isFolder(parent)) makeFolders(parent, mode)
  try { fs.mkdirSync(folder, { mode }) } catch (err) {
    // Somebody else was quicker.
    if ((err as NodeJS.ErrnoException).code !== 'EEXIST' || !isFolder(folder)) throw err
  }
}
