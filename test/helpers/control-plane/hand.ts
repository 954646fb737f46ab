/** A control plane that says what the test says, over no wire. */
import { Current } from '../../../core/current.ts'
import { MeshError } from '../../../core/errors.ts'
import { silentLog } from '../../../core/log.ts'
import { Metrics } from '../../../core/metrics.ts'
import type { ResourceKind } from '../../../model/snapshot.ts'
import { EMPTY_TABLES, type Tables } from '../../../model/tables.ts'
import type { AdsRequest } from '../../../control-sync/ads/protocol.ts'
import type { AdsStreamEvents } from '../../../control-sync/ads/transport.ts'
import { Applier } from '../../../control-sync/apply.ts'
import { startSync, type Sync } from '../../../control-sync/sync.ts'
import { SimClock, settle } from '../sim-clock.ts'
import type { Sample } from './resources.ts'

/** A control plane under the test's hand, and what the agent said to it. */
export class Hand implements AsyncDisposable {
  readonly clock = new SimClock()
  readonly sent: AdsRequest[] = []
  readonly sync: Sync
  readonly applier: Applier
  synced = false
  readonly reading: ('paused' | 'resumed')[] = []
  #events: AdsStreamEvents | undefined
  #nonce = 0

  constructor() {
    const tables = new Current<Tables>(EMPTY_TABLES)
    const shared = { clock: this.clock, log: silentLog, metrics: new Metrics() }
    this.applier = new Applier({ ...shared, node: 'n', tables, saver: undefined })
    this.sync = startSync({
      ...shared,
      applier: this.applier,
      random: { float: () => 0.5 },
      shrinkHoldMs: 0,
      refusedRetryMs: 0,
      refusedRetryMaxMs: 1,
      trustBundle: false,
      ownRoutes: new Current<ReadonlySet<string>>(new Set(['http_proxy'])),
      transport: {
        address: 'a:1',
        open: async (events) => {
          this.#events = events
          return {
            send: (r) => {
              this.sent.push(r)
            },
            pause: () => void this.reading.push('paused'),
            resume: () => void this.reading.push('resumed'),
            close: () => {
              this.#events = undefined
            },
          }
        },
      },
    })
    void this.sync.synced.then(() => {
      this.synced = true
    })
  }
  async push(kind: ResourceKind, resources: readonly Sample[], removed: readonly string[] = []): Promise<void> {
    await settle()
    this.say(kind, resources, removed)
    await settle()
  }
  /** It has come, and is not in force yet. */
  say(kind: ResourceKind, resources: readonly Sample[], removed: readonly string[] = []): void {
    this.#events!.onResponse({
      kind,
      nonce: String(this.#nonce++),
      systemVersion: '',
      removed,
      resources: resources.map((r) => ({ name: r.name, version: '', value: r.bytes })),
    })
  }
  /** As gRPC gives it: the values are views of one large message. */
  async pushMessage(
    kind: ResourceKind,
    resources: readonly Sample[],
    removed: readonly string[] = [],
  ): Promise<Buffer> {
    await settle()
    const bytes = Buffer.alloc(100_000)
    let at = 0
    const views = resources.map((r) => {
      const value = bytes.subarray(at, at + r.bytes.length)
      value.set(r.bytes)
      at += r.bytes.length
      return { name: r.name, version: '', value }
    })
    this.#events!.onResponse({
      kind,
      nonce: String(this.#nonce++),
      systemVersion: '',
      removed,
      resources: views,
      bytes,
    })
    await settle()
    return bytes
  }
  end(reason = new MeshError('MESH_CONTROL_UNREACHABLE', 'cut')): void {
    this.#events!.onEnd(reason)
  }
  get isOpen(): boolean {
    return this.#events !== undefined
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.sync[Symbol.asyncDispose]()
  }
}
