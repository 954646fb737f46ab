/** Writes lines of access logs: asks their filters, and bounds how many there are and how long one is. */
import { memoize } from '../../core/memoize.ts'
import type { Cell } from '../../core/metrics.ts'
import type { AccessLog } from '../../model/access-log/access-log.ts'
import { matchesFilter } from '../../model/access-log/filter.ts'
import { formatLine } from '../../model/access-log/format.ts'
import type { LogFacts } from '../../model/access-log/facts.ts'
import type { Context } from '../context.ts'

type LogContext = Pick<Context, 'accessLogs' | 'metrics' | 'random' | 'clock' | 'log'>

/** A format may name the same long field many times. */
export const MAX_LINE_BYTES = 64 * 1024
const SECOND_MS = 1_000

export class AccessLogs {
  readonly #ctx: LogContext
  readonly #written: Cell
  readonly #tooMany: Cell
  readonly #notTaken: Cell
  #secondStartMs = -Infinity
  #lines = 0
  #untold = 0

  constructor(ctx: LogContext) {
    this.#ctx = ctx
    const { metrics } = ctx
    this.#written = metrics.counter('mesh_access_log_lines_total', 'Lines of access logs that were written.').cell({})
    const dropped = metrics.counter(
      'mesh_access_log_lines_dropped_total',
      'Lines of access logs that were left out: more than telemetry.accessLogs.maxLinesPerSecond, or nobody took them.',
      ['reason'],
    )
    this.#tooMany = dropped.cell({ reason: 'rate' })
    this.#notTaken = dropped.cell({ reason: 'output' })
  }

  write(logs: readonly AccessLog[], facts: LogFacts): void {
    const { accessLogs: output, random } = this.#ctx
    if (!output) return
    for (const { to, format, filter } of logs) {
      if (filter && !matchesFilter(filter, facts, random)) continue
      if (!this.#takesLine(output.maxLinesPerSecond)) continue
      const line = formatLine(format, facts)
      if (line === '') continue
      const whole = line.length > MAX_LINE_BYTES ? `${line.slice(0, MAX_LINE_BYTES - 1)}\n` : line
      if (output.write(to, Buffer.from(whole, 'latin1'))) this.#written.value++
      else this.#notTaken.value++
    }
  }

  #takesLine(max: number): boolean {
    const nowMs = this.#ctx.clock.monotonicMs()
    if (nowMs - this.#secondStartMs >= SECOND_MS) {
      this.#secondStartMs = nowMs
      this.#lines = 0
      this.#tell()
    }
    if (this.#lines < max) {
      this.#lines++
      return true
    }
    this.#tooMany.value++
    this.#untold++
    return false
  }

  #tell(): void {
    if (this.#untold === 0) return
    this.#ctx.log.warn({ evt: 'access-log.left-out', lines: this.#untold }, 'lines of access logs were left out')
    this.#untold = 0
  }
}

export const getAccessLogs = memoize((ctx: LogContext) => new AccessLogs(ctx))
