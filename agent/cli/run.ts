/** `meshlet run`: builds the agent, tells systemd, waits for the end, drains. */
import os from 'node:os'
import { startAgent } from '../agent.ts'
import { captureProblem } from '../config/capture.ts'
import { bundle } from '../core/bundle.ts'
import { systemDisk } from '../core/disk.ts'
import { lastLine } from '../core/last-line.ts'
import { systemClock } from '../core/clock.ts'
import { createBoundedLog } from '../core/log.ts'
import { realWorld } from '../core/real-world.ts'
import type { StorageWorker } from '../core/storage-thread-handle.ts'
import { serviceManager } from '../sd-notify.ts'
import type { ExitCode } from './exit.ts'
import type { Io } from './io.ts'
import { readConfig, type ConfigSource } from './read-config.ts'
import { VERSION } from './version.ts'
import { detached } from '../core/guard.ts'

/** After the longest drain, for what is closed then. */
const GIVE_UP_MS = 10_000

/** Resolves when the agent has stopped. Rejects when it cannot start. `worker`: its storage thread, where it was started ahead. */
export async function run(o: ConfigSource, io: Io, worker?: StorageWorker): Promise<ExitCode> {
  const { config, ignored } = readConfig(o, systemDisk, io.env)
  const log = createBoundedLog(config.log.level, io.logOutput?.(), systemClock)
  using last = lastLine(io, log, config.limits.drainMs + GIVE_UP_MS)
  if (ignored.length > 0) log.info({ evt: 'config.ignored', places: ignored }, 'settings of Istio\'s files that are not acted upon')
  const world = realWorld({ bundle, worker, listenFds: io.listenFds, systemRoots: io.env['SSL_CERT_FILE'] || undefined })
  const capture = captureProblem(config, world.inherited)
  if (capture) log.warn({ evt: 'config.capture', err: capture }, 'redirected connections cannot be served')
  await using agent = await startAgent(config, world, { log, version: VERSION, builtAtMs: bundle && Date.parse(bundle.builtAt), hostName: os.hostname(), ip: firstAddress() })
  const watchdogUsec = Number(io.env['WATCHDOG_USEC'])
  using service = serviceManager({
    notifySocket: io.env['NOTIFY_SOCKET'], watchdogMs: watchdogUsec > 0 ? watchdogUsec / 1000 : undefined, alive: () => agent.alive(), clock: world.clock, log,
  })
  io.settled({ inUse: agent.inUse, isIdle: () => agent.connections === 0, watch: (changed) => { agent.onConfiguration(changed) } })
  detached('process', agent.ready.then(() => service.ready(`serving as ${agent.status().certificate?.spiffeId ?? agent.status().node}`)))
  const reason = await Promise.race([io.stopRequested(), agent.stopRequested, last.broken])
  log.info({ evt: 'agent.stopping', reason }, 'draining')
  service.stopping()
  await agent.drain()
  log.flushLimits()
  return last.isBroken ? 1 : 0
}

/** The address of this machine that others can reach, as far as the machine itself knows. */
export function firstAddress(): string {
  const all = Object.values(os.networkInterfaces()).flatMap((a) => a ?? []).filter((a) => !a.internal && !a.address.startsWith('fe80:'))
  return (all.find((a) => a.family === 'IPv4') ?? all[0])?.address ?? '127.0.0.1'
}
