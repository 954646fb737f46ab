/** A folder of resource files as the source of configuration. */
import { Applier } from '../../control-sync/apply.ts'
import { startDirectorySync } from '../../control-sync/directory/sync.ts'
import { detach } from '../../core/defects/guard.ts'
import type { Configuration, ConfigurationOptions } from './configuration.ts'

export async function openDirectory(
  { config, world, metrics, log, tables, owner, readiness }: ConfigurationOptions,
  folder: string,
): Promise<Configuration> {
  const { clock, disk } = world
  const applier = new Applier({
    node: owner,
    tables,
    saver: undefined,
    clock,
    log,
    metrics,
    gateway: config.node.type === 'router',
    readFile: (file) => disk.read(file)?.toString('utf8'),
  })
  const latch = readiness.hold('a configuration')
  const sync = startDirectorySync({ folder, node: config.node.name, applier, clock, log })
  const synced = sync.synced.then(() => latch[Symbol.dispose]())
  // The ports open with what the folder has now. A folder that does not exist yet is not waited for.
  await sync.begun
  if (sync.isMissing) detach('configuration', synced)
  else await synced
  return {
    applier,
    damage: [],
    needsIdentity: false,
    folderProblems: () => sync.problems,
    link: () => sync.link,
    quality: () => undefined,
    startReports: () => {
      /* there is no hub */
    },
    answerHub: () => {
      /* nobody asks */
    },
    permitHub: () => {
      /* nobody asks */
    },
    reconnect: () => {
      /* nothing is connected */
    },
    connect: () => {
      /* watched from the start */
    },
    [Symbol.asyncDispose]: () => sync[Symbol.asyncDispose](),
  }
}
