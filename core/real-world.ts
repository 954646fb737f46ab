import { listSystemAddresses } from './os/addresses.ts'
import type { Bundle } from './runtime/bundle.ts'
import { systemClock, systemRandom } from './os/clock.ts'
import { systemDisk } from './os/disk.ts'
import { InheritedSockets } from './os/inherited-sockets.ts'
import type { ListenFds } from './os/listen-fds.ts'
import { systemNetwork } from './os/network.ts'
import { addUnixSockets } from './os/sockets/unix-socket.ts'
import { StorageThread, type StorageWorker } from './storage/thread-handle.ts'
import { openStorageWith } from './storage/worker-storage.ts'
import type { World } from './world.ts'

type Process = {
  readonly bundle: Bundle | undefined
  /** The storage thread, where it was started ahead. */
  readonly worker?: StorageWorker | undefined
  readonly listenFds?: ListenFds | undefined
  readonly systemRoots?: string | undefined
}

/** Time, chance, sockets and disk as they are. */
export function createRealWorld({ listenFds, systemRoots, ...p }: Process): World {
  const inherited =
    listenFds && (listenFds.fds.length > 0 || listenFds.problem !== undefined)
      ? new InheritedSockets(listenFds)
      : undefined
  const network = addUnixSockets(inherited?.over(systemNetwork) ?? systemNetwork)
  const thread = new StorageThread(p)
  return {
    clock: systemClock,
    random: systemRandom,
    network,
    inherited,
    disk: systemDisk,
    addresses: listSystemAddresses,
    systemRoots,
    openStorage: openStorageWith(p, thread),
    trimMalloc: () => thread.trimMalloc(),
    releaseMemory: () => thread.releaseMemory(),
  }
}
