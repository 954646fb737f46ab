/** A control plane as the source of configuration, with the last good snapshot beneath it. */
import path from 'node:path'
import zlib from 'node:zlib'
import { GrpcTransport } from '../../control-sync/ads/grpc-stream.ts'
import type { AdsTransport } from '../../control-sync/ads/transport.ts'
import { hasWorkloadEntry } from '../../control-sync/ads/node.ts'
import { Applier } from '../../control-sync/apply.ts'
import { SnapshotSaver } from '../../control-sync/snapshot/saver.ts'
import { openSnapshotStore, type SnapshotStore } from '../../control-sync/snapshot/store.ts'
import type { StoredSnapshot } from '../../control-sync/snapshot/types.ts'
import { startSync, type ControlLinkStatus, type StreamSync } from '../../control-sync/sync.ts'
import { detach } from '../../core/defects/guard.ts'
import { MeshError } from '../../core/errors.ts'
import type { Timer } from '../../core/os/clock.ts'
import { isHubAddress } from '../../control-sync/fleet/hub-address.ts'
import {
  refuseStream,
  RelayLink,
  type LinkQuality,
  type RelayLinkOptions,
} from '../../control-sync/fleet/relay-link.ts'
import { RelayTransport } from '../../control-sync/fleet/relay-transport.ts'
import { HubRequests, type HubPermissions, type HubRequestsOptions } from '../../control-sync/fleet/hub-requests.ts'
import { Reporter } from '../../control-sync/fleet/reporter.ts'
import type { ControlPlane } from '../../control-sync/connection/control-plane.ts'
import { RevisionInForce, type Revision } from '../../control-sync/revision-in-force.ts'
import type { Report } from '../../model/fleet/report.ts'
import type { AgentConfig } from '../config/schema.ts'
import type { Configuration, ConfigurationOptions, PermittedByControl } from './configuration.ts'
import { createControlLink, readControlPlane, readSealer } from '../control-sync-settings.ts'

/**
 * With a stored configuration the agent serves first: loading gRPC takes as long as the rest of the start. Devices that
 * boot together connect spread over this time.
 */
const CONNECT_AFTER_MS = 200

export async function openControlPlane(o: ConfigurationOptions): Promise<Configuration> {
  const { config, world, metrics, log, owner } = o
  const { control } = config
  if (!control) throw new MeshError('MESH_CONFIG_INVALID', 'one of `control` or `directory` is needed')
  const { store, stored } = await openSnapshotStore({
    openStorage: world.openStorage,
    path: path.join(config.state, 'snapshot.db'),
    node: owner,
    sealer: readSealer(config, world.disk),
    log,
    metrics,
  })
  return new ControlPlaneConfiguration(o, control, store, stored)
}

const NOTHING_ATTACHED: Disposable = {
  [Symbol.dispose]() {
    /* no reports go over it */
  },
}
type Control = NonNullable<AgentConfig['control']>

class ControlPlaneConfiguration implements Configuration {
  readonly needsIdentity = true
  readonly applier: Applier
  readonly #o: ConfigurationOptions
  readonly #control: Control
  readonly #store: SnapshotStore
  readonly #saver: SnapshotSaver
  readonly #transport: AdsTransport
  /** Of a hub's relay. */
  readonly #relay: RelayLink | undefined
  readonly #revision: RevisionInForce
  #reporter: Reporter | undefined
  #requests: HubRequests | undefined
  /** Held until there is a configuration, stored or pushed. */
  readonly #latch: Disposable
  readonly #hasStored: boolean
  /** Before there is a stream. */
  readonly #waiting: ControlLinkStatus
  readonly #contacts: Timer | undefined
  #later: Timer | undefined
  #sync: StreamSync | undefined
  #watch: Disposable | undefined
  readonly #plane: ControlPlane

