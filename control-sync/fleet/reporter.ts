/**
 * Tells the hub how this device is: what differs from what was told, and not more often than is set. What is only
 * counted is not worth a message alone, but for now and then, and for a while after the configuration has changed:
 * whoever rolls it out looks at what fails.
 */
import type { Clock, Random, Timer } from '../../core/os/clock.ts'
import { MeshError } from '../../core/errors.ts'
import type { Log } from '../../core/log.ts'
import { packMessage } from '../../core/relay/compression.ts'
import type { RelayStream } from '../../core/relay/stream.ts'
import type { Report } from '../../model/fleet/report.ts'
import { encodeReport, findChanges, splitReport, type ReportFields } from '../../model/fleet/report-message.ts'
import type { ByteCount } from '../connection/control-plane.ts'
import type { Connection } from './relay-link.ts'

export type ReporterOptions = {
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  /** Shortest time between two reports (control.reportMs). */
  readonly intervalMs: number
  readonly collect: () => Report
  readonly bytes: ByteCount | undefined
}

/** What changes together is told together. */
const SETTLE_MS = 1_000
/** Up to so much longer than asked for, at random: devices that hear of a change at once do not all answer at once. */
const JITTER = 0.25
/** Reports about nothing but counts come so much more seldom. */
const COUNTS_EVERY = 20
/** For so long after another revision they do not. */
const WATCHED_MS = 10 * 60_000
/** After the hub has refused a report; a hub that knows none is asked again when it may be another. */
const REFUSED_MS = 5 * 60_000
const UNKNOWN_MS = 24 * 3_600_000
const NOTHING_TOLD: ReportFields = new Map()

type Told = Pick<Connection, 'mux' | 'withDictionary'>

export class Reporter {
  readonly #o: ReporterOptions
  #connection: Told | undefined
  #stream: RelayStream | undefined
  /** The hub has not taken what was told: nothing is told before it has. */
  #isBehind = false
  /** On the stream at hand. */
  #told = NOTHING_TOLD
  #toldMs = -Infinity
  #watchedUntilMs = -Infinity
  #refusedUntilMs = -Infinity
  #revision: string | undefined
  #next: Timer | undefined
  /** The next look comes as soon as it may. */
  #isSoon = false

  constructor(options: ReporterOptions) {
    this.#o = options
  }

  /** Reports go over it until the result is disposed of. */
  attach(connection: Told): Disposable {
    this.#detach()
    this.#connection = connection
    this.#lookAfter(SETTLE_MS)
    return {
      [Symbol.dispose]: () => {
        if (this.#connection === connection) this.#detach()
      },
    }
  }

  /** Something may be worth a report. Who calls again and again does not put it off. */
  changed(): void {
    if (!this.#connection || this.#isSoon) return
    this.#lookAfter(SETTLE_MS)
    this.#isSoon = true
  }

  #detach(): void {
    this.#next?.cancel()
    this.#connection = undefined
    this.#stream?.reset(new MeshError('MESH_DRAINING', 'the agent ends its reports'))
    this.#forget()
  }
  #forget(): void {
    this.#stream = undefined
    this.#isBehind = false
    this.#told = NOTHING_TOLD
  }

  /** Not before the interval has passed. */
  #lookAfter(ms: number): void {
    const { clock, random, intervalMs } = this.#o
    const nowMs = clock.monotonicMs()
    const earliestMs = Math.max(this.#toldMs + intervalMs, this.#refusedUntilMs)
    const waitMs = Math.max(ms, earliestMs - nowMs) * (1 + JITTER * random.float())
    this.#next?.cancel()
    this.#isSoon = false
    this.#next = clock.after(waitMs, () => this.#look())
  }

  #look(): void {
    const { collect, clock, intervalMs } = this.#o
    if (!this.#connection || this.#isBehind) return
    // First: whatever is wrong with this look, another follows.
    this.#lookAfter(intervalMs)
    const report = collect()
    const fields = splitReport(report)
    const nowMs = clock.monotonicMs()
    if (report.revision !== this.#revision) this.#watchedUntilMs = nowMs + WATCHED_MS
    this.#revision = report.revision
    const found = findChanges(fields, this.#told)
    const countsDue = nowMs >= this.#toldMs + COUNTS_EVERY * intervalMs
    const isWatched = nowMs < this.#watchedUntilMs
    if (found === 'none' || (found === 'quantities' && !countsDue && !isWatched)) return
    this.#tell(fields)
  }

  #tell(fields: ReportFields): void {
    const { clock, bytes, intervalMs } = this.#o
    const connection = this.#connection!
    const stream = (this.#stream ??= this.#open(connection))
    const message = packMessage(encodeReport(fields, this.#told), connection)
    bytes?.('report', 'sent', message.length)
    this.#isBehind = !stream.send(message)
    this.#told = fields
    this.#toldMs = clock.monotonicMs()
    this.#lookAfter(intervalMs)
  }

  #open({ mux }: Told): RelayStream {
    const stream = mux.open('report')
    const over = (reason: MeshError): void => {
      if (this.#stream !== stream) return
      this.#forget()
      // The connection is over, and the next one has a stream of its own.
      if (reason.code === 'MESH_CONTROL_UNREACHABLE' || reason.code === 'MESH_DRAINING') return
      const waitMs = reason.code === 'MESH_CONTROL_UNIMPLEMENTED' ? UNKNOWN_MS : REFUSED_MS
      this.#refusedUntilMs = this.#o.clock.monotonicMs() + waitMs
      this.#o.log.warn(
        { evt: 'control.report-refused', err: reason },
        'the hub does not take the report of this device',
      )
      if (this.#connection) this.#lookAfter(waitMs)
    }
    return stream.listen({
      onMessage: () => undefined,
      onEnd: () => over(new MeshError('MESH_CONTROL_PROTOCOL', 'the hub ended the reports')),
      onReset: over,
      onDrain: () => {
        this.#isBehind = false
        this.#lookAfter(SETTLE_MS)
      },
    })
  }
}
