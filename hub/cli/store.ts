/** `meshlet-hub store migrate`: the registry moves from its file into a PostgreSQL. */
import fs from 'node:fs'
import path from 'node:path'
import { MeshError } from '../../core/errors.ts'
import { silentLog } from '../../core/log.ts'
import { asOwner } from '../../core/os/as-owner.ts'
import type { ExitCode } from '../../core/cli/exit.ts'
import { findRegistryFile, MIGRATED_FILE, openStore, REGISTRY_FILE } from '../open-state.ts'
import { checkEmpty, takeOver } from '../registry/archive/take-over.ts'
import { describeUrl } from '../registry/postgres/settings.ts'
import { Registry } from '../registry/registry.ts'
import { holdRunning, isRunning } from '../registry/running.ts'
import { hubConfigSchema } from '../config.ts'
import { loadNativeBinding, noteByOperator, readConfig, systemWorld, withState } from './open.ts'
import type { Io } from './io.ts'

export type MigrateOptions = { readonly config: string; readonly to: string; readonly passwordFile?: string }

/**
 * Rejects with MESH_STATE_IN_USE while a hub runs, MESH_CONFIG_INVALID for a database that has a registry already, or a
 * hub.yaml that names one; then nothing has changed.
 */
export async function migrateStore(o: MigrateOptions, io: Io): Promise<ExitCode> {
  const { to: url, passwordFile } = o
  const store = hubConfigSchema.shape.store
    .unwrap()
    .parse({ url, ...(passwordFile === undefined ? {} : { passwordFile }) })
  const config = readConfig(o)
  if (config.store)
    throw new MeshError('MESH_CONFIG_INVALID', 'hub.yaml has a store: the registry is in PostgreSQL already')
  const { state } = config
  const nativeBinding = loadNativeBinding(config)
  if (asOwner(state, () => isRunning(state, nativeBinding)) === true)
    throw new MeshError('MESH_STATE_IN_USE', `a hub runs on ${state}; stop it first`)
  using _held = asOwner(state, () => holdRunning(state, nativeBinding))
  const rows = await withState(o, async ({ registry }) => {
    await using target = await openStore(
      { state, store, registryFile: undefined },
      { ...systemWorld, log: silentLog },
      undefined,
    )
    const counts = await registry.store.transaction((from) =>
      target.store.transaction(async (tx) => {
        await checkEmpty(tx)
        const copied = await takeOver(from, tx)
        const detail = `${sum(copied)} rows from ${REGISTRY_FILE} to ${describeUrl(url)}`
        await noteByOperator(new Registry(tx), io, { event: 'store.migrated', subject: describeUrl(url), detail })
        return copied
      }),
    )
    return sum(counts)
  })
  // A hub that is started with the hub.yaml of before must not begin an empty registry, or go on with an old one.
  asOwner(state, () => fs.renameSync(findRegistryFile(config), path.join(state, MIGRATED_FILE)))
  io.out(
    `migrated: ${rows} rows, counted on both sides; put "store: {url: …}" into hub.yaml of every hub, and start them. ${MIGRATED_FILE} of the state folder is what was there; remove it when all is well\n`,
  )
  return 0
}

const sum = (counts: ReadonlyMap<string, number>): number => [...counts.values()].reduce((all, n) => all + n, 0)
