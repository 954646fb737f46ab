/**
 * The identity on disk: one file, replaced whole, so that key and certificate can never belong to different times. Mode
 * 0600; sealed (core/pki/sealing.ts) when a key for that is given.
 */
import path from 'node:path'
import type { Clock } from '../../core/os/clock.ts'
import type { Disk } from '../../core/os/disk.ts'
import { MeshError, toMeshError } from '../../core/errors.ts'
import type { Log } from '../../core/log.ts'
import { isSealed, openSealed, type Sealer } from '../../core/pki/sealing.ts'
import type { Identity } from '../../model/identity.ts'
import { parseIdentity, type IdentityPems } from './parse-identity.ts'

const PURPOSE = 'identity'

export class IdentityStore {
  readonly #disk: Disk
  readonly #clock: Clock
  readonly #log: Log
  readonly #folder: string
  readonly #file: string
  readonly #sealer: Sealer | undefined
  /** Where `load` put a damaged file. */
  setAside: string | undefined

  constructor(p: { disk: Disk; clock: Clock; log: Log; stateFolder: string; sealer?: Sealer | undefined }) {
    this.#disk = p.disk
    this.#clock = p.clock
    this.#log = p.log
    this.#sealer = p.sealer
    this.#folder = path.join(p.stateFolder, 'identity')
    this.#file = path.join(this.#folder, 'identity.json')
  }

  /**
   * Undefined when there is none; a damaged file is set aside with a warning and counts as none. A plain file is sealed
   * when there is a key now. Throws MESH_STATE_UNUSABLE when it may not be read, MESH_STATE_LOCKED when it was sealed
   * with another key or there is none; the file stays.
   */
  load(): Identity | undefined {
    let bytes: Buffer | undefined
    try {
      bytes = this.#disk.read(this.#file)
    } catch (cause) {
      throw new MeshError('MESH_STATE_UNUSABLE', `${this.#file} cannot be read`, { cause })
    }
    if (!bytes) return undefined
    try {
      const identity = parseIdentity(pemsOf(this.#opened(bytes)))
      if (this.#sealer && !isSealed(bytes)) this.#sealNow(identity)
      return identity
    } catch (thrown) {
      if (thrown instanceof MeshError && thrown.code === 'MESH_STATE_LOCKED') throw thrown
      this.setAside = this.#disk.setAside(this.#file, String(this.#clock.wallMs()))
      this.#log.warn(
        { evt: 'identity.damaged', code: 'MESH_IDENTITY_DAMAGED', file: this.setAside, err: toMeshError(thrown) },
        'the stored identity is damaged and was set aside',
      )
      return undefined
    }
  }

  /** Reads the stored identity without changing anything. Throws when it is damaged. */
  peek(): Identity | undefined {
    const bytes = this.#disk.read(this.#file)
    return bytes && parseIdentity(pemsOf(this.#opened(bytes)))
  }

  /** Throws MESH_STATE_UNUSABLE. */
  save({ keyPem, chainPem, rootsPem }: Identity): void {
    const text = JSON.stringify({ keyPem, chainPem, rootsPem } satisfies IdentityPems)
    try {
      this.#disk.makeFolder(this.#folder, 0o700)
      this.#disk.replace(this.#file, this.#sealer ? this.#sealer.seal(Buffer.from(text), PURPOSE) : text, 0o600)
    } catch (cause) {
      throw new MeshError('MESH_STATE_UNUSABLE', `the identity cannot be written to ${this.#file}`, { cause })
    }
  }

  #opened(bytes: Buffer): Buffer {
    return isSealed(bytes) ? openSealed(bytes, { sealer: this.#sealer, purpose: PURPOSE, file: this.#file }) : bytes
  }

  #sealNow(identity: Identity): void {
    try {
      this.save(identity)
      this.#log.info({ evt: 'identity.sealed', file: this.#file }, 'the stored identity is encrypted from now on')
    } catch (thrown) {
      this.#log.warn(
        { evt: 'identity.not-stored', err: toMeshError(thrown) },
        'the stored identity is still in plain text',
      )
    }
  }
}

function pemsOf(bytes: Buffer): IdentityPems {
  const { keyPem, chainPem, rootsPem } = JSON.parse(bytes.toString('utf8')) as Partial<
    Record<keyof IdentityPems, unknown>
  >
  if (typeof keyPem !== 'string' || typeof chainPem !== 'string' || typeof rootsPem !== 'string')
    throw new MeshError('MESH_IDENTITY_DAMAGED', 'the file holds no key and chain')
  return { keyPem, chainPem, rootsPem }
}
