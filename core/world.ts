import type { Clock, Random } from './os/clock.ts'
import type { Disk } from './os/disk.ts'
import type { InheritedSockets } from './os/inherited-sockets.ts'
import type { Network } from './os/network.ts'
import type { OpenStorage } from './storage/storage.ts'

/** Everything outside the process that the parts may touch. Real in agent/main.ts, simulated in tests. */
export type World = {
  readonly clock: Clock
  readonly random: Random
  readonly network: Network
  /** What `network.listen` takes instead of opening a port. Undefined: nothing was passed. */
  readonly inherited?: InheritedSockets | undefined
  readonly disk: Disk
  /** Of this machine, as others reach it; the preferred one first. They come and go. */
  readonly addresses: () => readonly string[]
  /** SSL_CERT_FILE: the roots that this machine trusts, where they are not in the usual file. */
  readonly systemRoots?: string | undefined
  readonly openStorage: OpenStorage
  /** Gives back to the system what malloc has free, soon and on another thread. Undefined: nothing does. */
  readonly trimMalloc?: (() => void) | undefined
  /** Likewise all that a process does not need which has nothing to do. */
  readonly releaseMemory?: (() => void) | undefined
}
