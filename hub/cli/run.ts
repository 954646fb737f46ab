/** `meshlet-hub run` */
import { bundle } from '../../core/runtime/bundle.ts'
import { openLastLine } from '../../core/defects/last-line.ts'
import { createBoundedLog } from '../../core/log.ts'
import { systemClock } from '../../core/os/clock.ts'
import { startHub } from '../hub.ts'
import type { ExitCode } from '../../core/cli/exit.ts'
import { readPage } from '../console/page.ts'
import { loadNativeBinding, readConfig, systemWorld, type ConfigOptions } from './open.ts'
import type { Io } from './io.ts'

/** Streams are ended at once; a disk may take a moment. */
const STOP_MS = 10_000

/** Resolves when the hub has stopped. Rejects when it cannot start. */
export async function run(o: ConfigOptions, io: Io): Promise<ExitCode> {
  const stop = io.stopRequested() // a signal that comes while the hub starts counts
  const config = readConfig(o)
  const log = createBoundedLog(config.log.level, io.logOutput?.(), systemClock)
  using _signals = io.hearSignals?.((signal) => {
    log.info({ evt: 'hub.signal', signal }, 'this signal has no effect')
  })
  using last = openLastLine(io, log, STOP_MS)
  await using _hub = await startHub(config, systemWorld, {
    log,
    nativeBinding: loadNativeBinding(config),
    builtAtMs: bundle && Date.parse(bundle.builtAt),
    page: config.console && bundle?.page && readPage(bundle.page),
  })
  io.serving?.()
  const reason = await Promise.race([stop, last.broken])
  log.info({ evt: 'hub.stopping', reason }, 'hub is stopping')
  log.flushLimits()
  return last.isBroken ? 1 : 0
}
