/** `meshlet-hub roots [status|add|switch|drop]` */
import { systemClock } from '../../core/os/clock.ts'
import { systemDisk } from '../../core/os/disk.ts'
import type { ExitCode } from '../../core/cli/exit.ts'
import { describeRoots, rotateRoots, type RootState, type RotationStep } from '../enrollment/rotation.ts'
import type { Registry } from '../registry/registry.ts'
import { noteByOperator, openStoredCa, withState, type State } from './open.ts'
import type { Io } from './io.ts'
import { formatDate, formatTable } from './table.ts'

type RootsOptions = { readonly config: string }

/** What devices check the hub and each other against, as PEM. */
export async function printRoots(o: RootsOptions, io: Io): Promise<ExitCode> {
  io.out((await withState(o, openStoredCa)).rootsPem)
  return 0
}

const STATES: Readonly<Record<RootState, string>> = {
  signs: 'signs',
  added: 'trusted, signs after `roots switch`',
  switched: 'trusted until `roots drop`',
}

export async function printRootStatus(o: RootsOptions & { readonly json: boolean }, io: Io): Promise<ExitCode> {
  const all = await withState(o, async (state) => {
    await openStoredCa(state)
    return describeRoots(optionsOf(state, state.registry))
  })
  if (o.json) io.out(`${JSON.stringify(all)}\n`)
  else {
    const rows = all.map((r) => [r.fingerprint, STATES[r.state], formatDate(r.notAfterMs), r.waitsFor.join(' ') || '-'])
    io.out(formatTable(['SHA-256', 'STATE', 'ENDS', 'WAITS FOR'], rows))
  }
  return 0
}

/** Rejects with MESH_CONFIG_INVALID when it is not the time for the step. */
export async function rotate(
  step: RotationStep,
  o: RootsOptions & { readonly anyway?: boolean },
  io: Io,
): Promise<ExitCode> {
  const done = await withState(o, async (state) => {
    await openStoredCa(state)
    return state.registry.exclusively(async (tx) => {
      const text = await rotateRoots(step, optionsOf(state, tx), o.anyway)
      await noteByOperator(tx, io, { event: 'roots.changed', subject: step, detail: text })
      return text
    })
  })
  io.out(`${done}; a running hub takes it within a second, devices with their next certificate\n`)
  return 0
}

function optionsOf({ config, caFolder }: State, registry: Registry) {
  const { trustDomain, state } = config
  return { state, folder: caFolder, disk: systemDisk, trustDomain, registry, nowMs: systemClock.wallMs() }
}
