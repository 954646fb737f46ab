/** The workload behind this node, upstream brokers and MQTT clients. */
import { MeshError } from '../../../core/errors.ts'
import { formatSpan } from '../status-text.ts'
import type { StatusParts } from '../status-parts.ts'
import type { Condition } from './condition.ts'

export const PEERS: readonly Condition[] = [
  {
    name: 'workload',
    holds: 'The workload that `readinessProbe` asks is not well.',
    codes: ['MESH_PROBE_FAILED'],
    find: workloadProblem,
  },
  {
    name: 'upstream-broker-down',
    holds: 'A broker of `mqtt.routes` is not reached and messages wait for it, or has not been reached for 30 seconds.',
    codes: ['MESH_MQTT_UPSTREAM_DOWN'],
    find: brokersDown,
  },
  {
    name: 'upstream-broker-refuses',
    holds: 'A broker of `mqtt.routes` refuses the session.',
    codes: ['MESH_MQTT_UPSTREAM_REFUSED'],
    find: (p) =>
      p.bridge
        .status()
        .map((b) =>
          b.state === 'refused'
            ? new MeshError('MESH_MQTT_UPSTREAM_REFUSED', `${b.cluster}: ${b.error ?? 'refused'}`)
            : undefined,
        ),
  },
  {
    name: 'mqtt-users',
    holds:
      'A file that `mqtt.users` names is missing, cannot be used or has lines that are not, or others may read it. What was read before counts; without any nobody gets in by it. The same of keys that were never fetched (`jwksUrl`).',
    codes: ['MESH_MQTT_USERS_FILE', 'MESH_JWKS_UNAVAILABLE'],
    find: (p) => p.broker.userProblems(),
  },
  {
    name: 'client-id-cloned',
    holds:
      'An MQTT client id was taken over three times or more, each within a minute of the last: two devices have the same name. Told for five minutes after the last.',
    codes: ['MESH_MQTT_TAKEN_OVER'],
    find: (p) =>
      p.broker
        .clones()
        .map(
          ({ clientId, times }) =>
            new MeshError(
              'MESH_MQTT_TAKEN_OVER',
              `the MQTT client id ${JSON.stringify(clientId)} was taken over ${times} times, as if several devices had it`,
            ),
        ),
  },
]

/** Long enough for a workload or broker that starts at the same time, or restarts. */
const UNREACHED_MS = 30_000

function workloadProblem({ workload }: StatusParts): MeshError | undefined {
  const health = workload?.health.get()
  return workload && health?.state === 'unhealthy'
    ? new MeshError('MESH_PROBE_FAILED', `the workload at ${workload.what}: ${health.reason}`)
    : undefined
}

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
