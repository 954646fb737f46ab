/**
 * A file system in memory that can be stopped after any system call. `killed`: what is there when the process dies.
 * `powerCuts`: everything that a power cut may leave, by the rules of POSIX at their weakest: of data that was not
 * synced nothing, a part or all; of changes to a folder that was not synced any selection.
 */
import path from 'node:path'
import { createDisk, type Disk, type FileCalls } from '../../../core/os/disk.ts'
import type { ClearCalls } from '../../../core/storage/sqlite-open.ts'

type Inode = { readonly kind: 'file' | 'folder'; bytes: Buffer; synced: Buffer; mode: number }
type Change = { readonly folder: string; readonly apply: (names: Map<string, Inode>) => void }

export class Stopped extends Error {}

export class CrashFs {
  /** By whole path. */
  readonly #names: Map<string, Inode>
  readonly #syncedNames: Map<string, Inode>
  #pending: Change[] = []
  readonly #open = new Map<number, { inode: Inode; name: string }>()
  #nextFd = 3
  #callsLeft = Infinity
  calls = 0
  stopped = false

  constructor(names: ReadonlyMap<string, Inode> = new Map([['/', folder()]])) {
    this.#names = new Map([...names].map(([name, inode]) => [name, { ...inode, synced: inode.bytes }]))
    this.#syncedNames = new Map(this.#names)
  }

  get disk(): Disk {
    return createDisk(this.#system)
  }
  /** The same calls, as those who do not wait make them. */
  get slow(): ClearCalls {
    const system = this.#system
    return {
      open: async (name, flags, mode) => {
        const fd = system.openSync(name, flags, mode)
        return {
          chmod: async (m) => system.fchmodSync(fd, m),
          writeFile: async (bytes) => system.writeFileSync(fd, bytes),
          sync: async () => system.fsyncSync(fd),
          close: async () => system.closeSync(fd),
        }
      },
      rename: async (from, to) => system.renameSync(from, to),
      rm: async (name) => system.rmSync(name),
      readdir: async (name) =>
        this.list()
          .filter((n) => path.dirname(n) === name)
          .map((n) => path.basename(n)),
    }
  }
  modeOf(file: string): number | undefined {
    return this.#names.get(file)?.mode
  }
  list(): string[] {
    return [...this.#names.keys()].sort()
  }
  /** The next `calls` system calls work, the one after does not happen and throws Stopped. */
  stopAfter(calls: number): void {
    this.#callsLeft = calls
  }

  /** The process is gone, the system is not. */
  killed(): CrashFs {
    return new CrashFs(this.#names)
  }

  /** Every state that may be found after the power comes back. */
  powerCuts(): CrashFs[] {
    const states: CrashFs[] = []
    for (let chosen = 0; chosen < 2 ** this.#pending.length; chosen++) {
      const names = new Map(this.#syncedNames)
      this.#pending.forEach((change, i) => {
        if (chosen & (1 << i)) change.apply(names)
      })
      // A name without its folder is no name.
      for (const name of names.keys()) if (name !== '/' && !names.has(path.dirname(name))) names.delete(name)
      for (const keep of [0, 0.5, 1, -1])
        states.push(
          new CrashFs(new Map([...names].map(([name, inode]) => [name, { ...inode, bytes: left(inode, keep) }]))),
        )
    }
    return states
  }

  #step(): void {
    if (this.#callsLeft-- <= 0) {
      this.stopped = true
      throw new Stopped()
    }
    this.calls++
  }
  #change(folderName: string, apply: Change['apply']): void {
    apply(this.#names)
    this.#pending.push({ folder: folderName, apply })
  }
  #find(name: string): Inode {
    const inode = this.#names.get(name)
    if (!inode) throw Object.assign(new Error(`ENOENT ${name}`), { code: 'ENOENT' })
    return inode
  }

  readonly #system = {
    readFileSync: (name: string) => this.#find(name).bytes,
    openSync: (name: string, flags: string, mode: number) => {
      this.#step()
      if (flags === 'wx') {
        if (this.#names.has(name)) throw Object.assign(new Error(`EEXIST ${name}`), { code: 'EEXIST' })
        const made: Inode = { kind: 'file', bytes: Buffer.alloc(0), synced: Buffer.alloc(0), mode }
        this.#change(path.dirname(name), (names) => {
          names.set(name, made)
        })
      }
      this.#open.set(this.#nextFd, { inode: this.#find(name), name })
      return this.#nextFd++
    },
    fchmodSync: (fd: number, mode: number) => {
      this.#step()
      this.#open.get(fd)!.inode.mode = mode
    },
    writeFileSync: (fd: number, content: string | Uint8Array) => {
      const { inode } = this.#open.get(fd)!
      const bytes = Buffer.from(content as string)
      // The system may take a write in parts.
      for (const part of [bytes.subarray(0, bytes.length >> 1), bytes.subarray(bytes.length >> 1)]) {
        this.#step()
        inode.bytes = Buffer.concat([inode.bytes, part])
      }
    },
    fsyncSync: (fd: number) => {
      this.#step()
      const { inode, name } = this.#open.get(fd)!
      if (inode.kind === 'file') {
        inode.synced = inode.bytes
        return
      }
      for (const change of this.#pending.filter((c) => c.folder === name)) change.apply(this.#syncedNames)
      this.#pending = this.#pending.filter((c) => c.folder !== name)
    },
    closeSync: (fd: number) => {
      this.#open.delete(fd)
    },
    renameSync: (from: string, to: string) => {
      this.#step()
      const inode = this.#find(from)
      this.#change(path.dirname(to), (names) => {
        names.set(to, inode)
        names.delete(from)
      })
    },
    rmSync: (name: string) => {
      this.#step()
      if (this.#names.has(name))
        this.#change(path.dirname(name), (names) => {
          names.delete(name)
        })
    },
    readdirSync: (name: string) =>
      [...this.#names.keys()].filter((n) => path.dirname(n) === name).map((n) => path.basename(n)),
    mkdirSync: (name: string) => {
      this.#step()
      const made = folder()
      this.#change(path.dirname(name), (names) => {
        names.set(name, made)
      })
    },
    statSync: (name: string) => {
      const inode = this.#names.get(name)
      return (
        inode && {
          isDirectory: () => inode.kind === 'folder',
          isFile: () => inode.kind !== 'folder',
          mode: inode.mode,
          uid: 0,
          size: inode.bytes.length,
        }
      )
    },
    statfsSync: () => ({ bavail: 1e6, bsize: 4096 }),
  } as unknown as FileCalls
}

function folder(): Inode {
  return { kind: 'folder', bytes: Buffer.alloc(0), synced: Buffer.alloc(0), mode: 0o700 }
}

/** @param keep part of what was not synced that is there; -1: what was there before it was written */
function left(inode: Inode, keep: number): Buffer {
  if (inode.bytes.equals(inode.synced)) return inode.bytes
  return keep < 0 ? inode.synced : inode.bytes.subarray(0, Math.floor(inode.bytes.length * keep))
}
