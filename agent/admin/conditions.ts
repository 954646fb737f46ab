/**
 * What may be wrong with an agent, one row a condition: `meshlet status` says "Nothing is wrong" when none of them
 * holds. docs/status.md is made from this table, and test/rules/conditions.test.ts wants a test for each row. Worst
 * first.
 */
import path from 'node:path'
import { shadowedListeners, wantedListeners } from '../../protocols/downstream/wanted-listeners.ts'
import { captureProblem, isCaptureSocket } from '../config/capture.ts'
import { exposureProblems } from '../config/exposure.ts'
import { MeshError, toMeshError, type ErrorCode } from '../../core/errors.ts'
import type { FilterChain } from '../../model/listener.ts'
import type { Tables } from '../../model/tables.ts'
import { span, type Problem } from './status.ts'
import type { StatusParts } from './status-parts.ts'

type Found = readonly (MeshError | undefined)[] | MeshError | undefined
export type Condition = {
  readonly name: string
  /** In words, for docs/status.md. */
  readonly holds: string
  /** Those that it is told with; of identity and link the most frequent ones. */
  readonly codes: readonly ErrorCode[]
  readonly find: (p: StatusParts) => Found
}

/** More names of the same kind help nobody. */
const MAX_LISTED = 20

export const CONDITIONS: readonly Condition[] = [
  {
    name: 'identity',
    holds:
      'The certificate has expired, cannot be renewed or is not stored; the clock is behind what signatures prove; a file of roots or revocation lists cannot be read (what was read before counts on); `identity.folder` holds no identity (yet), and what needs one refuses.',
    codes: [
      'MESH_IDENTITY_EXPIRED',
      'MESH_IDENTITY_GRACE',
      'MESH_CLOCK_WRONG',
      'MESH_CERTIFICATE_REFUSED',
      'MESH_CERTIFICATE_TTL',
      'MESH_CONFIG_INVALID',
    ],
    find: (p) => p.identity.problems(),
  },
  {
    name: 'no-certificate',
    holds: 'A control plane is configured, and there has never been a certificate.',
    codes: ['MESH_NO_IDENTITY'],
    find: (p) =>
      p.identity.current() || !p.configuration.needsIdentity
        ? undefined
        : new MeshError('MESH_NO_IDENTITY', 'there is no certificate yet'),
  },
  {
    name: 'link-down',
    holds:
      'There is no configuration stream; the text says why, and how long ago a control plane was last heard of. The last good configuration serves on.',
    codes: ['MESH_CONTROL_UNREACHABLE', 'MESH_CONTROL_TLS', 'MESH_CONTROL_UNAUTHENTICATED', 'MESH_CONTROL_TIMEOUT'],
    find: (p) => (p.configuration.link().error?.code === 'MESH_NO_ADDRESS' ? undefined : linkProblem(p)),
  },
  {
    name: 'no-address',
    holds:
      'This machine has no address under which the mesh could know it (DHCP, no link); no control plane is asked meanwhile.',
    codes: ['MESH_NO_ADDRESS'],
    find: (p) => (p.configuration.link().error?.code === 'MESH_NO_ADDRESS' ? linkProblem(p) : undefined),
  },
  {
    name: 'clusters-held',
    holds: 'The control plane took away most clusters at once; they serve on for a while.',
    codes: ['MESH_CONTROL_SHRUNK'],
    find: heldClusters,
  },
  {
    name: 'configuration-not-stored',
    holds: 'What serves could not be written to disk: a restart begins with an older one.',
    codes: ['MESH_STORAGE_FULL', 'MESH_STORAGE_FAILED', 'MESH_STATE_UNUSABLE'],
    find: (p) => p.configuration.applier.storageError,
  },
  {
    name: 'spool-failing',
    holds: 'The last commit of the spool failed: nothing of QoS 1 and 2 is acknowledged.',
    codes: ['MESH_STORAGE_FULL', 'MESH_STORAGE_FAILED', 'MESH_STATE_UNUSABLE'],
    find: spoolProblem,
  },
  {
    name: 'state-gone',
    holds: 'The state folder, or a file that is open in it, is gone: what is stored from now on is lost at the end.',
    codes: ['MESH_STATE_UNUSABLE'],
    find: stateProblem,
  },
  {
    name: 'disk-low',
    holds: 'The disk of the state folder has less free than `mqtt.spool.minDiskFreeBytes`.',
    codes: ['MESH_STORAGE_FULL'],
    find: diskProblem,
  },
  {
    name: 'spool-full',
    holds: 'The spool holds as many bytes as it may.',
    codes: ['MESH_MQTT_QUOTA'],
    find: ({ spool: { stats } }) =>
      stats.bytes >= stats.maxBytes
        ? new MeshError('MESH_MQTT_QUOTA', `the spool holds ${stats.messages} messages and takes no more`)
        : undefined,
  },
  {
    name: 'capture',
    holds: '`capture` is told to the control plane and cannot be served.',
    codes: ['MESH_CAPTURE_UNAVAILABLE'],
    find: (p) => captureProblem(p.config, p.inherited, p.tables.get().listeners.values()),
  },
  {
    name: 'socket-unused',
    holds:
      'A socket that systemd passed serves nobody. Those of meshlet-capture.socket (15001, 15006) may rest: a mesh need not send both listeners.',
    codes: ['MESH_SOCKET_UNUSED'],
    find: unusedSockets,
  },
  {
    name: 'exposed',
    holds: 'A plain listener without rules is open to anybody who reaches it.',
    codes: ['MESH_LISTENER_OPEN', 'MESH_MQTT_USER_UNPROVED'],
    find: exposed,
  },
  {
    name: 'listener-failed',
    holds:
      'A port is taken, forbidden, or of an address that is not there (yet); it is tried again, and the others serve.',
    codes: ['MESH_PORT_IN_USE', 'MESH_PORT_FORBIDDEN', 'MESH_ADDRESS_MISSING'],
    find: (p) => p.dataPath.listeners().map((l) => (l.error?.code === 'MESH_LISTENER_TLS' ? undefined : l.error)),
  },
  {
    name: 'listener-files',
    holds:
      'A file that the `tls` of a listener names is missing, cannot be read or cannot be used; its port stays closed, the file is looked at again, and the others serve.',
    codes: ['MESH_LISTENER_TLS'],
    find: (p) => p.dataPath.listeners().map((l) => (l.error?.code === 'MESH_LISTENER_TLS' ? l.error : undefined)),
  },
  {
    name: 'listener-shadowed',
    holds: 'A pushed listener has the name of one of `agent.yaml`, which serves in its place.',
    codes: ['MESH_CONFIG_REJECTED'],
    find: shadowed,
  },
  {
    name: 'admin-failed',
    holds: 'The same of the admin port; only the log can tell.',
    codes: ['MESH_PORT_IN_USE', 'MESH_PORT_FORBIDDEN', 'MESH_ADDRESS_MISSING'],
    find: (p) => p.adminError(),
  },
  {
    name: 'dns',
    holds: 'The DNS port cannot be opened, or no resolver answers.',
    codes: ['MESH_PORT_IN_USE', 'MESH_ADDRESS_MISSING', 'MESH_DNS_UPSTREAM'],
    find: (p) => p.dns?.status().problems,
  },
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
  {
    name: 'damage',
    holds: 'A damaged file was met in this run, and set aside.',
    codes: ['MESH_IDENTITY_DAMAGED', 'MESH_STORAGE_DAMAGED'],
    find: (p) => [
      setAside('MESH_IDENTITY_DAMAGED', p.identity.setAside),
      ...p.configuration.damage,
      setAside('MESH_STORAGE_DAMAGED', p.spool.setAside),
    ],
  },
]

