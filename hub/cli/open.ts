/** What every command that needs the hub's state does first. */
import { bundle } from '../../core/runtime/bundle.ts'
import { systemClock, systemRandom } from '../../core/os/clock.ts'
import { systemDisk } from '../../core/os/disk.ts'
import { describeAddon, loadAddon } from '../../core/storage/sqlite-addon.ts'
import { readHubConfig, type HubConfig } from '../config.ts'
import { openState, type HubWorld } from '../hub.ts'
import type { Registry } from '../registry/registry.ts'
import type { Tokens } from '../tokens.ts'

export const systemWorld: HubWorld = { clock: systemClock, random: systemRandom, disk: systemDisk }

/** Throws MESH_STATE_UNUSABLE, MESH_STORAGE_FULL, MESH_STORAGE_FAILED. */
export const loadNativeBinding = (config: HubConfig): object | undefined =>
  bundle && loadAddon(describeAddon(bundle), [config.state]).binding

/** Reads hub.yaml and opens the registry for one command, beside a hub that may be running. */
export function withState<T>(
  file: string,
  work: (state: {
    readonly config: HubConfig
    readonly registry: Registry
    readonly tokens: Tokens
    readonly caFolder: string
  }) => T,
): T {
  const config = readHubConfig(file, systemDisk)
  const { registry, tokens, caFolder } = openState(config, systemWorld, loadNativeBinding(config))
  try {
    return work({ config, registry, tokens, caFolder })
  } finally {
    registry[Symbol.dispose]()
  }
}
