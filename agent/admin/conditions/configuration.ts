/** What was pushed, what a folder holds, and the names in them. */
import { MeshError } from '../../../core/errors.ts'
import type { FilterChain } from '../../../model/listener.ts'
import type { Tables } from '../../../model/tables.ts'
import type { StatusParts } from '../status-parts.ts'
import type { Condition } from './condition.ts'

export const CONFIGURATION: readonly Condition[] = [
  {
    name: 'reload-refused',
    holds: 'A changed `agent.yaml` cannot be taken: the one before is in force.',
    codes: [
      'MESH_CONFIG_INVALID',
      'MESH_LISTENER_TLS',
      'MESH_MQTT_ACL_FILE',
      'MESH_MQTT_USERS_FILE',
      'MESH_STATE_UNUSABLE',
      'MESH_INTERNAL',
    ],
    find: (p) => p.reloader.error,
  },
  {
    name: 'restart-needed',
    holds: 'Settings of `agent.yaml` that have changed count from the next start on.',
    codes: ['MESH_CONFIG_RESTART'],
    find: ({ reloader: { needsRestart } }) =>
      needsRestart.length > 0
        ? new MeshError('MESH_CONFIG_RESTART', `changed, and not in force: ${needsRestart.join(', ')}`)
        : undefined,
  },
  {
    name: 'resource-refused',
    holds: 'A pushed resource, or a part of one, cannot be used.',
    codes: ['MESH_CONFIG_REJECTED'],
    find: refused,
  },
  {
    name: 'name-unknown',
    holds: '`agent.yaml` names a cluster or route table that nobody has sent.',
    codes: ['MESH_NO_CLUSTER', 'MESH_NO_ROUTE'],
    find: unknownNames,
  },
  {
    name: 'named-file',
    holds: 'A file that a resource names cannot be used.',
    codes: ['MESH_CONFIG_REJECTED'],
    find: (p) => p.files.problems(),
  },
  {
    name: 'secret-missing',
    holds: 'A listener or cluster names a secret that has not come: it refuses whoever would need it.',
    codes: ['MESH_TLS_SECRET'],
    find: ({ configuration: { applier } }) =>
      [...applier.referenced('secret')]
        .filter((name) => !applier.snapshot.resources.secret.has(name))
        .map((name) => new MeshError('MESH_TLS_SECRET', `the secret ${name} has not come from the control plane`)),
  },
  {
    name: 'acl-file',
    holds: '`mqtt.aclFile` cannot be used: the last good one is in force, or nobody connects.',
    codes: ['MESH_MQTT_ACL_FILE'],
    find: (p) => p.acls.problems(),
  },
  {
    name: 'chain-blocked',
    holds: 'A chain refuses what comes, because of something that meshlet does not implement or that was withheld.',
    codes: ['MESH_CHAIN_BLOCKED'],
    find: (p) => blockedListeners(p.tables.get()),
  },
  {
    name: 'folder',
    holds:
      '`directory` is not there, or something in a file of it cannot be used; of that the last good content serves on.',
    codes: ['MESH_CONFIG_INVALID', 'MESH_CONFIG_REJECTED'],
    find: (p) => p.configuration.folderProblems(),
  },
  {
    name: 'reference-dangling',
    holds: 'A resource names a cluster that does not exist.',
    codes: ['MESH_NO_CLUSTER'],
    find: (p) =>
      p.configuration.applier
        .dangling()
        .map(
          (d) =>
            new MeshError(
              'MESH_NO_CLUSTER',
              `${d.holder.kind} ${d.holder.name} names the cluster ${d.name}, which does not exist`,
            ),
        ),
  },
]

/** A folder's own problems name file and line, too. */
function refused({ configuration: { applier, folderProblems } }: StatusParts): MeshError[] {
  const told = folderProblems()
  return applier.rejected
    .filter(({ name }) => !told.some((t) => t.message.includes(`"${name}"`)))
    .map(
      ({ kind, name, issues, blocked }) =>
        new MeshError(
          'MESH_CONFIG_REJECTED',
          `${kind} ${name}: ${issues
            .slice(0, 3)
            .map((i) => `${i.path}: ${i.problem}`)
            .join('; ')}${blocked ? ' (what is concerned refuses, the rest is in force)' : ''}`,
        ),
    )
}

/** Names in agent.yaml that the control plane has not sent. */
function unknownNames({ config, tables }: StatusParts): MeshError[] {
  const known = tables.get()
  const cluster = (setting: string, name: string): MeshError[] =>
    known.cluster(name)
      ? []
      : [new MeshError('MESH_NO_CLUSTER', `agent.yaml ${setting} names the cluster ${name}, which does not exist`)]
  return [
    ...config.listeners.flatMap((l) => {
      const setting = `listeners.${l.name}`
      if (l.kind === 'tcp') return cluster(setting, l.cluster)
      if (l.kind === 'mqtt' && l.cluster !== undefined) return cluster(setting, l.cluster)
      return l.kind === 'mqtt' || l.kind === 'hbone' || known.routes(l.routes)
        ? []
        : [
            new MeshError(
              'MESH_NO_ROUTE',
              `agent.yaml ${setting} names the route table ${l.routes}, which does not exist`,
            ),
          ]
    }),
    ...config.mqtt.routes.flatMap((r) => cluster(`mqtt.routes ${r.match}`, r.cluster)),
    ...config.mqtt.bridges.flatMap((b) =>
      [...b.failover, ...Object.values(b.serverReferences)].flatMap((name) =>
        cluster(`mqtt.bridges ${b.cluster}`, name),
      ),
    ),
  ]
}

/** Listeners with a chain that refuses everything, because of something that is not implemented; one reason each. */
function blockedListeners({ listeners }: Tables): MeshError[] {
  return [...listeners.values()].flatMap(({ name, filterChains, defaultFilterChain }) => {
    const chains = defaultFilterChain ? [...filterChains, defaultFilterChain] : filterChains
    const reason = chains.map(blockedBy).find((r) => r !== undefined)
    return reason === undefined
      ? []
      : [new MeshError('MESH_CHAIN_BLOCKED', `listener ${name} refuses what comes: ${reason}`)]
  })
}

function blockedBy({ codec }: FilterChain): string | undefined {
  if (codec.kind === 'blocked') return codec.reason
  const filter = codec.kind === 'http' ? codec.http.filters.find((f) => f.kind === 'blocked' && !f.off) : undefined
  return filter?.kind === 'blocked' ? filter.reason : undefined
}
