/**
 * Where this agent's identity comes from: the mesh's CA, a folder that something else keeps, or nowhere (a
 * directory-mode agent without mTLS).
 */
import path from 'node:path'
import { CertManager } from '../control-sync/identity/cert-manager.ts'
import { istioCertificateAuthority } from '../control-sync/identity/ca-client.ts'
import { IdentityFolder } from '../control-sync/identity/folder.ts'
import { IdentityStore } from '../control-sync/identity/identity-store.ts'
import { TimeFloor } from '../control-sync/identity/time-floor.ts'
import { Trust } from '../control-sync/identity/trust.ts'
import { spiffeUri } from '../control-sync/ads/node.ts'
import { validityProblems } from '../control-sync/identity/validity.ts'
import { validityRules } from '../control-sync/identity/validity-rules.ts'
import type { CertificateClock } from '../control-sync/connection/verify-server.ts'
import type { ControlLinkStatus } from '../control-sync/sync.ts'
import type { AgentConfig } from './config/schema.ts'
import { controlLink, readControlPlane } from './control-sync-settings.ts'
import type { Disk } from '../core/os/disk.ts'
import { MeshError } from '../core/errors.ts'
import { detached } from '../core/defects/guard.ts'
import type { Log } from '../core/log.ts'
import type { Metrics } from '../core/metrics.ts'
import { sealerOf, type Sealer } from '../core/pki/sealing.ts'
import type { World } from '../core/world.ts'
import type { IdentitySource, ValidityRules } from '../model/identity.ts'
import type { Readiness } from './readiness.ts'

export type AgentIdentity = IdentitySource &
  AsyncDisposable & {
    readonly validity: ValidityRules
    /** By which time the control plane's certificate is checked. */
    readonly certificateClock: CertificateClock
    /** Begins to renew, or to watch the folder. @param link how the configuration stream is doing */
    start(link: () => ControlLinkStatus): void
    /** Everything that is wrong, worst first. */
    problems(): readonly MeshError[]
    /** The control plane accepts the certificate no longer; one of ours is requested anew. */
    certificateRefused(): void
    /**
     * Roots that the control plane sends besides the CA's (ProxyConfig ca_certificates_pem), each time all of them; the
     * same array is no news
     */
    setExtraRoots(pems: readonly string[]): void
    /** Monotonic milliseconds; undefined where renewal is somebody else's. */
    readonly renewalAtMs: number | undefined
    /** Where a damaged identity was put at start. */
    readonly setAside: string | undefined
  }
export type IdentityOptions = {
  readonly config: AgentConfig
  readonly world: World
  readonly metrics: Metrics
  readonly log: Log
  readonly earliestWallMs: number | undefined
  readonly readiness: Readiness
}

