/** Where the configuration comes from: a control plane with the last good snapshot beneath it, or a folder. */
import path from 'node:path'
import zlib from 'node:zlib'
import { GrpcTransport } from '../control-sync/ads/grpc-stream.ts'
import { Applier } from '../control-sync/apply.ts'
import { startDirectorySync } from '../control-sync/directory/sync.ts'
import { hasWorkloadEntry } from '../control-sync/ads/node.ts'
import { SnapshotSaver } from '../control-sync/snapshot/saver.ts'
import { openSnapshotStore } from '../control-sync/snapshot/store.ts'
import { startSync, type ControlLinkStatus, type Sync } from '../control-sync/sync.ts'
import type { AgentConfig } from './config/schema.ts'
import { controlLink, readControlPlane } from './control-sync-settings.ts'
import type { Timer } from '../core/os/clock.ts'
import type { Current } from '../core/current.ts'
import { MeshError } from '../core/errors.ts'
import { detached } from '../core/defects/guard.ts'
import type { Log } from '../core/log.ts'
import type { Metrics } from '../core/metrics.ts'
import type { NamedFiles } from '../core/os/named-files.ts'
import type { World } from '../core/world.ts'
import type { AgentIdentity } from './identity.ts'
import { sealerFrom } from './identity.ts'
import type { Listener } from '../model/listener.ts'
import type { WorkloadHealth } from '../model/readiness-probe.ts'
import type { Tables } from '../model/tables.ts'
import type { OwnNode } from './own-node.ts'
import type { Readiness } from './readiness.ts'

/**
 * Who has a configuration serves first: loading gRPC takes as long as the rest of the start. Devices that boot together
 * come spread.
 */
const CONNECT_AFTER_MS = 200

export type Configuration = AsyncDisposable & {
  readonly applier: Applier
  /** Opens the way to the control plane; a folder is open from the start. */
  connect(): void
  link(): ControlLinkStatus
  /** Of what is stored: what was found at start, and later. */
  readonly damage: readonly MeshError[]
  /** A control plane knows agents by their certificate. */
  readonly needsIdentity: boolean
  /** What in files of the folder cannot be used; its last good content serves on. */
  folderProblems(): readonly MeshError[]
}
export type ConfigurationOptions = {
  readonly config: AgentConfig
  readonly world: World
  readonly metrics: Metrics
  readonly log: Log
  readonly tables: Current<Tables>
  readonly identity: AgentIdentity
  readonly node: OwnNode
  /** Whose the stored snapshot is. */
  readonly owner: string
  readonly own: readonly Listener[]
  readonly readiness: Readiness
  /** Told to a control plane that keeps a WorkloadEntry for this node. */
  readonly health: Current<WorkloadHealth> | undefined
  /** Of this machine, that the control plane may name. */
  readonly files: NamedFiles
  /** Of the program. */
  readonly version: string
}

/** Resolves when what is on disk is in force. Rejects with MESH_STORAGE_NEWER or MESH_STORAGE_FAILED. */
export async function startConfiguration(o: ConfigurationOptions): Promise<Configuration> {
  return o.config.directory === undefined ? fromControlPlane(o) : fromDirectory(o, o.config.directory)
}

