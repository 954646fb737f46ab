/** `meshlet run`: builds the agent, tells systemd, waits for the end, drains. */
import os from 'node:os'
import { startAgent } from '../agent.ts'
import { readEnvironmentProxy } from '../../model/fleet/environment-proxy.ts'
import { readResourceAttributes } from '../config/resource-attributes.ts'
import { findCaptureProblem } from '../config/capture.ts'
import { bundle } from '../../core/runtime/bundle.ts'
import { systemDisk } from '../../core/os/disk.ts'
import { openLastLine } from '../../core/defects/last-line.ts'
import { systemClock } from '../../core/os/clock.ts'
import { waitForNextTurn } from '../../core/os/time-slice.ts'
import { createBoundedLog } from '../../core/log.ts'
import { createRealWorld } from '../../core/real-world.ts'
import type { StorageWorker } from '../../core/storage/thread-handle.ts'
import { createServiceManager } from '../sd-notify.ts'
import type { AgentFacts } from '../facts.ts'
import type { AgentStatus } from '../admin/status.ts'
import type { ExitCode } from '../../core/cli/exit.ts'
import { Hangup } from './hangup.ts'
import type { Io } from './io.ts'
import { readConfig, type ConfigSource } from './read-config.ts'
import { VERSION } from './version.ts'
import { detach } from '../../core/defects/guard.ts'

/** After the longest drain, for what is closed then. */
const GIVE_UP_MS = 10_000

/**
 * Resolves when the agent has stopped. Rejects when it cannot start. `worker`: its storage thread, where it was started
 * ahead.
 */
export async function run(o: ConfigSource, io: Io, worker?: StorageWorker): Promise<ExitCode> {
  const { config, ignored } = readConfig(o, systemDisk, io.env)
  const output = io.logOutput?.()
  const log = createBoundedLog(config.log.level, output, systemClock)
  const hangup = new Hangup()
  using _signals = io.hearSignals?.((signal) => {
    if (signal === 'SIGHUP') hangup.heard()
    else log.info({ evt: 'agent.signal', signal }, 'this signal has no effect')
  })
  using last = openLastLine(io, log, config.limits.drainMs + GIVE_UP_MS)
  if (ignored.length > 0)
    log.info({ evt: 'config.ignored', places: ignored }, "settings of Istio's files that are not acted upon")
  const world = createRealWorld({
    bundle,
    worker,
    listenFds: io.listenFds,
    systemRoots: io.env['SSL_CERT_FILE'] || undefined,
  })
  const capture = findCaptureProblem(config, world.inherited)
  if (capture) log.warn({ evt: 'config.capture', err: capture }, 'redirected connections cannot be served')
  const watchdogUsec = Number(io.env['WATCHDOG_USEC'])
  let isAlive = (): boolean => true
  using service = createServiceManager({
    notifySocket: io.env['NOTIFY_SOCKET'],
    watchdogMs: watchdogUsec > 0 ? watchdogUsec / 1000 : undefined,
    alive: () => isAlive(),
    clock: world.clock,
    log,
  })
  await using agent = await startAgent(config, world, { ...collectFacts(o, io), log, output })
  hangup.started(agent)
  isAlive = () => agent.alive()
  io.settled({
    isIdle: () => agent.connections === 0,
    memory: world,
    watch: (changed) => agent.onConfiguration(changed),
  })
  // The status walks over the configuration; making the parts has filled this turn.
  await waitForNextTurn()
  // What is on disk is served; what is not there yet, which /ready says, is waited for by the agent and not by the boot.
  service.ready(summary(agent.status()))
  if (agent.status().state !== 'ready')
    detach(
      'process',
      agent.ready.then(() => service.status(summary(agent.status()))),
    )
  const reason = await Promise.race([io.stopRequested(), agent.stopRequested, last.broken])
  log.info({ evt: 'agent.stopping', reason }, 'draining')
  service.stopping()
  await agent.drain()
  log.flushLimits()
  return last.isBroken ? 1 : 0
}

function collectFacts(o: ConfigSource, { env }: Io): Omit<AgentFacts, 'log' | 'output'> {
  return {
    version: VERSION,
    builtAtMs: bundle && Date.parse(bundle.builtAt),
    hostName: os.hostname(),
    uptimeMs: os.uptime() * 1_000,
    readEnvironmentProxy: () => readEnvironmentProxy(env),
    resourceAttributes: readResourceAttributes(env),
    readConfig: () => readConfig(o, systemDisk, env).config,
  }
}

function summary({ state, waitingFor, certificate, node }: AgentStatus): string {
  return state === 'starting' ? `waiting for ${waitingFor.join(', ')}` : `serving as ${certificate?.spiffeId ?? node}`
}
