/**
 * The agent: makes every part in order, from disk to ports to the control plane, and takes them down in reverse. What
 * is served first comes from disk; the control plane may be away for as long as it likes.
 */
import path from 'node:path'
import { sentRoots } from '../control-sync/identity/sent-roots.ts'
import { snapshotOwner } from '../control-sync/ads/node.ts'
import { createBridge } from '../protocols/mqtt/bridge/bridge.ts'
import { createBroker } from '../protocols/mqtt/broker.ts'
import { openSpool } from '../protocols/mqtt/spool/spool.ts'
import { DataPath, type OwnPort } from '../protocols/downstream/data-path.ts'
import type { Context, Limits } from '../protocols/context.ts'
import { HealthChecker } from './workload-health/checker.ts'
import { probeOf } from './workload-health/probe.ts'
import { createUpstreams } from '../protocols/upstream/upstreams.ts'
import { adminPages } from './admin/pages.ts'
import { AdminDoor, startAdmin } from './admin/server.ts'
import { codecsOf } from './codecs.ts'
import { startConfiguration } from './configuration.ts'
import { connectionLimits } from './connection-limits.ts'
import { listenersOf } from './config/listeners.ts'
import type { AgentConfig } from './config/schema.ts'
import { readNodeSettings, prepareState } from './control-sync-settings.ts'
import { systemCommand } from '../core/os/command.ts'
import { exposed, unusedSockets } from './admin/conditions/ports.ts'
import { Current } from '../core/current.ts'
import { collectNow, keepYoungSmall, memoryUsage } from '../core/runtime/full-gc.ts'
import { defectsTo } from '../core/defects/report.ts'
import { logCounts } from '../core/log.ts'
import { GarbageWatch } from '../core/runtime/garbage-watch.ts'
import { budgetBytesOf, MemoryBudget, memoryLimitBytes } from '../core/runtime/memory-budget.ts'
import { Metrics } from '../core/metrics.ts'
import { NamedFiles } from '../core/os/named-files.ts'
import { Scope } from '../core/scope.ts'
import type { World } from '../core/world.ts'
import { mqttPoliciesOf } from './mqtt-policies.ts'
import { startAgentDns } from './dns.ts'
import { startIdentity } from './identity.ts'
import { EMPTY_TABLES, type Tables } from '../model/tables.ts'
import { OwnNode } from './own-node.ts'
import { Readiness } from './readiness.ts'
import { collectStatus } from './admin/collect-status.ts'
import type { AgentStatus } from './admin/status.ts'
import { detached } from '../core/defects/guard.ts'
import type { AgentFacts } from './facts.ts'

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
  /** Resolves once there is something to carry: a connection, or a route to another broker. */
  readonly inUse: Promise<void>
  /** Sign of life for the watchdog. */
  alive(): boolean
  /** Accepts nothing more and lets what is open come to its end, at most limits.drainMs. */
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
  const { clock, random, network, disk } = world
  const { log } = facts
  const startedMs = clock.monotonicMs()
  const metrics = new Metrics()
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
  scope.own(defectsTo(log, metrics))
  const limitBytes = memoryLimitBytes()
  const limits: Limits = { ...config.limits, ...connectionLimits(config.limits, limitBytes) }
  const budget = new MemoryBudget({
    maxBytes: config.limits.maxQueuedMemoryBytes ?? budgetBytesOf(limitBytes),
    metrics,
  })
  budget.garbage = new GarbageWatch({
    limitBytes,
    heldBytes: () => budget.heldBytes,
    usage: memoryUsage,
    collect: collectNow,
    keepYoungSmall,
    after: (ms, fn) => {
      clock.after(ms, fn)
    },
  })
  const readiness = new Readiness()
  const listening = readiness.hold('ports')
  const stop = Promise.withResolvers<string>()
  const settings = readNodeSettings(config, { ip: undefined, ...facts })
  const node = scope.own(new OwnNode({ settings, addresses: world.addresses, clock, log }))
  prepareState(config.state, disk)

  const tables = new Current<Tables>(EMPTY_TABLES)
  const identity = startIdentity({ config, world, metrics, log, earliestWallMs: facts.builtAtMs, readiness })
  scope.own(identity)
  const own = listenersOf(config, disk)
  const freeBytes = (): number => disk.freeBytes(config.state)
  const workload =
    config.readinessProbe &&
    scope.own(
      new HealthChecker({
        probe: probeOf(config.readinessProbe, { network, run: systemCommand }),
        settings: config.readinessProbe,
        clock,
        log,
        metrics,
      }),
    )
  const files = new NamedFiles({
    folders: config.control?.tlsFileFolders ?? [],
    systemRoots: world.systemRoots,
    nowMs: () => clock.monotonicMs(),
  })
  // One thread reads both: the tables are made while it looks at the spool.
  const [configuration, spool] = await bothOwned(
    scope,
    startConfiguration({
      config,
      world,
      metrics,
      log,
      tables,
      identity,
      node,
      owner: snapshotOwner(settings),
      own,
      readiness,
      health: workload?.health,
      files,
      version: facts.version,
    }),
    openSpool({
      openStorage: world.openStorage,
      path: path.join(config.state, 'spool.db'),
      policy: config.mqtt,
      clock,
      metrics,
      log,
      freeBytes,
    }),
  )

  const takeRoots = (): void => identity.setExtraRoots(sentRoots(configuration.applier.snapshot))
  scope.own(tables.watch(takeRoots))
  takeRoots()

  const isLinkDown = (): boolean => !['connected', 'watching'].includes(configuration.link().state)
  const ctx: Context = { clock, random, network, log, metrics, tables, identity, limits, budget, files, isLinkDown }

  const upstreams = scope.own(createUpstreams(ctx))
  const broker = scope.own(
    createBroker({
      ctx,
      budget,
      durability: spool,
      node: config.node.name ?? facts.hostName,
      policiesOf: (listener) => mqttPoliciesOf(tables.get(), own, listener),
    }),
  )
  const bridge = scope.own(
    createBridge({ ctx, broker, durability: spool, upstreams, node: config.node.name ?? facts.hostName }),
  )
  const dataPath = scope.own(new DataPath(ctx, own, codecsOf(ctx, upstreams, broker), otherPorts(config)))
  // After the data path's own watcher: connections have the new rules by then. Rules may have changed since the last
  // run, too.
  scope.own(tables.watch(() => broker.reauthorize()))
  broker.reauthorize()
  await dataPath.open()
  const dns = await startAgentDns({ config, ctx, disk, node, configuration })
  if (dns) scope.own(dns)
  scope.own(
    tables.watch((next) => {
      detached('bridge', bridge.apply(bridgeRoutes(config, next)))
    }),
  )
  await bridge.apply(bridgeRoutes(config, tables.get()))
  listening[Symbol.dispose]()

  let draining = false
  const parts = {
    config,
    facts,
    files,
    node,
    startedMs,
    clock,
    metrics,
    tables,
    readiness,
    identity,
    configuration,
    dataPath,
    own,
    inherited: world.inherited,
    dns,
    broker,
    bridge,
    spool,
    upstreams,
    workload,
    log,
    adminError: () => admin.ports.error,
    isDraining: () => draining,
    freeBytes,
    hasFile: (file: string) => disk.has(file),
  }
  const status = (): AgentStatus => collectStatus(parts)
  const admin: AdminDoor = scope.own(
    new AdminDoor(
      () =>
        startAdmin(config.admin, adminPages({ ...parts, status, stop: (reason) => stop.resolve(reason) }), log, clock),
      { clock, log },
    ),
  )
  await admin.ports.try()
  for (const err of exposed(parts))
    log.warn({ evt: 'listener.exposed', err }, 'a listener is open to anybody who reaches it')
  scope.own(
    node.watchMachine(() => {
      dataPath.addressesChanged()
      for (const ports of [dns?.ports, admin.ports]) if (ports) detached('network', ports.try())
    }),
  )
  configuration.connect()
  identity.start(() => configuration.link())
  // A node that cannot serve yet is not healthy, whatever stands behind it.
  detached(
    'health',
    readiness.whenReady().then(() => workload?.start()),
  )
  if (world.inherited)
    detached(
      'network',
      readiness
        .whenReady()
        .then(() => dataPath.settled)
        .then(() => {
          for (const err of unusedSockets(parts))
            log.warn({ evt: 'socket.unused', err }, 'a socket that was passed serves nobody')
        }),
    )
  log.info(
    {
      evt: 'agent.started',
      node: node.description.id,
      version: facts.version,
      adminPort: admin.port,
      generation: tables.get().generation,
      stale: tables.get().stale,
      startMs: Math.round(clock.monotonicMs() - startedMs),
    },
    'serving',
  )

  return {
    ready: readiness.whenReady(),
    stopRequested: stop.promise,
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
    inUse: bridge.status().length > 0 ? Promise.resolve() : dataPath.firstConnection,
    alive: () => !scope.aborted.aborted,
    async drain() {
      if (draining) return
      draining = true
      workload?.leave('meshlet drains')
      const how = await dataPath.drain()
      log.info({ evt: 'agent.drained', how }, 'drained')
    },
    [Symbol.asyncDispose]: () => scope[Symbol.asyncDispose](),
  }
}

