/** The places that an identity can come from, with what each can tell and do. */
import { formatSpiffeUri } from '../control-sync/ads/node.ts'
import { CertManager } from '../control-sync/identity/cert-manager.ts'
import { createAuthority } from '../control-sync/fleet/authority.ts'
import { isHubAddress } from '../control-sync/fleet/hub-address.ts'
import { refuseStream, RelayLink } from '../control-sync/fleet/relay-link.ts'
import type { CertificateAuthority } from '../control-sync/identity/ca-client.ts'
import { IdentityFolder } from '../control-sync/identity/folder.ts'
import { IdentityStore } from '../control-sync/identity/identity-store.ts'
import type { TimeFloor } from '../control-sync/identity/time-floor.ts'
import type { Trust } from '../control-sync/identity/trust.ts'
import { findValidityProblems } from '../control-sync/identity/validity.ts'
import { detach } from '../core/defects/guard.ts'
import type { MeshError } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import type { Metrics } from '../core/metrics.ts'
import type { World } from '../core/world.ts'
import type { Identity } from '../model/identity.ts'
import type { AgentConfig } from './config/schema.ts'
import type { ControlPlane } from '../control-sync/connection/control-plane.ts'
import { createControlLink, readControlPlane, readSealer } from './control-sync-settings.ts'
import { createHubAuthority } from './fleet/hub-device.ts'
import { createAuthorityOverRelay, createRelayDevice } from './fleet/relay-device.ts'
import type { Readiness } from './readiness.ts'

export type IdentityOptions = {
  readonly config: AgentConfig
  readonly world: World
  readonly metrics: Metrics
  readonly log: Log
  readonly earliestWallMs: number | undefined
  readonly readiness: Readiness
  readonly findProxy?: ControlPlane['findProxy']
}
/** What every source goes by. */
export type Verification = { readonly floor: TimeFloor; readonly trust: Trust }

export type Source = AsyncDisposable & {
  current(): Identity | undefined
  watch(fn: (next: Identity) => void): Disposable
  start(): void
  problems(): readonly MeshError[]
  trustChanged(): void
  certificateRefused(): void
  /** Monotonic milliseconds; undefined when somebody else renews the certificate. */
  readonly renewalAtMs: number | undefined
  /** Where a damaged identity was put at start. */
  readonly setAside: string | undefined
  /** The connection to a hub's relay, which certificates come over, too; undefined: there is none. */
  readonly relay?: RelayLink | undefined
}

/** Throws MESH_STATE_UNUSABLE, MESH_STATE_LOCKED or MESH_CONFIG_INVALID when what stands on disk cannot be used. */
export function openSource(o: IdentityOptions, v: Verification): Source {
  const { identity, control } = o.config
  if (identity.folder !== undefined) return openFolder(identity.folder, o, v)
  return control ? openManager(control, o, v) : openNothing(o, v)
}

function openFolder(path: string, { world, log, earliestWallMs, readiness }: IdentityOptions, v: Verification): Source {
  const { disk, clock } = world
  const folder = new IdentityFolder({ disk, clock, log, folder: path, earliestWallMs, ...v })
  holdUntil(folder.certified, readiness)
  return {
    current: () => folder.current(),
    watch: (fn) => folder.watch(fn),
    start: () => folder.start(),
    problems: () => folder.problems(),
    trustChanged: () => folder.trustChanged(),
    certificateRefused: doNothing,
    renewalAtMs: undefined,
    setAside: undefined,
    [Symbol.asyncDispose]: async () => folder[Symbol.dispose](),
  }
}

function openManager(control: NonNullable<AgentConfig['control']>, o: IdentityOptions, v: Verification): Source {
  const { config, world, metrics, log, earliestWallMs, readiness, findProxy } = o
  const { clock, random, disk } = world
  const store = new IdentityStore({ disk, clock, log, stateFolder: config.state, sealer: readSealer(config, disk) })
  const plane = readControlPlane(control, config.node.clusterId, disk, {
    ...createControlLink({ config, world, log, metrics, findProxy }),
    certificateClock: v.floor,
  })
  const hub = { config, disk, clock, findProxy, certificateClock: v.floor, control: plane }
  const isRelay = control.address.every(isHubAddress) && control.hub?.certificates !== 'control-plane'
  const device = isRelay ? createRelayDevice(hub) : undefined
  const current = (): Identity | undefined => manager.current()
  const relay = device && new RelayLink({ control: plane, identity: current, clock, onStream: refuseStream, device })
  const byProof = createAuthority(plane, clock, current)
  const authority = (): CertificateAuthority => {
    if (device) return createAuthorityOverRelay({ link: relay!, device }, byProof, hub)
    return control.hub ? createHubAuthority(control.hub, plane, hub) : byProof
  }
  const manager: CertManager = new CertManager({
    ...v,
    store,
    authority: authority(),
    token: () => plane.token(),
    spiffeUri: formatSpiffeUri(config.node),
    ttlSec: control.certificateTtlSec,
    key: config.identity.key,
    clock,
    random,
    log,
    metrics,
    earliestWallMs,
  })
  holdUntil(manager.certified, readiness)
  return {
    current: () => manager.current(),
    watch: (fn) => manager.watch(fn),
    start: () => manager.start(),
    problems: () => manager.problems(),
    trustChanged: () => manager.trustChanged(),
    certificateRefused: () => manager.certificateRefused(),
    get renewalAtMs() {
      return manager.renewalAtMs
    },
    setAside: store.setAside,
    relay,
    [Symbol.asyncDispose]: () => manager[Symbol.asyncDispose](),
  }
}

/** A directory-mode agent without mTLS. */
function openNothing({ world, earliestWallMs }: IdentityOptions, { floor }: Verification): Source {
  return {
    current: () => undefined,
    watch: () => ({ [Symbol.dispose]: doNothing }),
    start: doNothing,
    problems: () => findValidityProblems(undefined, { wallMs: world.clock.wallMs(), earliestWallMs, floor }),
    trustChanged: doNothing,
    certificateRefused: doNothing,
    renewalAtMs: undefined,
    setAside: undefined,
    [Symbol.asyncDispose]: async () => doNothing(),
  }
}

function holdUntil(certified: Promise<void>, readiness: Readiness): void {
  const latch = readiness.hold('a certificate')
  detach(
    'identity',
    certified.then(() => latch[Symbol.dispose]()),
  )
}

function doNothing(): void {
  /* there is none */
}
