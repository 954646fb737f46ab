/** `meshlet-hub device list|approve|deny|revoke` */
import { systemClock } from '../../../core/os/clock.ts'
import { approveDevice, denyDevice, findNamespaces, revokeDevice } from '../../enrollment/operator.ts'
import type { Enrollment, JoinRequest } from '../../registry/enrollments.ts'
import type { ExitCode } from '../../../core/cli/exit.ts'
import { runTransaction, noteByOperator, withState } from '../open.ts'
import type { Io } from '../io.ts'
import { formatDate, formatTable } from '../table.ts'

/** Who waits comes first: that is what somebody is to do something about. */
export async function listDevices(o: { readonly config: string; readonly json: boolean }, io: Io): Promise<ExitCode> {
  const { waiting, enrolled } = await withState(o, async ({ registry: { enrollments } }) => ({
    waiting: await enrollments.requests(),
    enrolled: await enrollments.all(),
  }))
  if (o.json) {
    const shown = enrolled.map((e) => ({ ...e, chain: undefined, previousChain: undefined, nonce: undefined }))
    io.out(`${JSON.stringify([...waiting.map((w) => ({ ...w, state: 'pending' })), ...shown])}\n`)
  } else
    io.out(
      formatTable(
        ['NAME', 'STATE', 'LABELS', 'ADDRESS', 'RENEWED', 'ENDS', 'KEY', 'NOTE'],
        [...waiting.map(pendingRow), ...enrolled.map(enrolledRow)],
      ),
    )
  return 0
}

const pendingRow = (w: JoinRequest): string[] => [w.name, 'pending', labels(w), w.address, '-', '-', w.keyId, w.why]
const enrolledRow = (e: Enrollment): string[] => [
  e.name,
  e.state,
  labels(e),
  e.address,
  formatDate(e.renewedMs),
  formatDate(e.notAfterMs),
  e.keyId,
  e.clonedMs === null ? '' : `two copies of its key, at ${e.cloneAddresses ?? ''}, since ${formatDate(e.clonedMs)}`,
]
const labels = ({ labels: all }: JoinRequest | Enrollment): string =>
  Object.entries(all)
    .map(([key, value]) => `${key}=${value}`)
    .join(',') || '-'

type ApproveOptions = { readonly config: string; readonly key?: string }

/** Rejects with MESH_CONFIG_INVALID when nobody of that name waits, or two do. */
export async function approve(name: string, o: ApproveOptions, io: Io): Promise<ExitCode> {
  const detail = await runTransaction(o, async (tx) => {
    const [namespace = ''] = await findNamespaces(tx, name)
    const done = await approveDevice(tx, name, systemClock.wallMs(), o.key)
    await noteByOperator(tx, io, { event: 'device.approved', subject: name, detail: done, namespace })
    return done
  })
  io.out(`approved: ${name}, ${detail}\n`)
  return 0
}

/** Rejects with MESH_CONFIG_INVALID when nobody of that name waits. */
export async function deny(name: string, o: { readonly config: string }, io: Io): Promise<ExitCode> {
  const key = await runTransaction(o, async (tx) => {
    const [namespace = ''] = await findNamespaces(tx, name)
    const done = await denyDevice(tx, name)
    await noteByOperator(tx, io, { event: 'device.denied', subject: name, detail: `key ${done}`, namespace })
    return done
  })
  io.out(`denied: the key ${key} does not become ${name}; the token that it came with is as good as before\n`)
  return 0
}

/** Rejects with MESH_CONFIG_INVALID when the name is not known. */
export async function revoke(name: string, o: { readonly config: string }, io: Io): Promise<ExitCode> {
  const certificates = await runTransaction(o, async (tx) => {
    const [namespace = ''] = await findNamespaces(tx, name)
    const done = await revokeDevice(tx, name, systemClock.wallMs())
    await noteByOperator(tx, io, {
      event: 'device.revoked',
      subject: name,
      detail: `${done} certificate(s)`,
      namespace,
    })
    return done
  })
  io.out(
    `revoked: ${name}, ${certificates} certificate(s) that were good until now; its streams end within a second, and its key opens nothing. meshlet-hub device approve ${name} undoes that\n`,
  )
  return 0
}
