/**
 * Who is logged in at which hub, of the user of this machine: a file of mode 0600 in a folder of mode 0700. Whoever
 * reads it is that person at the hub until the session is over.
 */
import path from 'node:path'
import { MeshError } from '../../../core/errors.ts'
import type { Disk } from '../../../core/os/disk.ts'

export type SavedLogin = {
  readonly secret: string
  /** As the audit log of the hub names them. */
  readonly operator: string
  readonly endsMs: number
  /** Of the hub, when the session began. */
  readonly version: string
  /** PEM that the hub is known by; left out: the authorities of the system. */
  readonly roots?: string | undefined
}
type File = Readonly<Record<string, SavedLogin>>

const OTHERS = 0o077

export class SavedLogins {
  readonly #file: string
  readonly #disk: Disk

  constructor(file: string, disk: Disk) {
    this.#file = file
    this.#disk = disk
  }

  /** Throws MESH_CONFIG_INVALID when others can read the file, or it is none. @param hub its origin */
  find(hub: string): SavedLogin | undefined {
    return this.#read()[hub]
  }
  /** Throws MESH_FILE_UNWRITABLE before anything is given up for it. */
  check(): void {
    this.#read()
    this.#change(() => {
      this.#disk.makeFolder(path.dirname(this.#file), 0o700)
      this.#disk.tryWriting(path.dirname(this.#file))
    })
  }
  save(hub: string, login: SavedLogin): void {
    this.#write({ ...this.#read(), [hub]: login })
  }
  /** @returns whether it was there */
  remove(hub: string): boolean {
    const { [hub]: gone, ...rest } = this.#read()
    if (gone) this.#write(rest)
    return gone !== undefined
  }

  #read(): File {
    const stat = this.#disk.stat(this.#file)
    if (!stat) return {}
    if ((stat.mode & OTHERS) !== 0)
      throw new MeshError(
        'MESH_CONFIG_INVALID',
        `${this.#file} is open to others (mode ${(stat.mode & 0o777).toString(8)}); remove it, end the sessions (meshlet-hub sessions end on the hub), and log in anew`,
      )
    try {
      const all = Object(JSON.parse(this.#disk.read(this.#file)?.toString('utf8') ?? '{}')) as Record<string, unknown>
      return Object.fromEntries(Object.entries(all).filter((one): one is [string, SavedLogin] => isLogin(one[1])))
    } catch (cause) {
      throw new MeshError('MESH_CONFIG_INVALID', `${this.#file} cannot be read; remove it and log in anew`, { cause })
    }
  }
  #write(file: File): void {
    this.#change(() => this.#disk.replace(this.#file, `${JSON.stringify(file, null, 2)}\n`, 0o600))
  }
  #change(change: () => void): void {
    try {
      change()
    } catch (cause) {
      throw new MeshError('MESH_FILE_UNWRITABLE', `${this.#file} cannot be written`, { cause })
    }
  }
}

function isLogin(given: unknown): given is SavedLogin {
  const { secret, operator, endsMs, version, roots = '' } = Object(given) as Partial<SavedLogin>
  return [secret, operator, version, roots].every((text) => typeof text === 'string') && typeof endsMs === 'number'
}
