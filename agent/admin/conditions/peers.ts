/** The workload behind this node, upstream brokers and MQTT clients. */
import { MeshError } from '../../../core/errors.ts'
import type { ClusterStatus } from '../../../protocols/http/message.ts'
import type { StatusParts } from '../status-parts.ts'
import type { Condition } from './condition.ts'
import { UPSTREAM_BROKERS } from './upstream-brokers.ts'

export const PEERS: readonly Condition[] = [
  {
    name: 'workload',
    holds: 'The workload that `readinessProbe` asks is not well.',
    codes: ['MESH_PROBE_FAILED'],
    find: workloadProblem,
  },
  ...UPSTREAM_BROKERS,
  {
    name: 'issuer-keys',
    holds:
      'Keys of an issuer that RequestAuthentication (`remote_jwks`) names were never fetched: its tokens are refused. Keys that are there serve on, however old; the line `keys` says their age.',
    codes: ['MESH_JWKS_UNAVAILABLE'],
    find: (p) => p.remoteKeys.problems(),
  },
  {
    name: 'endpoints-unhealthy',
    holds:
      'All endpoints of a cluster fail its health check: requests to it are refused, or go to all of them (`healthy_panic_threshold`).',
    codes: ['MESH_PROBE_FAILED'],
    find: ({ upstreams }) => upstreams.clusterStatus().map(endpointProblem),
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

function workloadProblem({ workload }: StatusParts): MeshError | undefined {
  const health = workload?.health.get()
  return workload && health?.state === 'unhealthy'
    ? new MeshError('MESH_PROBE_FAILED', `the workload at ${workload.what}: ${health.reason}`)
    : undefined
}

/** Where one of them is not asked, or is well, the cluster serves. */
function endpointProblem({ name, endpoints }: ClusterStatus): MeshError | undefined {
  const [first] = endpoints
  if (!first || !endpoints.every(({ check }) => check?.hasFailed && !check.isPending)) return undefined
  const why = first.check?.reason
  return new MeshError(
    'MESH_PROBE_FAILED',
    `cluster ${name}: none of its ${endpoints.length} endpoints answers as its health check wants it${why === undefined ? '' : `; ${first.address}:${first.port}: ${why}`}`,
  )
}
