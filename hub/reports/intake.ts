/**
 * Takes reports of devices into the registry: once a second what came, in one transaction, with what differs from what
 * was known as events, and the numbers as points of the history.
 */
import type { Clock, Timer } from '../../core/os/clock.ts'
import { detach, doNothing, guard } from '../../core/defects/guard.ts'
import type { MeshError } from '../../core/errors.ts'
import type { Log } from '../../core/log.ts'
import type { Metrics } from '../../core/metrics.ts'
import type { Quantities, Report } from '../../model/fleet/report.ts'
import type { DeviceEvent } from '../registry/device-events.ts'
import type { HistoryChange, StoredReport } from '../registry/reports.ts'
import type { Registry } from '../registry/registry.ts'
import { findEvents } from './find-events.ts'
import type { EventLog } from './event-log.ts'

const WRITE_MS = 1_000
const PRUNE_MS = 3_600_000
/** Of devices whose last report is remembered, so that the registry need not be asked for it. */
const MAX_KNOWN = 50_000

type Known = { readonly restarts: number; readonly report: Report | undefined }
type Pending = { report?: Report; expected: string; connects: number; connected: boolean | null; atMs: number }
export type IntakeOptions = {
  readonly registry: Registry
  readonly events: EventLog
  readonly clock: Clock
  readonly log: Log
  readonly metrics: Metrics
}

export class ReportIntake implements AsyncDisposable {
  readonly #o: IntakeOptions
  readonly #known = new Map<string, Known>()
  readonly #pending = new Map<string, Pending>()
  readonly #taken
  readonly #refused
  #writing: Promise<void> = Promise.resolve()
  #write: Timer | undefined
  #prune: Timer
  #isOver = false

  constructor(options: IntakeOptions) {
    this.#o = options
    this.#taken = options.metrics.counter('mesh_hub_reports_total', 'Reports of devices that the hub took.').cell({})
    this.#refused = options.metrics.counter(
      'mesh_hub_reports_refused_total',
      'Reports of devices that the hub refused, by code.',
      ['code'],
    )
    this.#prune = this.#pruneLater()
  }

  /** @param expected hash of what the hub has sent the device */
  take(name: string, report: Report, expected: string): void {
    this.#taken.value++
    Object.assign(this.#pend(name), { report, expected })
  }
  /** Somebody sent what is no report, or too many. */
  refused(from: { readonly ip: string; readonly holder: string }, err: MeshError): void {
    this.#refused.cell({ code: err.code }).value++
    this.#o.log.warn({ evt: 'hub.report-refused', ...from, err }, 'a report of a device was refused')
  }
  /** The device has a stream, or has none any more. */
  connection(name: string, { isConnected, reason }: { readonly isConnected: boolean; readonly reason: string }): void {
    const pending = this.#pend(name)
    pending.connected = isConnected
    if (isConnected) pending.connects++
    const event = isConnected ? 'connected' : 'disconnected'
    this.#o.events.add({ device: name, event, reason, atMs: this.#o.clock.wallMs() })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true
    this.#write?.cancel()
    this.#prune.cancel()
    await this.#flush()
  }

  #pend(name: string): Pending {
    const pending = this.#pending.get(name) ?? { expected: '', connects: 0, connected: null, atMs: 0 }
    pending.atMs = this.#o.clock.wallMs()
    this.#pending.set(name, pending)
    if (!this.#isOver)
      this.#write ??= this.#o.clock.after(
        WRITE_MS,
        guard('hub', doNothing, () => {
          this.#write = undefined
          detach('hub', this.#flush())
        }),
      )
    return pending
  }

  /** One after the other. */
  #flush(): Promise<void> {
    this.#writing = this.#writing.then(() => this.#writePending())
    return this.#writing
  }

  /** What cannot be written is tried again with what comes next, unless something newer has come. */
  async #writePending(): Promise<void> {
    const all = [...this.#pending]
    this.#pending.clear()
    if (all.length === 0) return
    const { registry, log } = this.#o
    try {
      const reports: StoredReport[] = []
      const history: HistoryChange[] = []
      const events: DeviceEvent[] = []
      for (const [name, pending] of all) {
        const before = await this.#before(name)
        const { report, expected, atMs } = pending
        const isRestart = report !== undefined && before.report !== undefined && before.report.run !== report.run
        const restarts = before.restarts + (isRestart ? 1 : 0)
        history.push(makePoint(name, pending, before.report))
        if (!report) continue
        reports.push({ name, atMs, restarts, expected, report })
        for (const event of findEvents(before.report, report)) events.push({ ...event, device: name, atMs })
      }
      await registry.reports.write(reports, history)
      for (const { name, restarts, report } of reports) this.#remember(name, { restarts, report })
      for (const event of events) this.#o.events.add(event)
    } catch (err) {
      for (const [name, pending] of all) this.#pending.set(name, join(pending, this.#pending.get(name)))
      log.warn({ evt: 'hub.registry', err, devices: all.length }, 'reports of devices are not written')
    }
  }

  async #before(name: string): Promise<Known> {
    const known = this.#known.get(name)
    if (known) return known
    const stored = await this.#o.registry.reports.latest(name)
    return { restarts: stored?.restarts ?? 0, report: stored?.report }
  }
  #remember(name: string, { restarts, report }: Known): void {
    this.#known.delete(name)
    // Nothing is compared with details, and the connection has them.
    this.#known.set(name, { restarts, report: report && { ...report, details: undefined } })
    if (this.#known.size > MAX_KNOWN) this.#known.delete(this.#known.keys().next().value!)
  }

  #pruneLater(): Timer {
    const { clock, registry, log } = this.#o
    const prune = (): Promise<unknown> =>
      registry.reports
        .prune(clock.wallMs())
        .catch((err: unknown) => log.warn({ evt: 'hub.registry', err }, 'old history of devices is not removed'))
    return clock.after(
      PRUNE_MS,
      guard('hub', doNothing, () => {
        detach('hub', prune())
        this.#prune = this.#pruneLater()
      }),
    )
  }
}

/** A device that has only left since has still said what it said. */
function join(before: Pending, since: Pending | undefined): Pending {
  if (!since) return before
  const { report, expected } = since.report ? since : before
  return {
    ...since,
    ...(report ? { report } : {}),
    expected,
    connects: before.connects + since.connects,
    connected: since.connected ?? before.connected,
  }
}

/** What has been counted since the report before; of a device that has started anew, since its start. */
function makePoint(
  name: string,
  { report, connects, connected, atMs }: Pending,
  before: Report | undefined,
): HistoryChange {
  const now = report?.quantities
  const then = before && before.run === report?.run ? before.quantities : undefined
  const since = (read: (q: Quantities) => number): number =>
    now === undefined ? 0 : Math.max(0, read(now) - (then === undefined ? 0 : read(then)))
  return {
    name,
    atMs,
    connected,
    connects,
    rttMs: now?.rttMs ?? null,
    bytes: since((q) => q.bytes.reduce((sum, { sent, received }) => sum + sent + received, 0)),
    spool: now?.spoolMessages ?? 0,
    requests: since((q) => q.requests),
    failures: since((q) => q.failures),
    drops: since((q) => q.drops),
    problems: report?.problems.length ?? 0,
  }
}
