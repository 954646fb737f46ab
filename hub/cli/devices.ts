/** `meshlet-hub devices` and `devices forget` */
import { MeshError } from '../../agent/core/errors.ts'
import type { ExitCode } from './exit.ts'
import { withState } from './open.ts'
import type { Io } from './program.ts'
import { date, table } from './table.ts'

export async function devices(o: { readonly config: string; readonly json: boolean }, io: Io): Promise<ExitCode> {
  const rows = withState(o.config, ({ registry }) => registry.devices())
  io.out(o.json ? `${JSON.stringify(rows)}\n` : table(['NODE', 'IDENTITY', 'LAST SEEN', 'ADDRESS', 'JOINED', 'CERTIFICATE ENDS'],
    rows.map((d) => [d.name, d.spiffeUri, date(d.lastSeenMs), d.lastIp, date(d.joinedMs), date(d.notAfterMs)])))
  return 0
}

/** Rejects with MESH_CONFIG_INVALID when the name is not known. */
export async function forget(name: string, o: { readonly config: string }, io: Io): Promise<ExitCode> {
  if (!withState(o.config, ({ registry }) => registry.forgetDevice(name))) throw new MeshError('MESH_CONFIG_INVALID', `no node ${JSON.stringify(name)} is known; meshlet-hub devices shows them`)
  io.out(`forgotten: ${name}; the next identity that connects under this name keeps it\n`)
  return 0
}
