/**
 * Drives the rollout that is under way: looks at the devices, lets the state machine decide, writes down what it
 * decides. One process at a time has the lease; where it dies, another goes on from what stands in the registry.
 */
import type { Clock, Timer } from '../../core/os/clock.ts'
import { detach, doNothing, guard } from '../../core/defects/guard.ts'
import type { Log } from '../../core/log.ts'
import type { Metrics } from '../../core/metrics.ts'
import type { OpenRegistry } from '../registry/registry.ts'
import type { RolloutRecord } from '../registry/rollout/rollouts.ts'
import { NO_REPORTS, readFleet, readReports, type FleetReports } from './fleet.ts'
import { advanceRollout, isActive, NOTHING_WATCHED, type DeviceView, type Tracked, type Watch } from './machine.ts'
import { recordDecision } from './operate.ts'

export type DriverOptions = {
  readonly registry: OpenRegistry
  /** Names this process among all that use the registry. */
  readonly holder: string
  readonly clock: Clock
  readonly log: Log
  readonly metrics: Metrics
  /** Devices are sent what is decided. */
  readonly decided: () => Promise<void>
}

const TICK_MS = 2_000
/** Reports of ten thousand devices are megabytes, and come once in a while. */
const REPORTS_MS = 10_000
const LEASE = 'rollout'
/** Another process takes over within this time. */
const LEASE_MS = 15_000
/** How much of a soak a crash may make begin anew. */
const SAVE_SOAK_MS = 10_000
const ACTOR = 'hub'

type Driven = { record: RolloutRecord; watch: Watch; readonly savedMs: number; readonly lookedMs: number }

export class RolloutDriver implements AsyncDisposable {
  readonly #o: DriverOptions
  readonly #ended
  #driven: Driven | undefined
  #seen: string | undefined
  #reports: { readonly readMs: number; readonly all: FleetReports } = {
    readMs: Number.NEGATIVE_INFINITY,
    all: NO_REPORTS,
  }
  #timer: Timer | undefined
  #working: Promise<void> = Promise.resolve()
  #isOver = false

  constructor(o: DriverOptions) {
    this.#o = o
    this.#ended = o.metrics.counter('mesh_hub_rollouts_total', 'Rollouts that this hub ended, by how.', ['outcome'])
    o.metrics.gaugeOf(
      'mesh_hub_rollout_wave',
      'Wave of the rollout that this hub drives, from 1; 0: it drives none.',
      () => (this.#driven ? this.#driven.record.wave + 1 : 0),
    )
    this.#later(0)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true
    this.#timer?.cancel()
    await this.#working
    if (this.#driven) await this.#o.registry.rollouts.release(LEASE, this.#o.holder).catch(doNothing)
  }

  #later(ms: number): void {
    if (this.#isOver) return
    this.#timer = this.#o.clock.after(
      ms,
      guard('hub', doNothing, () => {
        this.#working = this.#safeTick()
        detach(
          'hub',
          this.#working.then(() => this.#later(TICK_MS)),
        )
      }),
    )
  }

  async #safeTick(): Promise<void> {
    try {
      await this.#tick()
    } catch (err) {
      this.#driven = undefined
      this.#o.log.warn({ evt: 'hub.registry', err }, 'the rollout waits: the registry cannot be used')
    }
  }

  async #tick(): Promise<void> {
    const { registry, clock, holder } = this.#o
    const { revision } = registry
    if (revision === this.#seen && !this.#driven) return
    const active = await registry.rollouts.active()
    this.#seen = active ? undefined : revision
    const isDriver =
      active !== undefined && (await registry.rollouts.lease(LEASE, holder, { nowMs: clock.wallMs(), forMs: LEASE_MS }))
    if (!isDriver) {
      this.#driven = undefined
      return
    }
    const driven = await this.#take(active)
    // What was read before it began is of another revision.
    const isNew = driven.record.id !== this.#driven?.record.id
    await this.#advance(driven, await this.#look(isNew ? 0 : REPORTS_MS))
  }

  /** @param staleMs reports may be so old */
  async #look(staleMs: number): Promise<readonly DeviceView[]> {
    const { registry, clock } = this.#o
    const nowMs = clock.monotonicMs()
    if (nowMs - this.#reports.readMs >= staleMs) this.#reports = { readMs: nowMs, all: await readReports(registry) }
    return await readFleet(registry, this.#reports.all)
  }

  /** What this process knows of it, if it has driven it until now; or what the registry knows. */
  async #take(active: RolloutRecord): Promise<Driven> {
    const nowMs = this.#o.clock.monotonicMs()
    const before = this.#driven
    if (before?.record.id === active.id) {
      const soakedMs = Math.max(active.soakedMs, active.wave === before.record.wave ? before.record.soakedMs : 0)
      return { ...before, record: { ...active, soakedMs } }
    }
    const tracked = await this.#o.registry.rollouts.tracked(active.id)
    return { record: active, watch: { ...NOTHING_WATCHED, tracked }, savedMs: nowMs, lookedMs: nowMs }
  }

  async #advance(driven: Driven, devices: readonly DeviceView[]): Promise<void> {
    const { registry, clock } = this.#o
    const nowMs = clock.monotonicMs()
    const { record, watch } = driven
    const elapsedMs = nowMs - driven.lookedMs
    let step = advanceRollout(record, watch, { devices, elapsedMs })
    // The next wave begins from what its devices say now.
    if (step.rollout.wave !== record.wave)
      step = advanceRollout(record, watch, { devices: await this.#look(0), elapsedMs })
    const next: RolloutRecord = { ...record, ...step.rollout }
    const found = [...step.watch.tracked].filter(([name]) => !watch.tracked.has(name))
    await this.#track(record.id, found)
    const isDecided = next.state !== record.state || next.wave !== record.wave
    if (isDecided) {
      await this.#decide(record, next, step.watch)
      return
    }
    const isDue = nowMs - driven.savedMs >= SAVE_SOAK_MS && next.soakedMs !== record.soakedMs
    if (isDue) await registry.rollouts.saveSoak(next)
    this.#driven = { record: next, watch: step.watch, lookedMs: nowMs, savedMs: isDue ? nowMs : driven.savedMs }
  }

  async #track(id: string, found: readonly (readonly [string, Tracked])[]): Promise<void> {
    if (found.length > 0) await this.#o.registry.exclusively((tx) => tx.rollouts.track(id, found))
  }

  async #decide(before: RolloutRecord, next: RolloutRecord, watch: Watch): Promise<void> {
    const { registry, clock, log, decided } = this.#o
    const by = { actor: ACTOR, address: '', nowMs: clock.wallMs() }
    const recorded = await recordDecision(registry, before, next, by)
    // An operator has paused or ended it meanwhile: the next look sees that.
    if (!recorded) return
    const nowMs = clock.monotonicMs()
    this.#driven = isActive(recorded) ? { record: recorded, watch, lookedMs: nowMs, savedMs: nowMs } : undefined
    const told = { evt: 'hub.rollout', rollout: next.id, to: next.to, wave: next.wave + 1, state: next.state }
    if (next.state === 'halted')
      log.warn({ ...told, reason: next.reason }, 'the rollout has halted: devices go back to what was good last')
    else log.info({ ...told, reason: next.reason }, 'rollout')
    if (!isActive(next)) this.#ended.cell({ outcome: next.state }).value++
    await decided()
  }
}
