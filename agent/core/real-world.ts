import type { Bundle } from './bundle.ts'
import { systemClock, systemRandom } from './clock.ts'
import { systemDisk } from './disk.ts'
import { systemNetwork } from './network.ts'
import { openStorageWith } from './storage-worker.ts'
import type { World } from './world.ts'

/** Time, chance, sockets and disk as they are. */
export function realWorld(p: { readonly stateFolder: string; readonly bundle: Bundle | undefined }): World {
  return { clock: systemClock, random: systemRandom, network: systemNetwork, disk: systemDisk, openStorage: openStorageWith({ ...p, disk: systemDisk }) }
}
