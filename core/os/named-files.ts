/**
 * Files that the mesh's configuration names and this machine has: certificates, keys, roots and revocation lists for
 * TLS. A control plane must not read whatever it likes here, so they are read within permitted folders only, where
 * symbolic links may not lead out either; each time they are used it is looked whether they have changed.
 */
import fs from 'node:fs'
import path from 'node:path'
import { MeshError } from '../errors.ts'

export type NamedFile = {
  readonly text: string
  /** Another one when the file has another content. */
  readonly stamp: string
}

export type NamedFilesOptions = {
  /** Absolute. */
  readonly folders: readonly string[]
  /** SSL_CERT_FILE, as OpenSSL has it: the system's roots in place of the usual file. */
  readonly systemRoots?: string | undefined
  readonly nowMs: () => number
  /** Where lines may be appended. Left out: nowhere. */
  readonly permitsLog?: (file: string) => boolean
}

const MAX_BYTES = 1024 * 1024
/** A file that nobody has asked for any more is no problem any more. */
const FORGET_MS = 600_000
const MAX_FAILED = 64

/** Where distributions keep their authorities; the list of Istio's agent (pkg/security, GetOSRootFilePath). */
const SYSTEM_ROOTS = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
  '/etc/pki/tls/cacert.pem',
  '/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem',
  '/etc/ssl/cert.pem',
  '/usr/local/etc/ssl/cert.pem',
]

export class NamedFiles {
  readonly #o: NamedFilesOptions
  readonly #folders: readonly string[]
  readonly #known = new Map<string, NamedFile>()
  readonly #failed = new Map<string, { readonly error: MeshError; readonly atMs: number }>()

  constructor(options: NamedFilesOptions) {
    this.#o = options
    this.#folders = options.folders.map((folder) => path.resolve(folder))
  }

  /** By its name alone; `read` also looks where links lead. */
  permits(file: string): boolean {
    return (
      path.isAbsolute(file) &&
      !file.includes('\0') &&
      this.#folders.some((folder) => isWithin(folder, path.resolve(file)))
    )
  }

  /** Whether an access log may be written to it. */
  permitsLog(file: string): boolean {
    return this.#o.permitsLog?.(file) ?? false
  }

  /** Throws MESH_TLS_FILE. */
  read(file: string): NamedFile {
    try {
      if (!this.permits(file)) throw new Error('it is not in a permitted folder (control.tlsFileFolders)')
      const real = fs.realpathSync(file)
      if (!this.#folders.some((folder) => isWithin(realOf(folder), real)))
        throw new Error('a symbolic link leads out of the permitted folders (control.tlsFileFolders)')
      const found = this.#content(real)
      this.#failed.delete(file)
      return found
    } catch (cause) {
      throw this.#failure(file, cause)
    }
  }

  /**
   * The authorities that this machine trusts; undefined when no file of the usual ones is there. Throws MESH_TLS_FILE
   * when it cannot be read.
   */
  systemRoots(): NamedFile | undefined {
    const file = this.#o.systemRoots ?? SYSTEM_ROOTS.find((name) => fs.existsSync(name))
    try {
      return file === undefined ? undefined : this.#content(fs.realpathSync(file))
    } catch (cause) {
      throw this.#failure(file!, cause)
    }
  }

  /** Files that were asked for of late and cannot be read. */
  problems(): readonly MeshError[] {
    for (const [file, failed] of this.#failed) {
      if (this.#o.nowMs() - failed.atMs > FORGET_MS) this.#failed.delete(file)
      else if (fs.existsSync(file)) {
        // A look at the status is nobody who asks for the file.
        try {
          if (this.permits(file)) this.read(file)
          else this.#failed.delete(file)
        } catch {
          this.#failed.set(file, failed)
        }
      }
    }
    return [...this.#failed.values()].map((f) => f.error)
  }

  #content(real: string): NamedFile {
    const { ino, size, mtimeMs } = fs.statSync(real)
    const stamp = `${real} ${ino} ${size} ${mtimeMs}`
    const known = this.#known.get(real)
    if (known?.stamp === stamp) return known
    const made = { text: textOf(real), stamp }
    if (this.#known.size >= MAX_FAILED) this.#known.clear()
    this.#known.set(real, made)
    return made
  }

  #failure(file: string, cause: unknown): MeshError {
    const error = new MeshError(
      'MESH_TLS_FILE',
      `${file} cannot be used for TLS: ${cause instanceof Error ? cause.message : String(cause)}`,
      { cause },
    )
    if (this.#failed.size < MAX_FAILED || this.#failed.has(file))
      this.#failed.set(file, { error, atMs: this.#o.nowMs() })
    return error
  }
}

/** Not through a link that has come since it was looked at, and no device or pipe, which might never answer. */
function textOf(real: string): string {
  const fd = fs.openSync(real, fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW | fs.constants.O_NONBLOCK)
  try {
    const stat = fs.fstatSync(fd)
    if (!stat.isFile()) throw new Error('it is no file')
    if (stat.size > MAX_BYTES) throw new Error(`it is larger than ${MAX_BYTES} bytes`)
    return fs.readFileSync(fd, 'utf8')
  } finally {
    fs.closeSync(fd)
  }
}

function realOf(folder: string): string {
  try {
    return fs.realpathSync(folder)
  } catch {
    return folder
  }
}

function isWithin(folder: string, file: string): boolean {
  return file.startsWith(folder.endsWith('/') ? folder : `${folder}/`)
}
