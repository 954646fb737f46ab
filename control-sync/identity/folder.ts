/**
 * Certificates that something else renews (cert-manager, SPIRE's helper, an operator): three files in Istio's names,
 * read again when they change.
 */
import path from 'node:path'
import type { Clock, Timer } from '../../core/os/clock.ts'
import { Current } from '../../core/current.ts'
import type { Disk } from '../../core/os/disk.ts'
import { MeshError, toMeshError } from '../../core/errors.ts'
import type { Log } from '../../core/log.ts'
import type { Identity, IdentitySource } from '../../model/identity.ts'
import { parseIdentity } from './parse-identity.ts'
import type { TimeFloor } from './time-floor.ts'
import type { Trust } from './trust.ts'
import { findValidityProblems } from './validity.ts'

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
  /** As it stood in the folder when it was last whole. */
  #own: Identity | undefined
  readonly #certified = Promise.withResolvers<void>()
  #error: MeshError | undefined
  #timer: Timer | undefined

  constructor(p: {
    disk: Disk
    clock: Clock
    log: Log
    folder: string
    earliestWallMs: number | undefined
    trust: Trust
    floor: TimeFloor
  }) {
    this.#disk = p.disk
    this.#clock = p.clock
    this.#log = p.log
    this.#folder = p.folder
    this.#earliestWallMs = p.earliestWallMs
    this.#trust = p.trust
    this.#floor = p.floor
    this.#current = new Current<Identity | undefined>(undefined)
    // The files may come later than this start: until then everything refuses that needs an identity.
    this.#look()
  }
  /** Resolves once there is an identity. */
  get certified(): Promise<void> {
    return this.#certified.promise
  }
  current(): Identity | undefined {
    return this.#current.get()
  }
  watch(fn: (next: Identity) => void): Disposable {
    return this.#current.watch((next) => {
      if (next) fn(next)
    })
  }
  problems(): readonly MeshError[] {
    const wrong = findValidityProblems(this.#own, {
      wallMs: this.#clock.wallMs(),
      earliestWallMs: this.#earliestWallMs,
      floor: this.#floor,
      renewal: this.#error,
    })
    return [...(wrong.length === 0 && this.#error ? [this.#error] : wrong), ...this.#trust.problems]
  }
  /** The trusted roots have changed, for new handshakes. */
  trustChanged(): void {
    if (!this.#own) return
    const next = this.#trust.complete(this.#own)
    if (next !== this.#current.get()) this.#current.swap(next)
  }

  start(): void {
    this.#timer = this.#clock.after(POLL_MS, () => {
      this.#poll()
      this.#timer?.refresh()
    })
  }
  [Symbol.dispose](): void {
    this.#timer?.cancel()
    this.#timer = undefined
  }

  /** A half-written change is read again at the next look; until it fits together, the identity at hand serves on. */
  #poll(): void {
    this.#floor.tick()
    if (this.#trust.reread() === 'changed') this.trustChanged()
    this.#look()
  }

  #look(): void {
    try {
      const next = this.#read()
      this.#error = undefined
      const known = this.#own
      if (known?.chainPem === next.chainPem && known.keyPem === next.keyPem && known.rootsPem === next.rootsPem) return
      this.#own = next
      this.#floor.seen(next.notBeforeMs)
      this.trustChanged()
      this.#certified.resolve()
      this.#log.info(
        { evt: 'identity.new', spiffeId: next.spiffeId.uri, serial: next.serial },
        'new certificate in the folder',
      )
    } catch (thrown) {
      const before = this.#error
      this.#error = toMeshError(thrown)
      if (before?.message === this.#error.message) return
      this.#log.warn(
        { evt: 'identity.folder', err: this.#error },
        this.#own
          ? 'the identity folder cannot be used; the certificate at hand serves on'
          : 'there is no identity yet; what needs one refuses',
      )
    }
  }

  #read(): Identity {
    return parseIdentity({
      chainPem: this.#file('cert-chain.pem'),
      keyPem: this.#file('key.pem'),
      rootsPem: this.#file('root-cert.pem'),
    })
  }
  #file(name: string): string {
    const file = path.join(this.#folder, name)
    let content: Buffer | undefined
    try {
      content = this.#disk.read(file)
    } catch (cause) {
      throw new MeshError('MESH_CONFIG_INVALID', `identity.folder: ${file} cannot be read`, { cause })
    }
    if (!content) throw new MeshError('MESH_CONFIG_INVALID', `identity.folder: there is no file ${file}`)
    return content.toString('utf8')
  }
}
