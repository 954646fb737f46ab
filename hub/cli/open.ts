/** What every command that needs the hub's state does first. */
import os from 'node:os'
import { bundle } from '../../core/runtime/bundle.ts'
import { systemClock, systemRandom } from '../../core/os/clock.ts'
import { systemDisk } from '../../core/os/disk.ts'
import { describeAddon, loadAddon } from '../../core/storage/sqlite-addon.ts'
import type { Ca } from '../ca/ca.ts'
import { readHubConfig, withStore, type HubConfig } from '../config.ts'
import { openSharedCa, openState, type HubWorld } from '../open-state.ts'
import type { AuditEvent } from '../registry/audit.ts'
import type { OpenRegistry, Registry } from '../registry/registry.ts'
import type { Tokens } from '../tokens.ts'
import type { Io } from './io.ts'

export const systemWorld: HubWorld = { clock: systemClock, random: systemRandom, disk: systemDisk }

/** Throws MESH_STATE_UNUSABLE, MESH_STORAGE_FULL, MESH_STORAGE_FAILED. */
export const loadNativeBinding = (config: HubConfig): object | undefined =>
  bundle && loadAddon(describeAddon(bundle), [config.state]).binding

export type State = {
  readonly config: HubConfig
  readonly registry: OpenRegistry
  readonly tokens: Tokens
  readonly caFolder: string
}

/** What every command has on its line: hub.yaml, and where the registry is if that says otherwise. */
export type ConfigOptions = { readonly config: string; readonly store?: string | undefined }

/** Throws MESH_CONFIG_INVALID. */
export function readConfig({ config: file, store }: ConfigOptions): HubConfig {
  const config = readHubConfig(file, systemDisk)
  return store === undefined ? config : withStore(config, store)
}

/** Reads hub.yaml and opens the registry for one command, beside a hub that may be running. */
export async function withState<T>(o: ConfigOptions, work: (state: State) => Promise<T>): Promise<T> {
  const config = readConfig(o)
  const { registry, tokens, caFolder } = await openState(config, systemWorld, loadNativeBinding(config))
  await using opened = registry
  return await work({ config, registry: opened, tokens, caFolder })
}

/** As `withState`, where all is done or nothing. */
export function runTransaction<T>(o: ConfigOptions, work: (tx: Registry) => Promise<T>): Promise<T> {
  return withState(o, ({ registry }) => registry.exclusively(work))
}

/** Makes the CA where there is none yet, as the hub's first start does. */
export function openStoredCa({ config, registry, caFolder }: State): Promise<Ca> {
  const { trustDomain } = config
  return registry.exclusively((tx) => openSharedCa(tx, config, { ...systemWorld, folder: caFolder, trustDomain }))
}

/** Who types, as the audit log names them. */
export const nameOperator = (io: Pick<Io, 'operator'>): string => `operator:${io.operator ?? os.userInfo().username}`

/** Writes down what whoever types commands has done. @param registry in the transaction that it is done in */
export async function noteByOperator(
  registry: Registry,
  io: Pick<Io, 'operator'>,
  done: { readonly event: AuditEvent; readonly subject: string; readonly detail: string; readonly namespace?: string },
): Promise<void> {
  await registry.audit.add({ ...done, atMs: systemClock.wallMs(), actor: nameOperator(io), address: '' })
}
