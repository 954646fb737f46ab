/**
 * The agent: makes every part in order, from disk to ports to the control plane, and takes them down in reverse. What
 * is served first comes from disk; the control plane may be away for as long as it likes.
 */
import { detach } from '../core/defects/guard.ts'
import type { Metrics } from '../core/metrics.ts'
import { Scope } from '../core/scope.ts'
import type { World } from '../core/world.ts'
import { createReportCollector } from './admin/collect-report.ts'
import { collectStatus } from './admin/collect-status.ts'
import { findExposed, findUnusedSockets } from './admin/conditions/ports.ts'
import { createAdminPages } from './admin/pages.ts'
import { selectScrapePages } from './admin/scrape-pages.ts'
import { AdminDoor, startAdmin } from './admin/server.ts'
import type { AgentStatus } from './admin/status.ts'
import type { AgentConfig } from './config/schema.ts'
import type { AgentFacts } from './facts.ts'
import { layFoundation, type Foundation } from './parts/foundation.ts'
import { runHubCommand } from './admin/hub-commands.ts'
import { createLiveControl } from './reload/live-control.ts'
import { createLivePermissions } from './reload/live-permissions.ts'
import type { Reloaded } from './reload/reloader.ts'
import { openStored, type Stored } from './parts/stored.ts'
import { openTraffic, type Traffic } from './parts/traffic.ts'

export type Agent = AsyncDisposable & {
  /** Resolves once nothing that is needed to serve is missing. */
  readonly ready: Promise<void>
  /** Resolves with the reason when somebody asks for the end through the admin port. */
  readonly stopRequested: Promise<string>
  readonly adminPort: number
  readonly metrics: Metrics
  status(): AgentStatus
  portOf(listener: string): number | undefined
  /** Of the DNS proxy; undefined when there is none. */
  readonly dnsPort: number | undefined
  /** Open now. */
  readonly connections: number
  /** Called after each change of the configuration in force. */
  onConfiguration(fn: () => void): Disposable
  /** Sign of life for the watchdog. */
  alive(): boolean
  /** Reads agent.yaml again. Rejects with MESH_CONFIG_INVALID and others: then the old one stays in force. */
  reload(): Promise<Reloaded>
  /** Accepts nothing more, and gives open connections limits.drainMs to end. */
  drain(): Promise<void>
}

/**
 * Rejects when the state folder cannot be used or a file that is named does not exist; then nothing is left running.
 * Ports that cannot be had are tried again.
 */
export async function startAgent(config: AgentConfig, world: World, facts: AgentFacts): Promise<Agent> {
  const scope = new Scope()
  try {
    return await build(config, world, facts, scope)
  } catch (thrown) {
    await scope[Symbol.asyncDispose]()
    throw thrown
  }
}

async function build(config: AgentConfig, world: World, facts: AgentFacts, scope: Scope): Promise<Agent> {
  const foundation = layFoundation(config, world, facts, scope)
  const listening = foundation.readiness.hold('ports')
  const stored = await openStored(foundation)
  const traffic = await openTraffic(foundation, stored)
  listening[Symbol.dispose]()
  const all: Parts = { ...foundation, ...stored, ...traffic }
  const control = await openAdmin(all)
  warnOfExposed(all)
  watchAddresses(all, [control.admin, ...control.scraped])
  tellHub(all, control)
  connect(all)
  warnOfUnusedSockets(all)
  logStart(all, control.admin)
  return agentOf(all, control)
}

const RECONNECT_AFTER_MS = 500

type Parts = Foundation & Stored & Traffic
/** The admin port, and what can be asked of the agent through it. */
type Control = {
  readonly admin: AdminDoor
  /** telemetry.ports. */
  readonly scraped: readonly AdminDoor[]
  readonly stopRequested: Promise<string>
  readonly pages: ReturnType<typeof createAdminPages>
  status(): AgentStatus
  drain(): Promise<void>
}

