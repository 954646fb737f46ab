/**
 * A control plane that has just restarted, or another one behind the same name, may answer with less than there is. A
 * first cluster push of a stream that would take away most clusters is held back for a while, so that traffic does not
 * stop for a mistake that mends itself. Held back with it is what would empty those clusters all the same: their
 * endpoints (istiod answers with empty ones), the route tables that lead to them, listeners that go, names that DNS
 * would lose. Everything else of the push counts at once, policies above all.
 */
import type { Clock, Timer } from '../../core/os/clock.ts'
import type { Log } from '../../core/log.ts'
import type { ResourceKind } from '../../model/snapshot.ts'
import type { Change } from '../apply.ts'
import type { References } from '../references.ts'
import type { Incoming } from '../stage.ts'

/** A mesh this small changes as a whole now and then. */
const MIN_CLUSTERS = 10
const MOST = 0.5
/**
 * The clusters are back, and what was said of the rest meanwhile is old: so long the new word is waited for, which
 * follows them (istiod: at once).
 */
const RECOVERED_MS = 5_000

/** What is in force. */
export type InForce = { readonly clusterCount: number; references(kind: ResourceKind, name: string): References }
export type HeldRemoval = {
  readonly clusters: number
  readonly of: number
  /** Monotonic milliseconds. */ readonly untilMs: number
}
export type RemovalGuardOptions = {
  readonly clock: Clock
  readonly log: Log
  /** 0: nothing is held back. */
  readonly shrinkHoldMs: number
  readonly inForce: InForce
  /** Takes what was held back when its time is over. */
  readonly release: (changes: readonly Change[]) => void
}

export class RemovalGuard implements Disposable {
  readonly #o: RemovalGuardOptions
  readonly #clusters = new Set<string>()
  readonly #endpoints = new Set<string>()
  /** Kind → name → what was said of it last; undefined = removed. */
  readonly #pending = new Map<ResourceKind, Map<string, Incoming | undefined>>()
  #first = true
  #of = 0
  #timer: Timer | undefined
  /** Outlives streams: a link that comes and goes must not hold for ever. */
  #untilMs: number | undefined

  constructor(options: RemovalGuardOptions) {
    this.#o = options
  }

  get held(): HeldRemoval | undefined {
    return this.#clusters.size === 0 || this.#untilMs === undefined
      ? undefined
      : { clusters: this.#clusters.size, of: this.#of, untilMs: this.#untilMs }
  }

  /** The control plane says everything anew. */
  newStream(): void {
    this.#first = true
    this.#drop()
  }

  /**
   * @returns what may be applied now; the rest follows through `release` unless the stream ends before or something
   * newer comes.
   */
  filter(change: Change): Change {
    if (change.kind === 'cluster') return this.#clusterPush(change)
    if (this.#clusters.size === 0 && this.#pending.size === 0) return change
    const { kind } = change
    const put = change.put.filter((r) => !this.#mustWait(kind, r.name, r))
    const removed = change.removed.filter((name) => !this.#mustWait(kind, name, undefined))
    return { kind, put, removed }
  }
  [Symbol.dispose](): void {
    this.#drop()
  }

  #clusterPush(change: Change): Change {
    const first = this.#first
    this.#first = false
    if (first && this.#isShrunk(change.removed)) this.#hold(change.removed)
    else if (first) this.#untilMs = undefined
    if (this.#clusters.size === 0) return change
    const removed = change.removed.filter((name) => !this.#clusters.has(name))
    for (const { name } of change.put) this.#clusters.delete(name)
    if (this.#clusters.size === 0) this.#recovered()
    return { ...change, removed }
  }

  #recovered(): void {
    this.#o.log.info({ evt: 'control.shrink-mended' }, 'the clusters that were held back are there again')
    this.#endpoints.clear()
    this.#untilMs = undefined
    this.#timer?.cancel()
    this.#timer = this.#o.clock.after(RECOVERED_MS, () => this.#o.release(this.#all()))
  }

  #isShrunk(removed: readonly string[]): boolean {
    const {
      shrinkHoldMs,
      inForce: { clusterCount },
    } = this.#o
    return shrinkHoldMs > 0 && clusterCount >= MIN_CLUSTERS && removed.length >= clusterCount * MOST
  }

  #hold(removed: readonly string[]): void {
    const { clock, log, shrinkHoldMs, inForce } = this.#o
    this.#untilMs ??= clock.monotonicMs() + shrinkHoldMs
    const leftMs = this.#untilMs - clock.monotonicMs()
    if (leftMs <= 0) {
      this.#untilMs = undefined
      return
    }
    this.#of = inForce.clusterCount
    for (const name of removed) {
      this.#clusters.add(name)
      for (const endpoint of inForce.references('cluster', name).endpoint ?? []) this.#endpoints.add(endpoint)
    }
    this.#timer = clock.after(leftMs, () => {
      log.warn({ evt: 'control.shrink-released', removed: this.#clusters.size }, 'what was held back is removed now')
      this.#o.release(this.#all())
    })
    log.warn(
      {
        evt: 'control.shrink',
        code: 'MESH_CONTROL_SHRUNK',
        removed: removed.length,
        known: this.#of,
        holdMs: Math.round(leftMs),
      },
      'the first push of a new stream takes away most clusters: held back',
    )
  }

  /** @param said undefined = removed */
  #mustWait(kind: ResourceKind, name: string, said: Incoming | undefined): boolean {
    const waits = this.#concerns(kind, name, said)
    if (waits)
      this.#pending.set(kind, (this.#pending.get(kind) ?? new Map<string, Incoming | undefined>()).set(name, said))
    else this.#pending.get(kind)?.delete(name)
    return waits
  }

  #concerns(kind: ResourceKind, name: string, said: Incoming | undefined): boolean {
    if (this.#clusters.size === 0) return false
    switch (kind) {
      case 'endpoint':
        return this.#endpoints.has(name)
      case 'route':
        return (this.#o.inForce.references('route', name).cluster ?? []).some((c) => this.#clusters.has(c))
      // A listener that comes may bring a policy.
      case 'listener':
        return said === undefined
      case 'nameTable':
        return true
      // A key or a list of revocations that goes must not serve on.
      case 'secret':
      case 'cluster':
      case 'extension':
      case 'proxyConfig':
        return false
      default:
        return kind satisfies never
    }
  }

  /** Everything that is held back, which is nothing from now on. */
  #all(): Change[] {
    const changes: Change[] = [{ kind: 'cluster', put: [], removed: [...this.#clusters] }]
    for (const [kind, names] of this.#pending) {
      const said = [...names]
      changes.push({
        kind,
        put: said.flatMap(([, r]) => r ?? []),
        removed: said.flatMap(([name, r]) => (r ? [] : [name])),
      })
    }
    this.#drop()
    this.#untilMs = undefined
    return changes
  }

  #drop(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    this.#clusters.clear()
    this.#endpoints.clear()
    this.#pending.clear()
  }
}
