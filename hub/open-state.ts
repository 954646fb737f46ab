/** What the running hub and the commands beside it open: registry, token key, CA. */
import { createPublicKey, randomUUID, type KeyObject } from 'node:crypto'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { asOwner } from '../core/os/as-owner.ts'
import type { Clock, Random } from '../core/os/clock.ts'
import type { Disk } from '../core/os/disk.ts'
import { MeshError } from '../core/errors.ts'
import { silentLog, type Log } from '../core/log.ts'
import { secureFolder } from '../core/os/state-folder.ts'
import { openCa, type Ca, type OpenCa } from './ca/ca.ts'
import { readRoots } from './ca/root-files.ts'
import { hashPublicKey, listKeyHashes } from './ca/key-hash.ts'
import type { HubConfig } from './config.ts'
import type { PostgresWorld } from './registry/postgres/postgres.ts'
import { openRegistry, OpenRegistry, type Registry } from './registry/registry.ts'
import type { HubOfFolder } from './rollout/folder-order.ts'
import { openTokenKey, TOKEN_KEY_FILE, Tokens } from './tokens.ts'

export type HubWorld = { readonly clock: Clock; readonly random: Random; readonly disk: Disk }

/**
 * The state that `run` and the other commands share: token key and registry. Rejects with MESH_STATE_UNUSABLE,
 * MESH_STORAGE_FAILED, MESH_STORAGE_NEWER.
 */
export async function openState(
  config: HubConfig,
  world: HubWorld,
  nativeBinding: object | undefined,
  log: Log = silentLog,
): Promise<{ registry: OpenRegistry; tokens: Tokens; caFolder: string; hub: HubOfFolder | undefined }> {
  try {
    world.disk.makeFolder(config.state, 0o700)
  } catch (cause) {
    throw new MeshError('MESH_STATE_UNUSABLE', `${config.state} cannot be made`, { cause })
  }
  secureFolder(config.state, 'owner or root')
  const caFolder = path.join(config.state, 'ca')
  const registry = await openStore(config, { ...world, log }, nativeBinding)
  try {
    // Two processes that start at once must not make two keys.
    const key = await registry.exclusively((tx) => openSharedTokenKey(tx, config.state, caFolder, world.disk))
    return {
      registry,
      tokens: new Tokens({ key, registry, clock: world.clock, trustDomain: config.trustDomain }),
      caFolder,
      hub: readHubId(config, world.disk),
    }
  } catch (err) {
    await registry[Symbol.asyncDispose]()
    throw err
  }
}

export const REGISTRY_FILE = 'registry.db'
export const findRegistryFile = ({ state, registryFile }: Pick<HubConfig, 'state' | 'registryFile'>): string =>
  registryFile ?? path.join(state, REGISTRY_FILE)
/** What `store migrate` leaves of it. */
export const MIGRATED_FILE = 'registry.db.migrated'

/** Rejects with MESH_CONFIG_INVALID, MESH_STORAGE_FAILED, MESH_STORAGE_FULL, MESH_STORAGE_NEWER. */
export async function openStore(
  config: Pick<HubConfig, 'state' | 'store' | 'registryFile'>,
  world: PostgresWorld,
  nativeBinding: object | undefined,
): Promise<OpenRegistry> {
  const { state, store } = config
  if (!store) {
    const file = findRegistryFile(config)
    return asOwner(state, () => {
      if (
        file === path.join(state, REGISTRY_FILE) &&
        !fs.existsSync(file) &&
        fs.existsSync(path.join(state, MIGRATED_FILE))
      )
        throw new MeshError(
          'MESH_CONFIG_INVALID',
          `the registry of ${state} was moved to PostgreSQL: hub.yaml needs its store; ${MIGRATED_FILE} is what was there`,
        )
      secureFile(file)
      return openRegistry(file, nativeBinding)
    })
  }
  const { openPostgres } = await import('./registry/postgres/postgres.ts')
  return new OpenRegistry(await openPostgres(store, world))
}

const HUB_ID_FILE = 'hub-id'

/** Undefined: there is no other hub. Throws the OS error when the name of this one cannot be kept. */
export function readHubId({ state, store }: Pick<HubConfig, 'state' | 'store'>, disk: Disk): HubOfFolder | undefined {
  if (!store) return undefined
  const file = path.join(state, HUB_ID_FILE)
  return asOwner(state, () => {
    const known = disk.read(file)?.toString('utf8').trim()
    const id = known !== undefined && HUB_ID.test(known) ? known : randomUUID()
    if (id !== known) disk.replace(file, `${id}\n`, 0o600)
    return { id, host: os.hostname() }
  })
}
const HUB_ID = /^[0-9a-f-]{36}$/

/** It may lie where others can look. What SQLite makes beside it has its mode. */
function secureFile(file: string): void {
  try {
    fs.closeSync(fs.openSync(file, 'a', 0o600))
    fs.chmodSync(file, 0o600)
  } catch (cause) {
    throw new MeshError('MESH_STATE_UNUSABLE', `the registry ${file} cannot be opened`, { cause })
  }
}

/** The keys of another hub on the registry are the only ones that are taken: a second set is never made. */
async function openSharedTokenKey(tx: Registry, state: string, caFolder: string, disk: Disk): Promise<KeyObject> {
  const known = await tx.authority('token-key')
  if (known.length > 0 && !asOwner(state, () => disk.read(path.join(caFolder, TOKEN_KEY_FILE))))
    throw new MeshError(
      'MESH_CA_DAMAGED',
      `the registry has a hub already, and ${caFolder} has no keys: copy the folder ca of the state of that hub, or restore a backup`,
    )
  const key = asOwner(state, () => openTokenKey(caFolder, disk))
  await tx.recordAuthority('token-key', [hashPublicKey(createPublicKey(key))], { decides: true })
  return key
}

/** As the token's key. Roots rotate: one that was trusted before is enough. */
export async function openSharedCa(
  tx: Registry,
  { state, store }: Pick<HubConfig, 'state' | 'store'>,
  p: OpenCa,
): Promise<Ca> {
  const known = await tx.authority('ca')
  if (known.length > 0 && !asOwner(state, () => readRoots(p)))
    throw new MeshError(
      'MESH_CA_DAMAGED',
      `the registry has a CA, and ${p.folder} has none: copy the folder ca of the hub that has it, or restore a backup`,
    )
  const ca = asOwner(state, () => openCa(p))
  // Of several hubs the one where roots were rotated decides; the others are told when theirs are of before.
  await tx.recordAuthority('ca', listKeyHashes(ca.roots), { decides: store === undefined })
  return ca
}
