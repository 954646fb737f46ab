/**
 * Who this node is to a control plane, while its address comes and goes: DHCP is late, a lease ends, another uplink
 * takes over. The identity of a node does not depend on its address.
 */
import { describeNode, type NodeDescription, type NodeSettings } from '../control-sync/ads/node.ts'
import type { Clock, Timer } from '../core/os/clock.ts'
import { Current } from '../core/current.ts'
import type { Log } from '../core/log.ts'

const LOOK_MS = 3_000
/** Address of a node without one. It is sent to no control plane but one on this machine. */
const NO_ADDRESS = '127.0.0.1'

type Options = {
  /** `ip`: the address that is fixed by configuration. */
  readonly settings: Omit<NodeSettings, 'ip'> & { readonly ip: string | undefined }
  readonly addresses: () => readonly string[]
  readonly clock: Clock
  readonly log: Log
}

type Told = Pick<NodeSettings, 'httpProxyPort' | 'takesTunnels' | 'labels' | 'metadata' | 'discoveryAddress'>

export class OwnNode implements Disposable {
  readonly #o: Options
  #settings: Options['settings']
  readonly #address: Current<string | undefined>
  readonly #watchers = new Set<() => void>()
  #description: NodeDescription
  #all: readonly string[]
  #timer: Timer | undefined

  constructor(options: Options) {
    this.#o = options
    this.#settings = options.settings
    this.#all = options.addresses()
    this.#address = new Current(options.settings.ip ?? this.#all[0])
    this.#description = this.#describe()
    this.#timer = options.clock.after(LOOK_MS, () => {
      this.#look()
      this.#timer?.refresh()
    })
  }

  /** Undefined before the first one; the last one when it is gone and there is no other. */
  get address(): string | undefined {
    return this.#address.get()
  }
  get description(): NodeDescription {
    return this.#description
  }
  /** Tells the control plane so, if that makes it another. */
  use(told: Partial<Told>): void {
    this.#settings = { ...this.#settings, ...told }
    const next = this.#describe()
    if (JSON.stringify(next) === JSON.stringify(this.#description)) return
    this.#description = next
    this.#address.swap(this.#address.get())
  }
  /** Called when the address of this node, or what else is told of it, has changed. */
  watch(fn: () => void): Disposable {
    return this.#address.watch(fn)
  }
  /** Called when any address of this machine has changed. */
  watchMachine(fn: () => void): Disposable {
    this.#watchers.add(fn)
    return {
      [Symbol.dispose]: () => {
        this.#watchers.delete(fn)
      },
    }
  }
  [Symbol.dispose](): void {
    this.#timer?.cancel()
    this.#timer = undefined
  }

  #look(): void {
    const { addresses, log } = this.#o
    const settings = this.#settings
    const all = addresses()
    if (all.join() === this.#all.join()) return
    this.#all = all
    const known = this.#address.get()
    // It stays while the machine has it, whatever other addresses come: each change is a new registration.
    const next = settings.ip ?? (known !== undefined && all.includes(known) ? known : (all[0] ?? known))
    log.info({ evt: 'node.addresses', addresses: all, node: next }, 'the addresses of this machine have changed')
    if (next !== known) {
      this.#description = this.#describe(next)
      this.#address.swap(next)
    }
    for (const told of this.#watchers) told()
  }

  #describe(ip = this.#address.get()): NodeDescription {
    return describeNode({ ...this.#settings, ip: ip ?? NO_ADDRESS })
  }
}
