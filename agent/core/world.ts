import type { Clock, Random } from './clock.ts'
import type { Disk } from './disk.ts'
import type { Network } from './network.ts'
import type { OpenStorage } from './storage.ts'

/** Everything outside the process that the parts may touch. Real in main.ts, simulated in tests. */
export type World = {
  readonly clock: Clock
  readonly random: Random
  readonly network: Network
  readonly disk: Disk
  readonly openStorage: OpenStorage
}
