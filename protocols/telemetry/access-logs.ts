/** Writes lines of access logs, bounded in number and length, and hands entries to collectors; asks their filters. */
import { memoize } from '../../core/memoize.ts'
import type { Cell } from '../../core/metrics.ts'
import type { AccessLog, LogTarget } from '../../model/access-log/access-log.ts'
import { matchesFilter } from '../../model/access-log/filter.ts'
import type { EntryFormat } from '../../model/access-log/entry.ts'
import { formatLogLine, type LogFormat } from '../../model/access-log/format.ts'
import type { LogFacts } from '../../model/access-log/facts.ts'
import type { Context } from '../context.ts'
import { encodeHttpEntry, encodeTcpEntry } from './export/als-entry.ts'
import { encodeLogRecord } from './export/otlp-log.ts'

type LogContext = Pick<Context, 'accessLogs' | 'exports' | 'metrics' | 'random' | 'clock' | 'log'>

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
    for (const log of logs) {
      const { filter } = log
      if (filter && !matchesFilter(filter, facts, this.#ctx.random)) continue
      if (log.collector) this.#ctx.exports?.send(log.collector, 'logs', encodeEntry(log.entry, facts))
      else this.#writeLine(log.to, log.format, facts)
    }
  }

  #writeLine(to: LogTarget, format: LogFormat, facts: LogFacts): void {
    const { accessLogs: output } = this.#ctx
    if (!output || !this.#takesLine(output.maxLinesPerSecond)) return
    const line = formatLogLine(format, facts)
    if (line === '') return
    const whole = line.length > MAX_LINE_BYTES ? `${line.slice(0, MAX_LINE_BYTES - 1)}\n` : line
    if (output.write(to, Buffer.from(whole, 'latin1'))) this.#written.value++
    else this.#notTaken.value++
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

function encodeEntry(format: EntryFormat, facts: LogFacts): Buffer {
  switch (format.kind) {
    case 'otlp':
      return encodeLogRecord(format, facts)
    case 'http':
      return encodeHttpEntry(format, facts)
    case 'tcp':
      return encodeTcpEntry(facts)
    default:
      return format satisfies never
  }
}

export const getAccessLogs = memoize((ctx: LogContext) => new AccessLogs(ctx))
