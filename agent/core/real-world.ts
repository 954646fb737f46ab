import type { Bundle } from './bundle.ts'
import { systemClock, systemRandom } from './clock.ts'
import { systemDisk } from './disk.ts'
import { systemNetwork } from './network.ts'
import type { StorageWorker } from './storage-thread-handle.ts'
import { openStorageWith } from './storage-worker.ts'
import type { World } from './world.ts'

/** Time, chance, sockets and disk as they are. `worker`: the storage thread, where it was started ahead. */
export function realWorld(p: { readonly stateFolder: string; readonly bundle: Bundle | undefined; readonly worker?: StorageWorker | undefined }): World {
  return { clock: systemClock, random: systemRandom, network: systemNetwork, disk: systemDisk, openStorage: openStorageWith({ ...p, disk: systemDisk }) }
}