/** Besides the listeners': who is pushed onto one of these does not get it. */
const otherPorts = ({ admin, dns }: AgentConfig): OwnPort[] => [
  { ...admin, name: 'the admin port' },
  ...(dns ? [{ address: dns.address, port: dns.port, name: 'the DNS proxy' }] : []),
]

/** Where one fails, the other is closed with the scope all the same. */
async function bothOwned<A extends AsyncDisposable, B extends AsyncDisposable>(
  scope: Scope,
  a: Promise<A>,
  b: Promise<B>,
): Promise<[A, B]> {
  const [first, second] = await Promise.allSettled([a, b])
  if (first.status === 'fulfilled') scope.own(first.value)
  if (second.status === 'fulfilled') scope.own(second.value)
  return Promise.all([a, b])
}

/** Routes of agent.yaml and of pushed MQTT listeners; the same route twice is one. */
function bridgeRoutes(config: AgentConfig, { listeners }: Tables): AgentConfig['mqtt']['routes'] {
  const routes = [...config.mqtt.routes]
  const known = new Set(routes.map((r) => JSON.stringify(r)))
  for (const { filterChains, defaultFilterChain } of listeners.values()) {
    for (const chain of defaultFilterChain ? [...filterChains, defaultFilterChain] : filterChains) {
      if (chain.codec.kind !== 'mqtt') continue
      for (const route of chain.codec.mqtt.routes) {
        const key = JSON.stringify(route)
        if (!known.has(key)) {
          known.add(key)
          routes.push(route)
        }
      }
    }
  }
  return routes
}
