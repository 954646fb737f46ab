/** What every other part of an agent stands on: counters, bounds, the node, the state folder. */
import { reportDefects } from '../../core/defects/report.ts'
import { Current } from '../../core/current.ts'
import type { Log } from '../../core/log.ts'
import { Metrics } from '../../core/metrics.ts'
import type { Clock } from '../../core/os/clock.ts'
import type { LogFiles } from '../../core/os/files/log-files.ts'
import type { NamedFiles } from '../../core/os/named-files.ts'
import { BootSpread } from '../../core/runtime/boot-spread.ts'
import { readMemoryLimitBytes, type MemoryBudget } from '../../core/runtime/memory-budget.ts'
import type { Scope } from '../../core/scope.ts'
import type { World } from '../../core/world.ts'
import type { EnvironmentProxy } from '../../model/ip.ts'
import { EMPTY_TABLES, type Tables } from '../../model/tables.ts'
import type { Limits } from '../../protocols/context.ts'
import type { AgentConfig } from '../config/schema.ts'
import { deriveConnectionLimits } from '../connection-limits.ts'
import { prepareState, readNodeSettings } from '../control-sync-settings.ts'
import type { AgentFacts } from '../facts.ts'
import { findOutgoingProxy } from '../outgoing-proxy.ts'
import { OwnNode } from '../own-node.ts'
import { Readiness } from '../readiness.ts'
import { createReloader, type Reloader } from '../reload/reloader.ts'
import { openFiles } from './files.ts'
import { countLogLines } from './log-counters.ts'
import { createBudget } from './memory.ts'

export type Foundation = {
  readonly config: AgentConfig
  readonly world: World
  readonly facts: AgentFacts
  /** Owns every part, and ends them in the reverse order. */
  readonly scope: Scope
  readonly clock: Clock
  readonly log: Log
  readonly startedMs: number
  readonly metrics: Metrics
  readonly limits: Limits
  readonly budget: MemoryBudget
  readonly readiness: Readiness
  /** Takes a changed agent.yaml while the agent runs. */
  readonly reloader: Reloader
  readonly settings: ReturnType<typeof readNodeSettings<string | undefined>>
  readonly node: OwnNode
  readonly bootSpread: BootSpread
  /** The environment's HTTP proxy. Throws MESH_CONFIG_INVALID. */
  readonly findProxy: () => EnvironmentProxy | undefined
  /** Empty until a configuration is in force. */
  readonly tables: Current<Tables>
  /** Files of this machine that the control plane may name. */
  readonly files: NamedFiles
  readonly logFiles: LogFiles
  /** Free bytes of the disk that holds the state folder. Throws the system's error. */
  readonly freeBytes: () => number
  /** Throws the system's error. */
  readonly hasFile: (file: string) => boolean
}

/** Throws MESH_STATE_UNUSABLE. */
export function layFoundation(read: AgentConfig, world: World, facts: AgentFacts, scope: Scope): Foundation {
  // A reload changes it in place (agent/reload), for everybody who has it.
  const config = {
    ...read,
    control: read.control && { ...read.control },
    node: { ...read.node },
    mqtt: { ...read.mqtt, spool: { ...read.mqtt.spool } },
  }
  const { clock, disk } = world
  const { log } = facts
  const startedMs = clock.monotonicMs()
  const metrics = new Metrics()
  countLogLines(log, metrics)
  scope.own(reportDefects(log, metrics))
  const limitBytes = readMemoryLimitBytes()
  const settings = readNodeSettings(config, { ip: undefined, ...facts })
  const node = scope.own(new OwnNode({ settings, addresses: world.addresses, clock, log }))
  prepareState(config.state, disk)
  return {
    config,
    world,
    facts,
    scope,
    clock,
    log,
    startedMs,
    metrics,
    limits: { ...config.limits, ...deriveConnectionLimits(config.limits, limitBytes) },
    budget: createBudget(config.limits.maxQueuedMemoryBytes, limitBytes, metrics, world),
    readiness: new Readiness(),
    reloader: createReloader({ ...facts, config, metrics }),
    settings,
    node,
    findProxy: () => findOutgoingProxy({ config, facts }),
    bootSpread: new BootSpread({ ...facts, spreadMs: config.bootSpreadMs, clock, random: world.random }),
    tables: new Current<Tables>(EMPTY_TABLES),
    ...openFiles({ config, world, log, metrics, scope }),
    freeBytes: () => disk.freeBytes(config.state),
    hasFile: (file) => disk.has(file),
  }
}
