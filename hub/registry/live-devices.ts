/**
 * Which nodes have a stream now and how far they are, written to the registry for `meshlet-hub devices`: once a second
 * what changed, and now and then that the hub itself lives.
 */
import type { Clock, Timer } from '../../core/os/clock.ts'
import { detach, doNothing, guard } from '../../core/defects/guard.ts'
import type { Log } from '../../core/log.ts'
import type { Registry } from './registry.ts'
import { ALIVE_MS } from './replicas.ts'
import type { DeviceChange } from './rows.ts'

const WRITE_MS = 1_000
/** The hub of a registry that has one. */
const ONLY = 'hub'

export type NodeState = { readonly inForce: string | undefined; readonly refused: string | undefined }
export type LiveNode = Disposable & {
  is(state: NodeState): void
  /** Why it is about to end. */
  ends(reason: string): void
}
/** The first stream of a node has begun, or its last one has ended. */
export type ConnectionChanged = (name: string, p: { readonly isConnected: boolean; readonly reason: string }) => void
type Node = {
  readonly name: string
  readonly connectedMs: number
  streams: number
  state: NodeState
  inForceMs: number | undefined
}
type Options = {
  readonly registry: Registry
  readonly clock: Clock
  readonly log: Log
  readonly onConnection?: ConnectionChanged
  /** Undefined: there is no other hub on the registry. */
  readonly replica?: string
}

export class LiveDevices implements AsyncDisposable {
  readonly #o: Options
  readonly #nodes = new Map<string, Node>()
  readonly #dirty = new Map<string, DeviceChange>()
  /** Settles when what is being written is written. */
  #writing: Promise<void> = Promise.resolve()
  #write: Timer | undefined
  #beat: Timer | undefined
  #isOver = false

  private constructor(o: Options) {
    this.#o = o
  }

  /** Rejects with MESH_STORAGE_FAILED, MESH_STORAGE_FULL. */
  static async open(o: Options): Promise<LiveDevices> {
    const [id, nowMs] = [o.replica ?? ONLY, o.clock.wallMs()]
    await o.registry.registerReplica({ id, nowMs, isAlone: o.replica === undefined })
    const live = new LiveDevices(o)
    await live.#flush()
    live.#beatLater()
    return live
  }

  /** A stream of the node has begun; disposing is its end. */
  connected(name: string, how = ''): LiveNode {
    const node = this.#nodes.get(name) ?? {
      name,
      connectedMs: this.#o.clock.wallMs(),
      streams: 0,
      state: { inForce: undefined, refused: undefined },
      inForceMs: undefined,
    }
    if (node.streams++ === 0) this.#o.onConnection?.(name, { isConnected: true, reason: how })
    this.#nodes.set(name, node)
    this.#changed(node)
    let open = true
    let why = 'the device ended its stream'
    return {
      ends: (reason) => {
        why = reason
      },
      is: (state) => {
        if (!open || (state.inForce === node.state.inForce && state.refused === node.state.refused)) return
        if (state.inForce !== node.state.inForce) node.inForceMs = this.#o.clock.wallMs()
        node.state = state
        this.#changed(node)
      },
      [Symbol.dispose]: () => {
        if (!open) return
        open = false
        if (--node.streams === 0) {
          this.#nodes.delete(name)
          this.#o.onConnection?.(name, { isConnected: false, reason: why })
        }
        this.#changed(node)
      },
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true
    this.#write?.cancel()
    this.#beat?.cancel()
    await this.#flush()
    if (this.#o.replica === undefined) return
    try {
      await this.#o.registry.removeReplica(this.#o.replica)
    } catch (err) {
      this.#o.log.warn({ evt: 'hub.registry', err }, 'that the hub leaves is not written')
    }
  }

  #changed(node: Node): void {
    this.#dirty.set(node.name, this.#describe(node))
    if (this.#isOver) return
    this.#write ??= this.#o.clock.after(
      WRITE_MS,
      guard('hub', doNothing, () => {
        this.#write = undefined
        detach('hub', this.#flush())
      }),
    )
  }

  #describe({ name, connectedMs, streams, state, inForceMs }: Node): DeviceChange {
    return {
      name,
      connectedMs: streams === 0 ? null : connectedMs,
      lastSeenMs: this.#o.clock.wallMs(),
      inForce: state.inForce,
      inForceMs,
      refused: state.refused,
    }
  }

  #beatLater(): void {
    this.#beat = this.#o.clock.after(
      ALIVE_MS,
      guard('hub', doNothing, () => {
        detach('hub', this.#flush())
        this.#beatLater()
      }),
    )
  }

  /** One after the other. */
  #flush(): Promise<void> {
    this.#writing = this.#writing.then(() => this.#writeChanges())
    return this.#writing
  }

  /** What cannot be written is tried again with what comes next. */
  async #writeChanges(): Promise<void> {
    const { registry, clock, log, replica = ONLY } = this.#o
    const changes = [...this.#dirty.values()]
    try {
      const isKnown = await registry.devicesChanged(changes, clock.wallMs(), replica)
      // What has changed meanwhile is written the next time.
      for (const change of changes) if (this.#dirty.get(change.name) === change) this.#dirty.delete(change.name)
      if (!isKnown) for (const node of this.#nodes.values()) this.#changed(node)
    } catch (err) {
      log.warn({ evt: 'hub.registry', err, devices: changes.length }, 'the state of devices is not written')
    }
  }
}