async function openAdmin(all: Parts): Promise<Control> {
  const { config, scope, log, clock, workload, dataPath } = all
  const stop = Promise.withResolvers<string>()
  let draining = false
  const parts = {
    ...all,
    inherited: all.world.inherited,
    adminError: () => admin.ports.error,
    isDraining: () => draining,
  }
  const status = (): AgentStatus => collectStatus(parts)
  const pages = createAdminPages({ ...parts, status, stop: (reason) => stop.resolve(reason) })
  const admin: AdminDoor = scope.own(new AdminDoor(() => startAdmin(config.admin, pages, log, clock), { clock, log }))
  const merged = { ...all, network: all.world.network, applications: config.telemetry.applications }
  const open = (port: number): ReturnType<typeof startAdmin> =>
    startAdmin({ address: config.telemetry.address, port }, selectScrapePages(port, pages, merged), log, clock)
  const scraped = config.telemetry.ports.map((port) => scope.own(new AdminDoor(() => open(port), { clock, log })))
  await Promise.all([admin, ...scraped].map((door) => door.ports.try()))
  return {
    admin,
    scraped,
    pages,
    status,
    stopRequested: stop.promise,
    async drain() {
      if (draining) return
      draining = true
      workload?.leave('meshlet drains')
      const how = await dataPath.drain()
      log.info({ evt: 'agent.drained', how }, 'drained')
    },
  }
}

function warnOfExposed(all: Parts): void {
  for (const err of findExposed(all))
    all.log.warn({ evt: 'listener.exposed', err }, 'a listener is open to anybody who reaches it')
}

/** Opens ports whose address the machine did not have, once it has it. */
function watchAddresses({ scope, node, dataPath, dns }: Parts, doors: readonly AdminDoor[]): void {
  scope.own(
    node.watchMachine(() => {
      dataPath.addressesChanged()
      for (const ports of [dns?.ports, ...doors.map((door) => door.ports)]) if (ports) detach('network', ports.try())
    }),
  )
}

function tellHub(all: Parts, { status, pages }: Control): void {
  const { configuration, facts, clock } = all
  const recentLines = facts.output?.recentLines?.bind(facts.output)
  // The answer goes first.
  const reconnect = (): void => {
    clock.after(RECONNECT_AFTER_MS, () => configuration.reconnect())
  }
  configuration.answerHub((request) => runHubCommand(request, { ...all, status, pages, recentLines, reconnect }))
  all.reloader.takeLive(createLivePermissions(configuration))
  all.reloader.takeLive(createLiveControl({ ...all, disk: all.world.disk }))
  const run = Math.floor(all.world.random.float() * 2 ** 32)
  all.configuration.startReports(createReportCollector({ ...all, status, run }))
}

function connect({ configuration, identity, readiness, workload }: Parts): void {
  configuration.connect()
  identity.start(() => configuration.link())
  // A node that cannot serve yet is not healthy, whatever stands behind it.
  detach(
    'health',
    readiness.whenReady().then(() => workload?.start()),
  )
}

function warnOfUnusedSockets({ world, readiness, dataPath, log }: Parts): void {
  const { inherited } = world
  if (!inherited) return
  detach(
    'network',
    readiness
      .whenReady()
      .then(() => dataPath.settled)
      .then(() => {
        for (const err of findUnusedSockets({ inherited, readiness }))
          log.warn({ evt: 'socket.unused', err }, 'a socket that was passed serves nobody')
      }),
  )
}

function logStart({ log, node, facts, tables, clock, startedMs }: Parts, admin: AdminDoor): void {
  const { generation, stale } = tables.get()
  log.info(
    {
      evt: 'agent.started',
      node: node.description.id,
      version: facts.version,
      adminPort: admin.port,
      generation,
      stale,
      startMs: Math.round(clock.monotonicMs() - startedMs),
    },
    'serving',
  )
}

function agentOf(all: Parts, { admin, status, stopRequested, drain }: Control): Agent {
  const { config, scope, metrics, tables, readiness, dataPath, dns } = all
  return {
    ready: readiness.whenReady(),
    stopRequested,
    get adminPort() {
      return admin.port ?? config.admin.port
    },
    metrics,
    status,
    portOf: (name) => dataPath.portOf(name),
    get dnsPort() {
      return dns?.port
    },
    get connections() {
      return dataPath.connections
    },
    onConfiguration: (fn) => tables.watch(fn),
    alive: () => !scope.aborted.aborted,
    reload: () => all.reloader.reload(),
    drain,
    [Symbol.asyncDispose]: () => scope[Symbol.asyncDispose](),
  }
}
