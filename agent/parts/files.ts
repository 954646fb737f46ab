import { LogFiles } from '../../core/os/files/log-files.ts'
import type { AccessLogOutput } from '../../model/access-log/access-log.ts'
import { NamedFiles } from '../../core/os/named-files.ts'
import type { World } from '../../core/world.ts'
import type { Log } from '../../core/log.ts'
import type { Metrics } from '../../core/metrics.ts'
import type { Scope } from '../../core/scope.ts'
import type { AgentConfig } from '../config/schema.ts'
import type { AgentFacts } from '../facts.ts'

/** Files of this machine that the control plane may name: some are read, others written to. */
export function openFiles({
  config,
  world,
  log,
  metrics,
  scope,
}: {
  readonly config: Pick<AgentConfig, 'telemetry' | 'control'>
  readonly world: Pick<World, 'clock' | 'systemRoots'>
  readonly log: Log
  readonly metrics: Metrics
  readonly scope: Scope
}): { readonly files: NamedFiles; readonly logFiles: LogFiles } {
  const { clock, systemRoots } = world
  const lost = metrics
    .counter('mesh_access_log_lines_lost_total', 'Lines of access logs whose file could not be written.')
    .cell({})
  const logFiles = scope.own(
    new LogFiles({
      ...config.telemetry.accessLogs,
      clock,
      onFailure: (file, err, lines) => {
        lost.value += lines
        log.warn({ evt: 'access-log.file', file, err }, 'an access log cannot be written')
      },
    }),
  )
  const files = new NamedFiles({
    folders: config.control?.tlsFileFolders ?? [],
    systemRoots,
    nowMs: () => clock.monotonicMs(),
    permitsLog: (file) => logFiles.permits(file),
  })
  return { files, logFiles }
}

/** Where lines of access logs go: the agent's own output, and files. */
export function createAccessLogOutput({
  config,
  facts,
  logFiles,
}: {
  readonly config: Pick<AgentConfig, 'telemetry'>
  readonly facts: Pick<AgentFacts, 'output'>
  readonly logFiles: LogFiles
}): AccessLogOutput {
  return {
    maxLinesPerSecond: config.telemetry.accessLogs.maxLinesPerSecond,
    write(to, line) {
      switch (to.kind) {
        case 'output':
          return facts.output?.writeLine(line) ?? false
        case 'file':
          return logFiles.write(to.path, line)
        default:
          return to satisfies never
      }
    },
  }
}
