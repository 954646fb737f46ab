/** What an agent is told of the process that it is in. */
import type { Log } from '../core/log.ts'

export type AgentFacts = {
  readonly log: Log
  readonly version: string
  /** No clock that shows less can be right; undefined in development. */
  readonly builtAtMs: number | undefined
  readonly hostName: string
  /** Address of this machine, where agent.yaml names none; left out: the machine is asked, again and again. */
  readonly ip?: string | undefined
}
