/** `meshlet-hub run` */
import { bundle } from '../../agent/core/bundle.ts'
import { systemDisk } from '../../agent/core/disk.ts'
import { createLog } from '../../agent/core/log.ts'
import { readHubConfig } from '../config.ts'
import { startHub } from '../hub.ts'
import type { ExitCode } from './exit.ts'
import { nativeBinding, systemWorld } from './open.ts'
import type { Io } from './program.ts'

/** Resolves when the hub has stopped. Rejects when it cannot start. */
export async function run(o: { readonly config: string }, io: Io): Promise<ExitCode> {
  const stop = io.stopRequested() // a signal that comes while the hub starts counts
  const config = readHubConfig(o.config, systemDisk)
  const log = createLog(config.log.level)
  await using _hub = await startHub(config, systemWorld, { log, nativeBinding: nativeBinding(config), builtAtMs: bundle && Date.parse(bundle.builtAt) })
  const reason = await stop
  log.info({ evt: 'hub.stopping', reason }, 'hub is stopping')
  return 0
}
