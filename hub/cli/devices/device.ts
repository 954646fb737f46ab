/** `meshlet-hub device list|approve|deny|revoke` */
import type { ExitCode } from '../../../core/cli/exit.ts'
import { toPrintable } from '../../../core/printable.ts'
import type { ListedEnrollment } from '../../enrollment/list.ts'
import type { Io } from '../io.ts'
import { withOperations, type HubOptions } from '../operations/open.ts'
import { formatDate, formatTable } from '../table.ts'

/** Who waits comes first: that is what somebody is to do something about. */
export async function listDevices(o: HubOptions & { readonly json: boolean }, io: Io): Promise<ExitCode> {
  const all = await withOperations(o, io, ({ devices }) => devices.enrollments())
  if (o.json) io.out(`${JSON.stringify(all)}\n`)
  else
    io.out(formatTable(['NAME', 'STATE', 'LABELS', 'ADDRESS', 'RENEWED', 'ENDS', 'KEY', 'NOTE'], all.map(describeRow)))
  return 0
}

function describeRow(e: ListedEnrollment): string[] {
  if (e.state === 'pending') return [e.name, 'pending', labels(e), e.address, '-', '-', e.keyId, e.why]
  return [
    e.name,
    e.state,
    labels(e),
    e.address,
    formatDate(e.renewedMs),
    formatDate(e.notAfterMs),
    e.keyId,
    e.clonedMs === null ? '' : `two copies of its key, at ${e.cloneAddresses ?? ''}, since ${formatDate(e.clonedMs)}`,
  ]
}
const labels = ({ labels: all }: ListedEnrollment): string =>
  Object.entries(all)
    .map(([key, value]) => `${key}=${value}`)
    .join(',') || '-'

/** Rejects with MESH_CONFIG_INVALID when nobody of that name waits, or two do. */
export async function approve(name: string, o: HubOptions & { readonly key?: string }, io: Io): Promise<ExitCode> {
  const detail = await withOperations(o, io, ({ devices }) => devices.decide('approve', name, o.key))
  io.out(toPrintable(`approved: ${name}, ${detail}`) + '\n')
  return 0
}

/** Rejects with MESH_CONFIG_INVALID when nobody of that name waits. */
export async function deny(name: string, o: HubOptions, io: Io): Promise<ExitCode> {
  const detail = await withOperations(o, io, ({ devices }) => devices.decide('deny', name))
  io.out(
    toPrintable(`denied: the ${detail} does not become ${name}; the token that it came with is as good as before`) +
      '\n',
  )
  return 0
}

/** Rejects with MESH_CONFIG_INVALID when the name is not known. */
export async function revoke(name: string, o: HubOptions, io: Io): Promise<ExitCode> {
  const detail = await withOperations(o, io, ({ devices }) => devices.decide('revoke', name))
  io.out(
    toPrintable(
      `revoked: ${name}, ${detail} that were good until now; its streams end within a second, and its key opens nothing. meshlet-hub device approve ${name} undoes that`,
    ) + '\n',
  )
  return 0
}
