/** The next start finds the program unpacked and compiled: the bundle's loader reads what is kept here (deploy/tools/bundle-loader.cjs). */
import path from 'node:path'
import type { Bundle } from './bundle.ts'
import type { Disk } from './disk.ts'
import type { Log } from './log.ts'
import { nextTurn } from './pace.ts'

/**
 * Writes once per version of meshlet and of Node, in steps of some ten milliseconds between which traffic passes. A folder that cannot take it
 * costs a slower start and nothing else. Never rejects.
 */
export async function keepCompiledCode({ bundle, stateFolder, disk, log }: { readonly bundle: Bundle | undefined; readonly stateFolder: string; readonly disk: Disk; readonly log: Log }): Promise<void> {
  try {
    const compiled = bundle?.compiled()
    if (!bundle || !compiled) return
    await nextTurn()
    const file = bundle.compiledFile(compiled)
    await nextTurn()
    disk.replace(path.join(stateFolder, 'compiled.bin'), file, 0o600)
  } catch (err) {
    log.debug({ evt: 'start.not-kept', err }, 'the compiled program could not be kept for the next start')
  }
}
