/** `meshlet-hub devices` and `devices forget` */
import { asOwner } from '../../core/os/as-owner.ts'
import { systemClock } from '../../core/os/clock.ts'
import { MeshError } from '../../core/errors.ts'
import { HUB_GONE_MS } from '../registry/live-devices.ts'
import { isRunning } from '../registry/running.ts'
import type { ExitCode } from '../../core/cli/exit.ts'
import { forgetDevice } from '../enrollment/operator.ts'
import { runTransaction, loadNativeBinding, noteByOperator, withState } from './open.ts'
import type { Io } from './io.ts'
import { formatDate, formatTable } from './table.ts'

export async function printDevices(o: { readonly config: string; readonly json: boolean }, io: Io): Promise<ExitCode> {
  const { rows, process, isHeard } = await withState(o.config, async ({ config, registry }) => ({
    rows: await registry.devices(),
    process: asOwner(config.state, () => isRunning(config.state, loadNativeBinding(config))),
    isHeard: Math.abs(systemClock.wallMs() - ((await registry.aliveMs()) ?? 0)) < HUB_GONE_MS,
  }))
  const runs = process !== false && isHeard
  const all = rows.map((d) => ({ ...d, state: !runs ? 'unknown' : d.connectedMs === null ? 'gone' : 'connected' }))
  if (o.json) {
    io.out(`${JSON.stringify(all)}\n`)
    return 0
  }
  io.out(
    formatTable(
      ['NODE', 'STATE', 'SINCE', 'CONFIGURATION', 'TAKEN', 'CERTIFICATE', 'ENDS', 'ADDRESS', 'IDENTITY'],
      all.map((d) => [
        d.name,
        d.state,
        formatDate(d.state === 'connected' ? d.connectedMs : d.lastSeenMs),
        d.inForce === null ? '-' : `${d.inForce.slice(0, 12)}${d.refused === null ? '' : ', newer refused'}`,
        formatDate(d.inForceMs),
        d.serial?.slice(0, 12) ?? '-',
        formatDate(d.notAfterMs),
        d.lastIp,
        d.spiffeUri,
      ]),
    ),
  )
  for (const d of all) if (d.refused !== null) io.out(`${d.name} refused: ${printable(d.refused)}\n`)
  if (!runs && all.length > 0)
    io.err(
      `meshlet-hub: no hub ${process === false ? 'runs on this state' : 'has written to this state within the last half minute'}, so nobody knows who is connected; SINCE is when they were last seen: systemctl status meshlet-hub\n`,
    )
  return 0
}

/** What a device sent, safe for a terminal. */
function printable(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}]/gu, ' ').slice(0, 500)
}

/** Rejects with MESH_CONFIG_INVALID when the name is not known. */
export async function forget(name: string, o: { readonly config: string }, io: Io): Promise<ExitCode> {
  await runTransaction(o, async (tx) => {
    if (!(await forgetDevice(tx, name, systemClock.wallMs())))
      throw new MeshError(
        'MESH_CONFIG_INVALID',
        `no node ${JSON.stringify(name)} is known; meshlet-hub devices shows them`,
      )
    await noteByOperator(tx, io, { event: 'device.forgotten', subject: name, detail: '' })
  })
  io.out(`forgotten: ${name}; the next device with a join token for this name gets it\n`)
  return 0
}
