import type { ExitCode } from '../../core/cli/exit.ts'
import { openStoredCa, withState } from './open.ts'
import type { Io } from './io.ts'

/** `meshlet-hub roots`: what devices check the hub and each other against, as PEM. */
export async function printRoots(o: { readonly config: string }, io: Io): Promise<ExitCode> {
  const { rootsPem } = await withState(o.config, openStoredCa)
  io.out(rootsPem)
  return 0
}
