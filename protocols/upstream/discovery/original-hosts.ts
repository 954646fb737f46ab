/** Hosts that nobody configured: where clients were going (ORIGINAL_DST). */
import { MeshError } from '../../../core/errors.ts'
import type { Address } from '../../../core/os/network.ts'
import { formatHostKey, Host } from '../host.ts'

/** Of one cluster; beyond, those that nobody uses are forgotten, and without one of these nobody else gets in. */
const MAX_ORIGINAL_HOSTS = 1024

export class OriginalHosts {
  readonly #byKey = new Map<string, Host>()
  readonly #max: number
  readonly #counted: (what: 'forgotten' | 'refused') => void

  /** @param counted called whenever the bound was met */
  constructor(counted: (what: 'forgotten' | 'refused') => void, max = MAX_ORIGINAL_HOSTS) {
    this.#counted = counted
    this.#max = max
  }

  get all(): Iterable<Host> {
    return this.#byKey.values()
  }

  /**
   * Throws MESH_UPSTREAM_OVERFLOW when it is a new one, and all others are in use.
   * @param override in place of the port where the client was going
   */
  hostAt({ host: address, port: meant }: Address, override?: number): Host {
    const port = override ?? meant
    const key = formatHostKey({ address, port })
    const known = this.#byKey.get(key)
    if (known) return known
    if (this.#byKey.size >= this.#max) this.#forgetOne()
    const made = new Host({ address, port, weight: 1, health: 'healthy', transportLabels: {}, workload: undefined })
    this.#byKey.set(key, made)
    return made
  }

  /** The one that came first of those that nobody uses. */
  #forgetOne(): void {
    for (const [key, { connections, active }] of this.#byKey) {
      if (connections.now + active.now > 0) continue
      this.#byKey.delete(key)
      this.#counted('forgotten')
      return
    }
    this.#counted('refused')
    throw new MeshError('MESH_UPSTREAM_OVERFLOW', `${this.#max} original destinations are in use at once`)
  }
}