async function fromControlPlane({
  config,
  world,
  metrics,
  log,
  tables,
  identity,
  node,
  owner,
  own,
  readiness,
  health,
  files,
  version,
}: ConfigurationOptions): Promise<Configuration> {
  const { clock, random, disk } = world
  const { control } = config
  if (!control) throw new MeshError('MESH_CONFIG_INVALID', 'one of `control` or `directory` is needed')
  let sync: Sync | undefined
  const { store, stored } = await openSnapshotStore({
    openStorage: world.openStorage,
    path: path.join(config.state, 'snapshot.db'),
    node: owner,
    sealer: sealerFrom(config, disk),
    log,
    metrics,
  })
  const saver = new SnapshotSaver({
    node: owner,
    store,
    copyIntervalMs: control.snapshotCopyIntervalMs,
    contactWithinMs: contactWithin(control.authorizationMaxAgeMs),
    clock,
    log,
    metrics,
  })
  const decodedBy = zlib.crc32(JSON.stringify([version, control.tlsFileFolders])).toString(36)
  const authorization = { maxAgeMs: control.authorizationMaxAgeMs, isConnected: () => sync?.link.state === 'connected' }
  const applier = new Applier({ node: owner, tables, saver, clock, log, metrics, authorization, files, decodedBy })
  const latch = readiness.hold('a configuration')
  const hasStored = stored !== undefined
  if (stored) {
    applier.restore(stored)
    latch[Symbol.dispose]()
  }
  const transport = new GrpcTransport({
    control: readControlPlane(control, config.node.clusterId, disk, {
      ...controlLink({ config, world, log, metrics }),
      certificateClock: identity.certificateClock,
    }),
    get node() {
      return node.description
    },
    hasAddress: () => node.address !== undefined,
    identity,
    clock,
    protocol: control.protocol,
    compression: control.compression,
    onCertificateRefused: () => identity.certificateRefused(),
  })
  let later: Timer | undefined
  const within = contactWithin(control.authorizationMaxAgeMs)
  // A run that ends without notice must not seem to have been without a control plane since the last push.
  const contacts =
    within === undefined
      ? undefined
      : clock.after(within, () => {
          if (sync?.link.state === 'connected') {
            applier.contact()
            detached('storage', saver.keepContact())
          }
          contacts?.refresh()
        })
  const waiting: ControlLinkStatus = {
    mode: 'control plane',
    address: transport.address,
    state: 'connecting',
    sinceMs: clock.monotonicMs(),
    lastContactMs: undefined,
    error: undefined,
  }
  return {
    applier,
    get damage() {
      return store.damage
    },
    needsIdentity: true,
    folderProblems: () => [],
    link: () => sync?.link ?? waiting,
    connect() {
      const start = (): void => {
        sync = startSync({
          ...control,
          transport,
          onProof: (fn) => identity.watch(fn),
          onNode: (fn) => node.watch(fn),
          applier,
          clock,
          random,
          log,
          metrics,
          ownRoutes: ownRoutes(own),
          names: config.dns !== undefined,
          health: hasWorkloadEntry(node.description) ? health : undefined,
        })
        detached(
          'configuration',
          sync.synced.then(() => latch[Symbol.dispose]()),
        )
      }
      if (hasStored) later = clock.after(CONNECT_AFTER_MS * (0.5 + random.float()), start)
      else start()
    },
    async [Symbol.asyncDispose]() {
      later?.cancel()
      contacts?.cancel()
      if (sync?.link.state === 'connected') applier.contact()
      await sync?.[Symbol.asyncDispose]()
      applier[Symbol.dispose]()
      await saver[Symbol.asyncDispose]()
      await store[Symbol.asyncDispose]()
    },
  }
}

async function fromDirectory(
  { config, world, metrics, log, tables, owner, readiness }: ConfigurationOptions,
  folder: string,
): Promise<Configuration> {
  const { clock, disk } = world
  const applier = new Applier({
    node: owner,
    tables,
    saver: undefined,
    clock,
    log,
    metrics,
    readFile: (file) => disk.read(file)?.toString('utf8'),
  })
  const latch = readiness.hold('a configuration')
  const sync = startDirectorySync({ folder, node: config.node.name, applier, clock, log })
  const synced = sync.synced.then(() => latch[Symbol.dispose]())
  // The ports open with what is there; a folder that is not there yet is not waited for.
  await sync.begun
  if (sync.isMissing) detached('configuration', synced)
  else await synced
  return {
    applier,
    damage: [],
    needsIdentity: false,
    folderProblems: () => sync.problems,
    link: () => sync.link,
    connect: () => {
      /* watched from the start */
    },
    [Symbol.asyncDispose]: () => sync[Symbol.asyncDispose](),
  }
}

/**
 * How old the stored time of the last contact may be where something depends on it; undefined: nothing does. Not so
 * often that flash wears.
 */
const contactWithin = (maxAgeMs: number): number | undefined =>
  maxAgeMs === 0 ? undefined : Math.min(3_600_000, Math.max(60_000, maxAgeMs / 4))

/** Route tables that agent.yaml's own listeners name. */
function ownRoutes(own: readonly Listener[]): Set<string> {
  const names = new Set<string>()
  for (const { defaultFilterChain: chain } of own)
    if (chain?.codec.kind === 'http' && chain.codec.http.routes.from === 'rds') names.add(chain.codec.http.routes.name)
  return names
}