/** A condition that cannot be looked at is told as such, and hides no other. */
export function problemsOf(p: StatusParts, conditions: readonly Condition[] = CONDITIONS): Problem[] {
  const seen = new Set<string>()
  return conditions.flatMap(({ name, find }) => {
    let found: Found
    try {
      found = find(p)
    } catch (thrown) {
      const { code, message } = toMeshError(thrown)
      found = new MeshError(
        'MESH_INTERNAL',
        `the condition ${name} cannot be looked at: ${code === 'MESH_INTERNAL' ? '' : `${code}: `}${message}`,
        { cause: thrown },
      )
    }
    const all = (
      Array.isArray(found) ? (found as readonly (MeshError | undefined)[]) : [found as MeshError | undefined]
    ).filter((e) => e !== undefined)
    return all.slice(0, MAX_LISTED).flatMap((thrown) => {
      const err = toMeshError(thrown)
      if (seen.has(err.code + err.message)) return []
      seen.add(err.code + err.message)
      return [{ code: err.code, text: err.message, remedy: err.row.remedy }]
    })
  })
}

function linkProblem({ configuration, clock }: StatusParts): MeshError | undefined {
  const { error, lastContactMs } = configuration.link()
  if (!error) return undefined
  const heardMs =
    lastContactMs === undefined
      ? configuration.applier.contactAtMs
      : lastContactMs - clock.monotonicMs() + clock.wallMs()
  return heardMs === undefined
    ? error
    : new MeshError(
        error.code,
        `${error.message}; a control plane was last heard of ${span(Math.max(0, (clock.wallMs() - heardMs) / 1000))} ago`,
        { cause: error },
      )
}

