/** The state folder, the disk below it and what is stored there. */
import path from 'node:path'
import { MeshError } from '../../../core/errors.ts'
import type { StatusParts } from '../status-parts.ts'
import type { Condition } from './condition.ts'

export const STORAGE: readonly Condition[] = [
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
]

/** Reported last, because nothing can be done about what is lost. */
export const DAMAGE: Condition = {
  name: 'damage',
  holds: 'A damaged file was met in this run, and set aside.',
  codes: ['MESH_IDENTITY_DAMAGED', 'MESH_STORAGE_DAMAGED'],
  find: (p) => [
    setAside('MESH_IDENTITY_DAMAGED', p.identity.setAside),
    ...p.configuration.damage,
    setAside('MESH_STORAGE_DAMAGED', p.spool.setAside, p.spool.damage),
  ],
}

function spoolProblem({ spool: { error } }: StatusParts): MeshError | undefined {
  return (
    error &&
    new MeshError(error.code, `the spool could not write, and nothing is acknowledged until it can: ${error.message}`, {
      cause: error,
    })
  )
}

/** SQLite keeps using a file that was deleted, whose content is gone with the process. */
function stateProblem({ config, configuration, hasFile }: StatusParts): MeshError | undefined {
  // A folder that cannot be read is reported by disk-low, with the system's error.
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

function setAside(
  code: 'MESH_IDENTITY_DAMAGED' | 'MESH_STORAGE_DAMAGED',
  file: string | undefined,
  damage?: string,
): MeshError | undefined {
  if (file === undefined) return damage === undefined ? undefined : new MeshError(code, damage)
  const found = `a damaged file was found at start and is now ${file}`
  return new MeshError(code, damage === undefined ? found : `${damage}; ${found}`)
}