/** Throws MESH_STATE_UNUSABLE, MESH_STATE_LOCKED or MESH_CONFIG_INVALID when what stands on disk cannot be used. */
export function startIdentity({
  config,
  world,
  metrics,
  log,
  earliestWallMs,
  readiness,
}: IdentityOptions): AgentIdentity {
  const { clock, random, disk } = world
  const { folder: folderName, extraRoots, crl, expired } = config.identity
  const floor = new TimeFloor({ disk, clock, log, stateFolder: config.state, builtAtMs: earliestWallMs })
  const trust = new Trust({
    disk,
    log,
    rootsFile: extraRoots,
    crlFile: crl ?? (folderName === undefined ? undefined : path.join(folderName, 'ca-crl.pem')),
    crlMayBeMissing: crl === undefined,
  })
  let link: (() => ControlLinkStatus) | undefined
  const rules = validityRules({
    settings: expired,
    floor,
    log,
    metrics,
    identity: () => source.current(),
    connected: () => link?.().state === 'connected',
  })
  const common = { validity: rules, certificateClock: floor }
  const problemsWith = (found: readonly MeshError[]): readonly MeshError[] => {
    const grace = rules.problem()
    return grace ? [...found, grace] : found
  }
  let sent: readonly string[] | undefined
  const setExtraRoots = (pems: readonly string[]): void => {
    if (pems === sent) return
    sent = pems
    const refused = trust.setExtraRoots(pems)
    if (refused.length > 0)
      log.warn(
        { evt: 'identity.roots-refused', code: 'MESH_CONFIG_REJECTED', refused: refused.slice(0, 10) },
        'roots from the control plane that cannot be used are left out',
      )
    source.trustChanged()
  }
  let source: IdentitySource & { trustChanged(): void } = NONE

  if (folderName !== undefined) {
    const folder = new IdentityFolder({ disk, clock, log, folder: folderName, earliestWallMs, trust, floor })
    source = folder
    const latch = readiness.hold('a certificate')
    detached(
      'identity',
      folder.certified.then(() => latch[Symbol.dispose]()),
    )
    return {
      ...common,
      setExtraRoots,
      current: () => folder.current(),
      watch: (fn) => folder.watch(fn),
      problems: () => problemsWith(folder.problems()),
      renewalAtMs: undefined,
      setAside: undefined,
      certificateRefused: ignore,
      start(how) {
        link = how
        folder.start()
      },
      [Symbol.asyncDispose]: async () => {
        folder[Symbol.dispose]()
        floor[Symbol.dispose]()
      },
    }
  }
  if (!config.control) {
    return {
      ...common,
      setExtraRoots,
      ...NONE,
      problems: () => validityProblems(undefined, { wallMs: clock.wallMs(), earliestWallMs, floor }),
      renewalAtMs: undefined,
      setAside: undefined,
      certificateRefused: ignore,
      start(how) {
        link = how
      },
      [Symbol.asyncDispose]: async () => floor[Symbol.dispose](),
    }
  }
  const store = new IdentityStore({ disk, clock, log, stateFolder: config.state, sealer: sealerFrom(config, disk) })
  const plane = readControlPlane(config.control, config.node.clusterId, disk, {
    ...controlLink({ config, world, log, metrics }),
    certificateClock: floor,
  })
  const manager = new CertManager({
    store,
    trust,
    floor,
    authority: istioCertificateAuthority(plane, clock),
    token: () => plane.token(),
    spiffeUri: spiffeUri(config.node),
    ttlSec: config.control.certificateTtlSec,
    key: config.identity.key,
    clock,
    random,
    log,
    metrics,
    earliestWallMs,
  })
  source = manager
  const latch = readiness.hold('a certificate')
  detached(
    'identity',
    manager.certified.then(() => latch[Symbol.dispose]()),
  )
  return {
    ...common,
    setExtraRoots,
    current: () => manager.current(),
    watch: (fn) => manager.watch(fn),
    problems: () => problemsWith(manager.problems()),
    get renewalAtMs() {
      return manager.renewalAtMs
    },
    setAside: store.setAside,
    certificateRefused: () => manager.certificateRefused(),
    start(how) {
      link = how
      manager.start()
    },
    async [Symbol.asyncDispose]() {
      await manager[Symbol.asyncDispose]()
      floor[Symbol.dispose]()
    },
  }
}

/** Undefined when agent.yaml asks for no encryption. Throws MESH_CONFIG_INVALID. */
export function sealerFrom({ identity: { encryptionKey } }: AgentConfig, disk: Disk): Sealer | undefined {
  if (encryptionKey === undefined) return undefined
  let content: Buffer | undefined
  try {
    content = disk.read(encryptionKey)
  } catch (cause) {
    throw new MeshError('MESH_CONFIG_INVALID', `identity.encryptionKey: ${encryptionKey} cannot be read`, { cause })
  }
  if (!content) throw new MeshError('MESH_CONFIG_INVALID', `identity.encryptionKey: there is no file ${encryptionKey}`)
  return sealerOf(content, `identity.encryptionKey: ${encryptionKey}`)
}

function ignore(): void {
  /* nothing to renew here */
}

const NONE: IdentitySource & { trustChanged(): void } = {
  current: () => undefined,
  watch: () => ({
    [Symbol.dispose]: () => {
      /* nothing changes */
    },
  }),
  trustChanged: () => {
    /* nobody verifies */
  },
}
