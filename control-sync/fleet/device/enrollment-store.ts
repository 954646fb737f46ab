/**
 * Where the device stands in its chain of renewals, in one file of mode 0600. The nonce of a request is on disk before
 * it goes out: the same request can then be made again when its answer got lost, and is not taken for a copy's.
 */
import { randomBytes } from 'node:crypto'
import path from 'node:path'
import { MeshError } from '../../../core/errors.ts'
import type { Disk } from '../../../core/os/disk.ts'

export type StoredEnrollment = {
  readonly counter: number
  readonly chain: string
  /** Of the request that has no answer yet. */
  readonly nonce: string | undefined
}

const FILE = 'enrollment.json'
const NONE: StoredEnrollment = { counter: 0, chain: '', nonce: undefined }

export class EnrollmentStore {
  readonly #disk: Disk
  readonly #folder: string
  readonly #file: string
  /** What the disk could not take: this process goes on with it. */
  #unsaved: StoredEnrollment | undefined

  constructor(p: { readonly disk: Disk; readonly stateFolder: string }) {
    this.#disk = p.disk
    this.#folder = path.join(p.stateFolder, 'identity')
    this.#file = path.join(this.#folder, FILE)
  }

  /**
   * As it was left; where what is there is damaged, the hub asks an operator. Throws MESH_STATE_UNUSABLE while the disk
   * does not say: who has joined would begin anew, and be taken for a copy.
   */
  load(): StoredEnrollment {
    if (this.#unsaved) return this.#unsaved
    const bytes = this.#read()
    if (!bytes) return NONE
    try {
      const { counter, chain, nonce } = JSON.parse(bytes.toString('utf8')) as Record<string, unknown>
      if (!Number.isSafeInteger(counter) || typeof chain !== 'string') return NONE
      return { counter: counter as number, chain, nonce: typeof nonce === 'string' ? nonce : undefined }
    } catch {
      return NONE
    }
  }

  /**
   * What the next request says. Throws MESH_STATE_UNUSABLE: a request whose answer could not be told from a copy's is
   * not made.
   */
  begin(): StoredEnrollment & { readonly nonce: string } {
    const stored = this.load()
    if (stored.nonce !== undefined) return { ...stored, nonce: stored.nonce }
    const begun = { ...stored, nonce: randomBytes(16).toString('base64url') }
    this.#save(begun)
    return begun
  }

  /** Where the disk refuses, this process goes on with it, and after a restart the request is made once more. */
  answered({ counter, chain }: Omit<StoredEnrollment, 'nonce'>): void {
    const next = { counter, chain, nonce: undefined }
    this.#unsaved = next
    try {
      this.#save(next)
      this.#unsaved = undefined
    } catch {
      /* `begin` says so, before anything new is asked for */
    }
  }

  #read(): Buffer | undefined {
    try {
      return this.#disk.read(this.#file)
    } catch (cause) {
      throw new MeshError('MESH_STATE_UNUSABLE', `${this.#file} cannot be read`, { cause })
    }
  }
  #save(next: StoredEnrollment): void {
    try {
      this.#disk.makeFolder(this.#folder, 0o700)
      this.#disk.replace(this.#file, JSON.stringify(next), 0o600)
    } catch (cause) {
      throw new MeshError('MESH_STATE_UNUSABLE', `${this.#file} cannot be written`, { cause })
    }
  }
}
