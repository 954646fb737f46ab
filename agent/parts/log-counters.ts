import { logCounts, type Log } from '../../core/log.ts'
import type { Metrics } from '../../core/metrics.ts'

export function countLogLines(log: Log, metrics: Metrics): void {
  metrics.counterOf(
    'mesh_log_lines_left_out_total',
    'Log lines that were not written because there were many of their kind; the log has their number.',
    () => logCounts(log).leftOut,
  )
  metrics.counterOf(
    'mesh_log_lines_dropped_total',
    'Log lines that were lost because nobody read them.',
    () => logCounts(log).dropped,
  )
}
