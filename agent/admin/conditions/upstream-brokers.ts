/** The brokers that MQTT routes lead to, and the hosts that are waited for there. */
import { MeshError } from '../../../core/errors.ts'
import { formatSpan } from '../status-text.ts'
import type { StatusParts } from '../status-parts.ts'
import type { Condition } from './condition.ts'

export const UPSTREAM_BROKERS: readonly Condition[] = [
  {
    name: 'upstream-broker-down',
    holds: 'A broker of `mqtt.routes` is not reached and messages wait for it, or has not been reached for 30 seconds.',
    codes: ['MESH_MQTT_UPSTREAM_DOWN'],
    find: brokersDown,
  },
  {
    name: 'upstream-broker-refuses',
    holds:
      'A broker of `mqtt.routes` refuses the session, or subscriptions of routes down: nothing of those comes. They are asked for again each minute.',
    codes: ['MESH_MQTT_UPSTREAM_REFUSED'],
    find: (p) =>
      p.bridge
        .status()
        .map((b) =>
          b.state === 'refused'
            ? new MeshError('MESH_MQTT_UPSTREAM_REFUSED', `${b.cluster}: ${b.error ?? 'refused'}`)
            : b.refusedFilters &&
              new MeshError(
                'MESH_MQTT_UPSTREAM_REFUSED',
                `${b.cluster} refuses the subscription of ${b.refusedFilters.slice(0, MOST_NAMED).join(', ')}${b.refusedFilters.length > MOST_NAMED ? ` and ${b.refusedFilters.length - MOST_NAMED} others` : ''}`,
              ),
        ),
  },
  {
    name: 'primary-host-offline',
    holds:
      'A Primary Host Application of Sparkplug that routes wait for (`sparkplug.hostId`) has not been online for 30 seconds at an upstream broker that is connected.',
    codes: ['MESH_MQTT_HOST_OFFLINE'],
    find: hostsOffline,
  },
]

const MOST_NAMED = 3
/** Long enough for a broker or host that starts at the same time, or restarts. */
const UNREACHED_MS = 30_000

/** A cluster that was not sent is reported as name-unknown. */
function brokersDown({ bridge, tables, clock }: StatusParts): MeshError[] {
  const known = tables.get()
  const nowMs = clock.monotonicMs()
  return bridge
    .unreached()
    .filter(
      (b) => b.state !== 'refused' && known.cluster(b.cluster) && (b.queued > 0 || nowMs - b.failedMs >= UNREACHED_MS),
    )
    .map(
      (b) =>
        new MeshError(
          'MESH_MQTT_UPSTREAM_DOWN',
          `the upstream broker ${b.cluster} is not reached for ${formatSpan((nowMs - b.failedMs) / 1000)}${b.error === undefined ? '' : ` (${b.error})`}; ${b.queued === 1 ? '1 message waits' : `${b.queued} messages wait`}`,
        ),
    )
}

function hostsOffline({ bridge }: StatusParts): MeshError[] {
  return bridge
    .status()
    .filter(({ state }) => state === 'connected')
    .flatMap(({ cluster, hosts = [] }) =>
      hosts
        .filter(({ awaySec = 0 }) => awaySec * 1_000 >= UNREACHED_MS)
        .map(
          ({ hostId, state, awaySec = 0, held }) =>
            new MeshError(
              'MESH_MQTT_HOST_OFFLINE',
              `the Primary Host Application ${hostId} ${state === 'offline' ? 'is offline at' : 'has said nothing at'} the upstream broker ${cluster}, and was not online for ${formatSpan(awaySec)}; ${held === 1 ? '1 message waits' : `${held} messages wait`}`,
            ),
        ),
    )
}
