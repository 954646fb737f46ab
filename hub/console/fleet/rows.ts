/** Every device that the registry knows, as one row, whichever of its tables it stands in. */
import { isExpired } from '../../../core/pki/validity.ts'
import { parseSpiffeId } from '../../../model/identity.ts'
import type { Enrollment, JoinRequest } from '../../registry/enrollments.ts'
import { HUB_GONE_MS } from '../../registry/replicas.ts'
import type { Registry } from '../../registry/registry.ts'
import type { DeviceRow as Connected } from '../../registry/rows.ts'
import type { DeviceRow, DeviceState } from '../schemas.ts'

export const SILENT_MS = 10 * 60_000
const DAY_MS = 86_400_000
/** What a device says of itself is shown in lists; its whole text is for its own view. */
const MAX_REFUSED_CHARS = 500

export type Sources = {
  readonly connected: readonly Connected[]
  readonly enrolled: readonly Enrollment[]
  readonly waiting: readonly JoinRequest[]
  /** When a hub last said that it lives. */
  readonly aliveMs: number | undefined
}

export async function readSources(registry: Registry): Promise<Sources> {
  return {
    connected: await registry.devices(),
    enrolled: await registry.enrollments.all(),
    waiting: await registry.enrollments.requests(),
    aliveMs: await registry.aliveMs(),
  }
}

/** By name. */
export function assembleRows(
  { connected, enrolled, waiting, aliveMs }: Sources,
  nowMs: number,
): Map<string, DeviceRow> {
  const isHeard = aliveMs !== undefined && Math.abs(nowMs - aliveMs) < HUB_GONE_MS
  const byName = new Map<string, { node?: Connected; device?: Enrollment; waits?: JoinRequest }>()
  const partsOf = (name: string) => {
    const found = byName.get(name) ?? {}
    byName.set(name, found)
    return found
  }
  for (const node of connected) partsOf(node.name).node = node
  for (const device of enrolled) partsOf(device.name).device = device
  for (const waits of waiting) {
    const parts = partsOf(waits.name)
    // Who waits for a name that another has is no device yet.
    if (!parts.device && !parts.node) parts.waits = waits
  }
  const rows = [...byName].map(([name, p]) => assembleRow(name, { ...p, isHeard, nowMs }))
  rows.sort((a, b) => (a.name < b.name ? -1 : 1))
  return new Map(rows.map((row) => [row.name, row]))
}

type Parts = {
  readonly node?: Connected
  readonly device?: Enrollment
  readonly waits?: JoinRequest
  readonly isHeard: boolean
  readonly nowMs: number
}

function assembleRow(name: string, p: Parts): DeviceRow {
  const { node, device, waits, nowMs } = p
  const { namespace = '', serviceAccount = '' } = device ?? waits ?? parseSpiffeId(node?.spiffeUri ?? '') ?? {}
  const row = {
    name,
    namespace,
    serviceAccount,
    labels: (device ?? waits)?.labels ?? {},
    state: decideState(p),
    sinceMs: node?.connectedMs ?? node?.lastSeenMs ?? device?.renewedMs ?? waits?.askedMs ?? null,
    address: node?.lastIp || (device ?? waits)?.address || '',
    revision: node?.inForce ?? null,
    refused: node?.refused?.slice(0, MAX_REFUSED_CHARS) ?? null,
    notAfterMs: device?.notAfterMs ?? node?.notAfterMs ?? null,
    cloned: device !== undefined && device.clonedMs !== null,
  }
  return { ...row, wrong: listWrong(row, nowMs) }
}

function decideState({ node, device, waits, isHeard }: Parts): DeviceState {
  if (waits) return 'pending'
  if (device && device.state !== 'active') return device.state
  if (!node) return 'joined'
  if (!isHeard) return 'unknown'
  return node.connectedMs === null ? 'gone' : 'connected'
}

/** The worst first. */
export function listWrong(row: Omit<DeviceRow, 'wrong'>, nowMs: number): readonly string[] {
  const wrong: string[] = []
  const { state, notAfterMs, sinceMs } = row
  if (row.cloned) wrong.push('Two copies of its key were found: find the copy, then approve the device.')
  if (state === 'suspended') wrong.push('Kept out until somebody approves it.')
  if (state === 'pending') wrong.push('Waits for approval.')
  if (state === 'revoked' || state === 'pending') return wrong
  if (row.refused !== null) wrong.push('Refused newer configuration; it serves the last good one.')
  if (notAfterMs !== null && isExpired({ notAfterMs }, nowMs))
    wrong.push('Its certificate has ended; it renews by its key when it comes back.')
  else if (notAfterMs !== null && state === 'gone' && notAfterMs - nowMs < DAY_MS)
    wrong.push('Its certificate ends within a day, and it is away.')
  if (state === 'gone' && sinceMs !== null && nowMs - sinceMs > SILENT_MS)
    wrong.push('Silent for over ten minutes: look at its power, its link, and `meshlet status` on it.')
  return wrong
}
