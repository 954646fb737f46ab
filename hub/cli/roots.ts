import { asOwner } from '../../core/os/as-owner.ts'
import { openCa } from '../ca/ca.ts'
import type { ExitCode } from '../../core/cli/exit.ts'
import { systemWorld, withState } from './open.ts'
import type { Io } from './io.ts'

/**
 * `meshlet-hub roots`: what devices check the hub and each other against, as PEM. Makes the CA where there is none yet,
 * as the hub's first start does.
 */
export async function printRoots(o: { readonly config: string }, io: Io): Promise<ExitCode> {
  const pem = withState(o.config, ({ config, registry, caFolder }) =>
    asOwner(config.state, () =>
      registry.exclusively(
        () =>
          openCa({
            folder: caFolder,
            disk: systemWorld.disk,
            clock: systemWorld.clock,
            trustDomain: config.trustDomain,
          }).rootsPem,
      ),
    ),
  )
  io.out(pem)
  return 0
}
