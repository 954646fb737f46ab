/** What the hub serves, from folder to devices: revisions, who is to have which, and rollouts that go on by themselves. */
import { randomUUID } from 'node:crypto'
import type { Clock } from '../../core/os/clock.ts'
import type { Log } from '../../core/log.ts'
import type { Metrics } from '../../core/metrics.ts'
import type { HubConfig } from '../config.ts'
import type { OpenRegistry } from '../registry/registry.ts'
import { RolloutDriver } from '../rollout/driver.ts'
import type { HubOfFolder } from '../rollout/folder-order.ts'
import { FolderPolicy } from '../rollout/folder-policy.ts'
import { ResourcesFolder } from './folder.ts'
import { LiveRevisions } from './live-revisions.ts'
import type { Source } from './resources.ts'
import { RevisionSource } from './revision-source.ts'

export type ConfigurationParts = {
  readonly registry: OpenRegistry
  readonly clock: Clock
  readonly log: Log
  readonly metrics: Metrics
  /** As the policy of the folder has it. */
  readonly hub?: HubOfFolder | undefined
}

/**
 * Resolves once what stands in the folder has been taken, or told to be wrong. Rejects with MESH_CONFIG_INVALID when
 * there is no folder.
 */
export async function startConfiguration(
  config: Pick<HubConfig, 'resources' | 'rollout'>,
  parts: ConfigurationParts,
): Promise<AsyncDisposable & { readonly source: Source }> {
  await using building = new AsyncDisposableStack()
  const live = new LiveRevisions(parts)
  const source = building.use(await RevisionSource.open({ ...parts, live }))
  const shared = { ...parts, live, holder: randomUUID(), decided: () => source.refresh() }
  const policy = building.use(new FolderPolicy({ ...shared, folder: config.resources, policy: config.rollout }))
  building.use(
    await ResourcesFolder.open({
      folder: config.resources,
      clock: parts.clock,
      onFound: (found) => policy.found(found),
    }),
  )
  await policy.settled
  building.use(new RolloutDriver(shared))
  const owned = building.move()
  return { source, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}
