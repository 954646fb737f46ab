import { getExpiryWatcher } from '../../../../protocols/certificate-expiry.ts'
import { getPausedStreams } from '../../../../protocols/paused-streams.ts'
import type { SocketRig } from '../socket-rig.ts'

const GAUGES = [
  'mesh_connections_open',
  'mesh_connections_starting',
  'mesh_connections_sources',
  'mesh_upstream_connections',
  'mesh_upstream_requests_active',
  'mesh_upstream_requests_pending',
  'mesh_upstream_retries_active',
  'mesh_stream_waiting_bytes',
]

/** What is still counted. */
export function countLeft(rig: SocketRig): Record<string, number> {
  const all: Record<string, number> = Object.fromEntries(GAUGES.map((name) => [name, rig.metrics.total(name)]))
  all['expiryWatcher'] = getExpiryWatcher(rig.ctx).size
  all['paused'] = getPausedStreams(rig.ctx).size
  for (const c of rig.upstreams.clusterStatus())
    for (const e of c.endpoints) all[`${c.name} ${e.address}`] = e.activeRequests + e.connections
  return Object.fromEntries(Object.entries(all).filter(([, n]) => n !== 0))
}
