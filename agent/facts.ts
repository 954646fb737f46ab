/** What an agent is told of the process that it is in. */
import type { Log } from '../core/log.ts'
import type { LogOutput } from '../core/log-output.ts'
import type { EnvironmentProxy } from '../model/ip.ts'
import type { AgentConfig } from './config/schema.ts'

export type AgentFacts = {
  readonly log: Log
  /** Takes lines of access logs beside those of the log; left out: nobody does. */
  readonly output?: (Pick<LogOutput, 'writeLine'> & Partial<Pick<LogOutput, 'recentLines' | 'onLine'>>) | undefined
  readonly version: string
  /** No clock that shows less can be right; undefined in development. */
  readonly builtAtMs: number | undefined
  readonly hostName: string
  /** Of the machine, when the process began; left out: not known. */
  readonly uptimeMs?: number | undefined
  /** Of the environment; left out: there is none. Throws MESH_CONFIG_INVALID. */
  readonly readEnvironmentProxy?: () => EnvironmentProxy | undefined
  /** OTEL_RESOURCE_ATTRIBUTES of the environment. */
  readonly resourceAttributes?: readonly (readonly [name: string, value: string])[]
  /** Reads agent.yaml again; throws MESH_CONFIG_INVALID. Left out: there is nothing to be read. */
  readonly readConfig?: () => AgentConfig
  /** Address of this machine, where agent.yaml names none; left out: the machine is asked, again and again. */
  readonly ip?: string | undefined
}
