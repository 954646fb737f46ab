/** Certificates that something else renews (cert-manager, SPIRE's helper, an operator): three files in Istio's names, read again when they change. */
import path from 'node:path'
import type { Clock, Timer } from '../../agent/core/clock.ts'
import { Current } from '../../agent/core/current.ts'
import type { Disk } from '../../agent/core/disk.ts'
import { MeshError, toMeshError } from '../../agent/core/errors.ts'
import type { Log } from '../../agent/core/log.ts'
import type { Identity, IdentitySource } from '../../agent/model/identity.ts'
import { identityOf } from './identity-of.ts'
import type { TimeFloor } from './time-floor.ts'
import type { Trust } from './trust.ts'
import { validityProblems } from './validity.ts'

const POLL_MS = 5_000

export class IdentityFolder implements IdentitySource, Disposable {
  readonly #disk: Disk
  readonly #clock: Clock
  readonly #log: Log
  readonly #folder: string
  readonly #earliestWallMs: number | undefined
  readonly #trust: Trust
  readonly #floor: TimeFloor
  readonly #current: Current<Identity | undefined>
  /** As it stands in the folder. */
  #own: Identity
  #error: MeshError | undefined
  #timer: Timer | undefined

  /** Throws MESH_CONFIG_INVALID when a file is missing, MESH_IDENTITY_DAMAGED when they are no identity: at start there is nothing to go on with. */
  constructor(p: { disk: Disk; clock: Clock; log: Log; folder: string; earliestWallMs: number | undefined; trust: Trust; floor: TimeFloor }) {
    this.#disk = p.disk
    this.#clock = p.clock
    this.#log = p.log
    this.#folder = p.folder
    this.#earliestWallMs = p.earliestWallMs
    this.#trust = p.trust
    this.#floor = p.floor
    this.#own = this.#read()
    this.#floor.seen(this.#own.notBeforeMs)
    this.#current = new Current<Identity | undefined>(this.#trust.complete(this.#own))
  }
  current(): Identity | undefined { return this.#current.get() }
  watch(fn: (next: Identity) => void): Disposable { return this.#current.watch((next) => { if (next) fn(next) }) }
  problems(): readonly MeshError[] {
    const wrong = validityProblems(this.#own, { wallMs: this.#clock.wallMs(), earliestWallMs: this.#earliestWallMs, floor: this.#floor, renewal: this.#error })
    return [...(wrong.length === 0 && this.#error ? [this.#error] : wrong), ...this.#trust.problems]
  }
  /** What is trusted has changed: new handshakes go by it. */
  trustChanged(): void {
    const next = this.#trust.complete(this.#own)
    if (next !== this.#current.get()) this.#current.swap(next)
  }

  start(): void { this.#timer = this.#clock.after(POLL_MS, () => { this.#poll(); this.#timer?.refresh() }) }
  [Symbol.dispose](): void { this.#timer?.cancel(); this.#timer = undefined }

  /** A half-written change is read again at the next look; until it fits together, the identity at hand serves on. */
  #poll(): void {
    this.#floor.tick()
    if (this.#trust.reread() === 'changed') this.trustChanged()
    try {
      const next = this.#read()
      this.#error = undefined
      const known = this.#own
      if (known.chainPem === next.chainPem && known.keyPem === next.keyPem && known.rootsPem === next.rootsPem) return
      this.#own = next
      this.#floor.seen(next.notBeforeMs)
      this.trustChanged()
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
