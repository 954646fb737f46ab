/** What the last run left on disk: identity, configuration and spool. From here on the tables are in force. */
import path from 'node:path'
import { deriveSnapshotOwner } from '../../control-sync/ads/node.ts'
import { collectSentTrust } from '../../control-sync/identity/sent-trust.ts'
import { runSystemCommand } from '../../core/os/command.ts'
import { Current } from '../../core/current.ts'
import type { Scope } from '../../core/scope.ts'
import type { Listener } from '../../model/listener.ts'
import { KeySets } from '../../protocols/jwks/key-sets.ts'
import type { UserDatabase } from '../../protocols/mqtt/users/user-database.ts'
import { openSpool, type Spool } from '../../protocols/mqtt/spool/spool.ts'
import { collectOwnRoutes, createListeners } from '../config/listeners.ts'
import type { Configuration, ConfigurationOptions } from '../configuration/configuration.ts'
import { openControlPlane } from '../configuration/control-plane.ts'
import { openDirectory } from '../configuration/directory.ts'
import { startIdentity, type AgentIdentity } from '../identity.ts'
import { openMqttUsers } from '../mqtt-users.ts'
import { HealthChecker } from '../workload-health/checker.ts'
import { createProbe } from '../workload-health/probe.ts'
import type { Foundation } from './foundation.ts'

export type Stored = {
  readonly identity: AgentIdentity
  readonly users: UserDatabase
  readonly keySets: KeySets
  readonly configuration: Configuration
  readonly spool: Spool
  /** Listeners of agent.yaml. */
  readonly own: Listener[]
  /** Route tables that they name. */
  readonly ownRoutes: Current<ReadonlySet<string>>
  /** Not asked yet. */
  readonly workload: HealthChecker | undefined
}

/** Rejects when something stored, or a file that agent.yaml names, cannot be used. */
export async function openStored(f: Foundation): Promise<Stored> {
  const { config, world, scope, metrics, log, tables } = f
  const identity = scope.own(startIdentity({ ...f, earliestWallMs: f.facts.builtAtMs }))
  const keySets = new KeySets({ ...f, ...world, folder: config.state })
  const users = await openMqttUsers(f, identity, keySets)
  const own = [...createListeners(config, { disk: world.disk, findPskKey: (id) => users.findKey(id) })]
  const ownRoutes = new Current(collectOwnRoutes(own))
  const workload = createHealthChecker(f)
  // One thread reads both: the tables are made while it looks at the spool.
  const [configuration, spool] = await bothOwned(
    scope,
    openConfiguration({
      ...f,
      identity,
      owner: deriveSnapshotOwner(f.settings),
      ownRoutes,
      health: workload?.health,
      version: f.facts.version,
    }),
    openSpool({
      openStorage: world.openStorage,
      path: path.join(config.state, 'spool.db'),
      policy: config.mqtt,
      clock: world.clock,
      metrics,
      log,
      freeBytes: f.freeBytes,
    }),
  )
  const takeTrust = (): void => identity.setSentTrust(collectSentTrust(configuration.applier.snapshot))
  scope.own(tables.watch(takeTrust))
  takeTrust()
  return { identity, users, keySets, configuration, spool, own, ownRoutes, workload }
}

/** Resolves when what is on disk is in force. Rejects with MESH_STORAGE_NEWER or MESH_STORAGE_FAILED. */
function openConfiguration(o: ConfigurationOptions): Promise<Configuration> {
  const { directory } = o.config
  return directory === undefined ? openControlPlane(o) : openDirectory(o, directory)
}

function createHealthChecker({ config, world, scope, metrics, log }: Foundation): HealthChecker | undefined {
  const { clock, network } = world
  const { readinessProbe: settings } = config
  if (!settings) return undefined
  const probe = createProbe(settings, { network, run: runSystemCommand })
  return scope.own(new HealthChecker({ probe, settings, clock, log, metrics }))
}

/** Where one fails, the other is closed with the scope all the same. */
async function bothOwned<A extends AsyncDisposable, B extends AsyncDisposable>(
  scope: Scope,
  a: Promise<A>,
  b: Promise<B>,
): Promise<[A, B]> {
  const [first, second] = await Promise.allSettled([a, b])
  if (first.status === 'fulfilled') scope.own(first.value)
  if (second.status === 'fulfilled') scope.own(second.value)
  return Promise.all([a, b])
}