  constructor(o: ConfigurationOptions, control: Control, store: SnapshotStore, stored: StoredSnapshot | undefined) {
    const { clock } = o.world
    this.#o = o
    this.#control = control
    this.#store = store
    this.#saver = createSaver(o, control, store)
    this.applier = this.#createApplier()
    this.#latch = o.readiness.hold('a configuration')
    this.#hasStored = stored !== undefined
    if (stored) {
      this.applier.restore(stored)
      this.#latch[Symbol.dispose]()
    }
    this.#revision = new RevisionInForce(this.applier)
    this.#plane = createPlane(o, control)
    this.#relay = control.address.every(isHubAddress) ? this.#createRelay() : undefined
    this.#transport = this.#createTransport()
    this.#contacts = this.#keepContact()
    this.#waiting = {
      mode: 'control plane',
      address: this.#transport.address,
      state: 'connecting',
      sinceMs: clock.monotonicMs(),
      lastContactMs: undefined,
      error: undefined,
    }
  }

  get damage(): readonly MeshError[] {
    return this.#store.damage
  }
  folderProblems(): readonly MeshError[] {
    return []
  }
  link(): ControlLinkStatus {
    return this.#sync?.link ?? this.#waiting
  }

  quality(): LinkQuality | undefined {
    return this.#relay?.quality
  }
  startReports(collect: (revision: Revision) => Report): void {
    const { world, log, tables } = this.#o
    const { reportMs: intervalMs } = this.#control
    if (!this.#relay || intervalMs === 0) return
    const { bytes } = this.#plane
    const all = (): Report => collect(this.#revision.read())
    this.#reporter = new Reporter({ ...world, log, intervalMs, bytes, collect: all })
    this.#watch = tables.watch(() => this.#reporter?.changed())
  }

  answerHub(run: HubRequestsOptions['run']): void {
    const { world, log } = this.#o
    const dial: HubRequestsOptions['dial'] = async (to, signal) => (await world.network.dial(to, signal)).stream
    const permitted = readPermissions(this.#control)
    const { bytes } = this.#plane
    this.#requests = new HubRequests({ clock: world.clock, log, permitted, run, dial, bytes })
  }
  permitHub(control: PermittedByControl): void {
    this.#requests?.permit(readPermissions(control))
  }
  reconnect(): void {
    if (this.#relay) this.#relay.reconnect()
    else this.#sync?.reopen('another way to the control plane is to be taken')
  }

  connect(): void {
    const { world, bootSpread } = this.#o
    if (!this.#hasStored) {
      this.#start()
      return
    }
    const waitMs = Math.max(bootSpread.drawWaitMs(), CONNECT_AFTER_MS * (0.5 + world.random.float()))
    this.#later = world.clock.after(waitMs, () => this.#start())
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#later?.cancel()
    this.#contacts?.cancel()
    this.#watch?.[Symbol.dispose]()
    if (this.#isConnected) this.applier.contact()
    await this.#sync?.[Symbol.asyncDispose]()
    this.applier[Symbol.dispose]()
    await this.#saver[Symbol.asyncDispose]()
    await this.#store[Symbol.asyncDispose]()
  }

  get #isConnected(): boolean {
    return this.#sync?.link.state === 'connected'
  }

  #createApplier(): Applier {
    const { config, owner, tables, world, log, metrics, files, version } = this.#o
    const { authorizationMaxAgeMs: maxAgeMs, tlsFileFolders } = this.#control
    return new Applier({
      node: owner,
      tables,
      saver: this.#saver,
      clock: world.clock,
      log,
      metrics,
      authorization: { maxAgeMs, isConnected: () => this.#isConnected },
      files,
      gateway: config.node.type === 'router',
      decodedBy: zlib
        .crc32(JSON.stringify([version, tlsFileFolders, config.node.type, config.telemetry.accessLogs.folders]))
        .toString(36),
    })
  }

  #createRelay(): RelayLink {
    const { world, identity, metrics } = this.#o
    const onStream: RelayLinkOptions['onStream'] = (stream, head) => {
      if (!this.#requests) refuseStream(stream)
      this.#requests.accept(stream, head)
    }
    identity.relay?.answer(onStream)
    const own = { control: this.#plane, identity: () => identity.current(), clock: world.clock, onStream }
    const relay = identity.relay ?? new RelayLink(own)
    metrics.beforeReading(() => relay.readWire())
    return relay
  }

  #createTransport(): AdsTransport {
    const { world, identity, node } = this.#o
    const { protocol, compression } = this.#control
    const control = this.#plane
    const onCertificateRefused = (): void => identity.certificateRefused()
    if (this.#relay)
      return new RelayTransport({
        link: this.#relay,
        control,
        get node() {
          return node.description
        },
        stored: (kind, name) => this.applier.snapshot.resources[kind].get(name),
        onCertificateRefused,
        attach: (connection) => this.#reporter?.attach(connection) ?? NOTHING_ATTACHED,
      })
    return new GrpcTransport({
      control,
      get node() {
        return node.description
      },
      hasAddress: () => node.address !== undefined,
      identity,
      clock: world.clock,
      protocol,
      compression,
      onCertificateRefused,
    })
  }

  #start(): void {
    const { world, config, identity, node, ownRoutes, health, log, metrics } = this.#o
    this.#sync = startSync({
      ...this.#control,
      transport: this.#transport,
      onProof: (fn) => identity.watch(fn),
      onNode: (fn) => node.watch(fn),
      applier: this.applier,
      clock: world.clock,
      random: world.random,
      log,
      metrics,
      ownRoutes,
      names: config.dns !== undefined,
      revision: this.#revision,
      health: hasWorkloadEntry(node.description) ? health : undefined,
    })
    detach(
      'configuration',
      this.#sync.synced.then(() => this.#latch[Symbol.dispose]()),
    )
  }

  /** After a crash the control plane must not seem to have been away since the last push. */
  #keepContact(): Timer | undefined {
    const withinMs = contactWithin(this.#control.authorizationMaxAgeMs)
    if (withinMs === undefined) return undefined
    const timer = this.#o.world.clock.after(withinMs, () => {
      if (this.#isConnected) {
        this.applier.contact()
        detach('storage', this.#saver.keepContact())
      }
      timer.refresh()
    })
    return timer
  }
}

function createSaver(o: ConfigurationOptions, control: Control, store: SnapshotStore): SnapshotSaver {
  return new SnapshotSaver({
    node: o.owner,
    store,
    copyIntervalMs: control.snapshotCopyIntervalMs,
    contactWithinMs: contactWithin(control.authorizationMaxAgeMs),
    clock: o.world.clock,
    log: o.log,
    metrics: o.metrics,
  })
}

function createPlane(
  { config, world, log, metrics, identity, findProxy }: ConfigurationOptions,
  control: Control,
): ControlPlane {
  return readControlPlane(control, config.node.clusterId, world.disk, {
    ...createControlLink({ config, world, log, metrics, findProxy }),
    certificateClock: identity.certificateClock,
  })
}

/**
 * How old the stored time of the last contact may become; undefined when nothing depends on it. Long enough to spare
 * flash.
 */
const contactWithin = (maxAgeMs: number): number | undefined =>
  maxAgeMs === 0 ? undefined : Math.min(3_600_000, Math.max(60_000, maxAgeMs / 4))

const readPermissions = ({ commands, connect }: PermittedByControl): HubPermissions => ({
  commands,
  ports: connect.ports,
})
