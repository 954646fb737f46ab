/** The identity on disk: one file, replaced whole, so that key and certificate can never belong to different times. Mode 0600. */
import path from 'node:path'
import type { Clock } from '../../agent/core/clock.ts'
import type { Disk } from '../../agent/core/disk.ts'
import { MeshError, toMeshError } from '../../agent/core/errors.ts'
import type { Log } from '../../agent/core/log.ts'
import type { Identity } from '../../agent/model/identity.ts'
import { identityOf, type IdentityPems } from './identity-of.ts'

export class IdentityStore {
  readonly #disk: Disk
  readonly #clock: Clock
  readonly #log: Log
  readonly #folder: string
  readonly #file: string
  /** Where `load` put a damaged file. */
  setAside: string | undefined

  constructor(p: { disk: Disk; clock: Clock; log: Log; stateFolder: string }) {
    this.#disk = p.disk
    this.#clock = p.clock
    this.#log = p.log
    this.#folder = path.join(p.stateFolder, 'identity')
    this.#file = path.join(this.#folder, 'identity.json')
  }

  /** Undefined when there is none; a damaged file is set aside with a warning and counts as none. Throws MESH_STATE_UNUSABLE when it may not be read. */
  load(): Identity | undefined {
    let bytes: Buffer | undefined
    try { bytes = this.#disk.read(this.#file) } catch (cause) { throw new MeshError('MESH_STATE_UNUSABLE', `${this.#file} cannot be read`, { cause }) }
    if (!bytes) return undefined
    try {
      return identityOf(pemsOf(bytes))
    } catch (thrown) {
      this.setAside = this.#disk.setAside(this.#file, String(this.#clock.wallMs()))
      this.#log.warn({ evt: 'identity.damaged', code: 'MESH_IDENTITY_DAMAGED', file: this.setAside, err: toMeshError(thrown) }, 'the stored identity is damaged and was set aside')
      return undefined
    }
  }

  /** Throws MESH_STATE_UNUSABLE. */
  save({ keyPem, chainPem, rootsPem }: Identity): void {
    try {
      this.#disk.makeFolder(this.#folder, 0o700)
      this.#disk.replace(this.#file, JSON.stringify({ keyPem, chainPem, rootsPem } satisfies IdentityPems), 0o600)
    } catch (cause) {
      throw new MeshError('MESH_STATE_UNUSABLE', `the identity cannot be written to ${this.#file}`, { cause })
    }
  }
}

function pemsOf(bytes: Buffer): IdentityPems {
  const { keyPem, chainPem, rootsPem } = JSON.parse(bytes.toString('utf8')) as Partial<Record<keyof IdentityPems, unknown>>
  if (typeof keyPem !== 'string' || typeof chainPem !== 'string' || typeof rootsPem !== 'string') throw new MeshError('MESH_IDENTITY_DAMAGED', 'the file holds no key and chain')
  return { keyPem, chainPem, rootsPem }
}
