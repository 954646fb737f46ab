/**
 * Which nodes have a stream now and how far they are, written to the registry for `meshlet-hub devices`: once a second
 * what changed, in one transaction, and now and then that the hub itself lives.
 */
import type { Clock, Timer } from '../../core/os/clock.ts'
import type { Log } from '../../core/log.ts'
import type { Registry } from './registry.ts'
import type { DeviceChange } from './rows.ts'

const WRITE_MS = 1_000
const ALIVE_MS = 10_000
/** A hub that was silent for so long does not run. */
export const HUB_GONE_MS = 3 * ALIVE_MS

export type NodeState = { readonly inForce: string | undefined; readonly refused: string | undefined }
export type LiveNode = Disposable & { is(state: NodeState): void }
type Node = {
  readonly name: string
  readonly connectedMs: number
  streams: number
  state: NodeState
  inForceMs: number | undefined
}
type Options = { readonly registry: Registry; readonly clock: Clock; readonly log: Log }

export class LiveDevices implements Disposable {
  readonly #o: Options
  readonly #nodes = new Map<string, Node>()
  readonly #dirty = new Map<string, DeviceChange>()
  #write: Timer | undefined
  #beat: Timer | undefined

  constructor(o: Options) {
    this.#o = o
    o.registry.nobodyConnected()
    this.#alive()
  }

  /** A stream of the node has begun; disposing is its end. */
  connected(name: string): LiveNode {
    const node = this.#nodes.get(name) ?? {
      name,
      connectedMs: this.#o.clock.wallMs(),
      streams: 0,
      state: { inForce: undefined, refused: undefined },
      inForceMs: undefined,
    }
    node.streams++
    this.#nodes.set(name, node)
    this.#changed(node)
    let open = true
    return {
      is: (state) => {
        if (!open || (state.inForce === node.state.inForce && state.refused === node.state.refused)) return
        if (state.inForce !== node.state.inForce) node.inForceMs = this.#o.clock.wallMs()
        node.state = state
        this.#changed(node)
      },
      [Symbol.dispose]: () => {
        if (!open) return
        open = false
        if (--node.streams === 0) this.#nodes.delete(name)
        this.#changed(node)
      },
    }
  }

  [Symbol.dispose](): void {
    this.#write?.cancel()
    this.#beat?.cancel()
    this.#flush()
  }

  #changed({ name, connectedMs, streams, state, inForceMs }: Node): void {
    this.#dirty.set(name, {
      name,
      connectedMs: streams === 0 ? null : connectedMs,
      lastSeenMs: this.#o.clock.wallMs(),
      inForce: state.inForce,
      inForceMs,
      refused: state.refused,
    })
    this.#write ??= this.#o.clock.after(WRITE_MS, () => {
      this.#write = undefined
      this.#flush()
    })
  }

  #alive(): void {
    this.#flush()
    this.#beat = this.#o.clock.after(ALIVE_MS, () => this.#alive())
  }

  /** What cannot be written is tried again with what comes next. */
  #flush(): void {
    const { registry, clock, log } = this.#o
    const changes = [...this.#dirty.values()]
    try {
      registry.devicesChanged(changes, clock.wallMs())
      this.#dirty.clear()
    } catch (err) {
      log.warn({ evt: 'hub.registry', err, devices: changes.length }, 'the state of devices is not written')
    }
  }
}
