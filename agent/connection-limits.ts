/**
 * How many connections may be open where agent.yaml does not say: as many as the memory of the process carries when
 * none of them sends anything.
 */
import { PROCESS_BYTES } from '../core/runtime/memory-budget.ts'
import type { Limits } from '../protocols/context.ts'

type ConnectionLimits = Pick<Limits, 'maxConnections' | 'maxConnectionsTotal' | 'maxConnectionsPerSource'>

/** Of an idle one: some 20 KiB of HTTP/2 or MQTT, some 50 KiB with TLS. The rest is for what a part of them does. */
const CONNECTION_BYTES = 80 * 1024
const MIN_CONNECTIONS = 256
const MAX_CONNECTIONS = 10_000

/** @param limitBytes memory that the process may have */
export function deriveConnectionLimits(
  said: { readonly [L in keyof ConnectionLimits]?: number | undefined },
  limitBytes: number,
): ConnectionLimits {
  const carried = Math.floor((limitBytes - PROCESS_BYTES) / CONNECTION_BYTES)
  const all = Math.min(Math.max(carried, MIN_CONNECTIONS), MAX_CONNECTIONS)
  return {
    maxConnections: said.maxConnections ?? all,
    maxConnectionsTotal: said.maxConnectionsTotal ?? all,
    // One source alone must not keep everybody else out.
    maxConnectionsPerSource: said.maxConnectionsPerSource ?? Math.floor(all / 2),
  }
}