function heldClusters({ configuration, clock }: StatusParts): MeshError | undefined {
  const { held } = configuration.link()
  return (
    held &&
    new MeshError(
      'MESH_CONTROL_SHRUNK',
      `the control plane took away ${held.clusters} of ${held.of} clusters at once; they serve on for ${Math.max(0, Math.round((held.untilMs - clock.monotonicMs()) / 1000))} s`,
    )
  )
}

function spoolProblem({ spool: { error } }: StatusParts): MeshError | undefined {
  return (
    error &&
    new MeshError(error.code, `the spool could not write, and nothing is acknowledged until it can: ${error.message}`, {
      cause: error,
    })
  )
}

/** SQLite works on with a file that has no name any more, and all of it is gone with the process. */
function stateProblem({ config, configuration, hasFile }: StatusParts): MeshError | undefined {
  // The folder as a whole is told by disk-low, with what the system says.
  if (!hasFile(config.state)) return undefined
  const files = ['spool.db', ...(configuration.link().mode === 'control plane' ? ['snapshot.db'] : [])]
  const gone = files.filter((name) => !hasFile(path.join(config.state, name)))
  return gone.length === 0
    ? undefined
    : new MeshError(
        'MESH_STATE_UNUSABLE',
        `${gone.join(' and ')} of the state directory ${config.state} ${gone.length === 1 ? 'is' : 'are'} gone although open: what is stored from now on is lost at the end. Restart meshlet`,
      )
}

function diskProblem({ config, freeBytes }: StatusParts): MeshError | undefined {
  const { minDiskFreeBytes } = config.mqtt.spool
  try {
    if (freeBytes() >= minDiskFreeBytes) return undefined
    return new MeshError(
      'MESH_STORAGE_FULL',
      `the disk of ${config.state} has less than ${minDiskFreeBytes} bytes free (mqtt.spool.minDiskFreeBytes), so the spool takes only what its file has room for`,
    )
  } catch (cause) {
    return new MeshError('MESH_STATE_UNUSABLE', `the state directory ${config.state} cannot be looked at`, { cause })
  }
}

/** Before the first configuration nobody knows yet. */
export function unusedSockets({ inherited, readiness }: Pick<StatusParts, 'inherited' | 'readiness'>): MeshError[] {
  return readiness.ready
    ? (inherited?.unused(isCaptureSocket) ?? []).map((text) => new MeshError('MESH_SOCKET_UNUSED', text))
    : []
}

export function exposed({ config, tables, own }: Pick<StatusParts, 'config' | 'tables' | 'own'>): MeshError[] {
  return exposureProblems(
    wantedListeners(tables.get(), own).values(),
    new Map(config.listeners.map((l) => [l.name, l])),
  )
}

function shadowed({ tables, own }: Pick<StatusParts, 'tables' | 'own'>): MeshError[] {
  return shadowedListeners(tables.get(), own).map(
    ({ name, address, port }) =>
      new MeshError(
        'MESH_CONFIG_REJECTED',
        `the pushed listener ${name} on ${address}:${port} is not served: agent.yaml has a listener of that name. Give one of them another`,
      ),
  )
}

function workloadProblem({ workload }: StatusParts): MeshError | undefined {
  const health = workload?.health.get()
  return workload && health?.state === 'unhealthy'
    ? new MeshError('MESH_PROBE_FAILED', `the workload at ${workload.what}: ${health.reason}`)
    : undefined
}

/** What starts at the same time, or restarts, is there by then. */
const UNREACHED_MS = 30_000

/** A cluster that nobody has sent is told as such (name-unknown). */
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
          `the upstream broker ${b.cluster} is not reached for ${span((nowMs - b.failedMs) / 1000)}${b.error === undefined ? '' : ` (${b.error})`}; ${b.queued === 1 ? '1 message waits' : `${b.queued} messages wait`}`,
        ),
    )
}

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

/** What agent.yaml names and nobody has sent. */
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
      return l.kind === 'mqtt' || known.routes(l.routes)
        ? []
        : [
            new MeshError(
              'MESH_NO_ROUTE',
              `agent.yaml ${setting} names the route table ${l.routes}, which does not exist`,
            ),
          ]
    }),
    ...config.mqtt.routes.flatMap((r) => cluster(`mqtt.routes ${r.match}`, r.cluster)),
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

function setAside(
  code: 'MESH_IDENTITY_DAMAGED' | 'MESH_STORAGE_DAMAGED',
  file: string | undefined,
): MeshError | undefined {
  return file === undefined ? undefined : new MeshError(code, `a damaged file was found at start and is now ${file}`)
}
