/** What every command that needs the hub's state does first. */
import os from 'node:os'
import { bundle } from '../../core/runtime/bundle.ts'
import { asOwner } from '../../core/os/as-owner.ts'
import { systemClock, systemRandom } from '../../core/os/clock.ts'
import { systemDisk } from '../../core/os/disk.ts'
import { describeAddon, loadAddon } from '../../core/storage/sqlite-addon.ts'
import { openCa, type Ca } from '../ca/ca.ts'
import { readHubConfig, type HubConfig } from '../config.ts'
import { openState, type HubWorld } from '../hub.ts'
import type { AuditEvent } from '../registry/audit.ts'
import type { Registry } from '../registry/registry.ts'
import type { Tokens } from '../tokens.ts'
import type { Io } from './io.ts'

export const systemWorld: HubWorld = { clock: systemClock, random: systemRandom, disk: systemDisk }

/** Throws MESH_STATE_UNUSABLE, MESH_STORAGE_FULL, MESH_STORAGE_FAILED. */
export const loadNativeBinding = (config: HubConfig): object | undefined =>
  bundle && loadAddon(describeAddon(bundle), [config.state]).binding

export type State = {
  readonly config: HubConfig
  readonly registry: Registry
  readonly tokens: Tokens
  readonly caFolder: string
}

/** Reads hub.yaml and opens the registry for one command, beside a hub that may be running. */
export function withState<T>(file: string, work: (state: State) => T): T {
  const config = readHubConfig(file, systemDisk)
  const { registry, tokens, caFolder } = openState(config, systemWorld, loadNativeBinding(config))
  try {
    return work({ config, registry, tokens, caFolder })
  } finally {
    registry[Symbol.dispose]()
  }
}

/** Makes the CA where there is none yet, as the hub's first start does. */
export function openStoredCa({ config, registry, caFolder }: State): Ca {
  const { trustDomain } = config
  return asOwner(config.state, () =>
    registry.exclusively(() => openCa({ ...systemWorld, folder: caFolder, trustDomain })),
  )
}

/** Writes down what whoever types commands has done. */
export function noteByOperator(
  { registry }: Pick<State, 'registry'>,
  io: Pick<Io, 'operator'>,
  done: { readonly event: AuditEvent; readonly subject: string; readonly detail: string },
): void {
  const actor = `operator:${io.operator ?? os.userInfo().username}`
  registry.audit.add({ ...done, atMs: systemClock.wallMs(), actor, address: '' })
}
