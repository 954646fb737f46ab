/** Certificates that something else renews (cert-manager, SPIRE's helper, an operator): three files in Istio's names, read again when they change. */
import path from 'node:path'
import type { Clock, Timer } from '../../agent/core/clock.ts'
import { Current } from '../../agent/core/current.ts'
import type { Disk } from '../../agent/core/disk.ts'
import { MeshError, toMeshError } from '../../agent/core/errors.ts'
import type { Log } from '../../agent/core/log.ts'
import type { Identity, IdentitySource } from '../../agent/model/identity.ts'
import { identityOf } from './identity-of.ts'
import { validityProblem } from './validity.ts'

const POLL_MS = 5_000

export class IdentityFolder implements IdentitySource, Disposable {
  readonly #disk: Disk
  readonly #clock: Clock
  readonly #log: Log
  readonly #folder: string
  readonly #earliestWallMs: number | undefined
  readonly #current: Current<Identity | undefined>
  #error: MeshError | undefined
  #timer: Timer | undefined

  /** Throws MESH_CONFIG_INVALID when a file is missing, MESH_IDENTITY_DAMAGED when they are no identity: at start there is nothing to go on with. */
  constructor(p: { disk: Disk; clock: Clock; log: Log; folder: string; earliestWallMs: number | undefined }) {
    this.#disk = p.disk
    this.#clock = p.clock
    this.#log = p.log
    this.#folder = p.folder
    this.#earliestWallMs = p.earliestWallMs
    this.#current = new Current<Identity | undefined>(this.#read())
  }
  current(): Identity | undefined { return this.#current.get() }
  watch(fn: (next: Identity) => void): Disposable { return this.#current.watch((next) => { if (next) fn(next) }) }
  problem(): MeshError | undefined {
    return validityProblem(this.#current.get(), { wallMs: this.#clock.wallMs(), earliestWallMs: this.#earliestWallMs, renewal: this.#error }) ?? this.#error
  }

  start(): void { this.#timer = this.#clock.after(POLL_MS, () => { this.#poll(); this.#timer?.refresh() }) }
  [Symbol.dispose](): void { this.#timer?.cancel(); this.#timer = undefined }

  /** A half-written change is read again at the next look; until it fits together, the identity at hand serves on. */
  #poll(): void {
    try {
      const next = this.#read()
      this.#error = undefined
      const known = this.#current.get()
      if (known?.chainPem === next.chainPem && known.keyPem === next.keyPem && known.rootsPem === next.rootsPem) return
      this.#current.swap(next)
      this.#log.info({ evt: 'identity.new', spiffeId: next.spiffeId.uri, serial: next.serial }, 'new certificate in the folder')
    } catch (thrown) {
      this.#error = toMeshError(thrown)
      this.#log.warn({ evt: 'identity.folder', err: this.#error }, 'the identity folder cannot be used; the certificate at hand serves on')
    }
  }

  #read(): Identity {
    return identityOf({ chainPem: this.#file('cert-chain.pem'), keyPem: this.#file('key.pem'), rootsPem: this.#file('root-cert.pem') })
  }
  #file(name: string): string {
    const file = path.join(this.#folder, name)
    let content: Buffer | undefined
    try { content = this.#disk.read(file) } catch (cause) { throw new MeshError('MESH_CONFIG_INVALID', `identity.folder: ${file} cannot be read`, { cause }) }
    if (!content) throw new MeshError('MESH_CONFIG_INVALID', `identity.folder: there is no file ${file}`)
    return content.toString('utf8')
  }
}
