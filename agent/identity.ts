/** Where this agent's identity comes from: the mesh's CA, a folder that something else keeps, or nowhere (a directory-mode agent without mTLS). */
import { CertManager } from '../control-sync/identity/cert-manager.ts'
import { istioCertificateAuthority } from '../control-sync/identity/ca-client.ts'
import { IdentityFolder } from '../control-sync/identity/folder.ts'
import { IdentityStore } from '../control-sync/identity/identity-store.ts'
import { validityProblem } from '../control-sync/identity/validity.ts'
import type { AgentConfig } from './config/schema.ts'
import { controlLink, controlPlaneOf, spiffeUriOf } from './control-plane-of.ts'
import type { MeshError } from './core/errors.ts'
import type { Log } from './core/log.ts'
import type { Metrics } from './core/metrics.ts'
import type { World } from './core/world.ts'
import type { IdentitySource } from './model/identity.ts'
import type { Readiness } from './readiness.ts'

export type AgentIdentity = IdentitySource & AsyncDisposable & {
  /** Begins to renew, or to watch the folder. */
  start(): void
  problem(): MeshError | undefined
  /** The control plane accepts the certificate no longer; one of ours is requested anew. */
  certificateRefused(): void
  /** Monotonic milliseconds; undefined where renewal is somebody else's. */
  readonly renewalAtMs: number | undefined
  /** Where a damaged identity was put at start. */
  readonly setAside: string | undefined
}
export type IdentityOptions = { readonly config: AgentConfig; readonly world: World; readonly metrics: Metrics; readonly log: Log; readonly earliestWallMs: number | undefined; readonly readiness: Readiness }

/** Throws MESH_STATE_UNUSABLE, MESH_CONFIG_INVALID or MESH_IDENTITY_DAMAGED when what stands on disk cannot be used. */
export function startIdentity({ config, world, metrics, log, earliestWallMs, readiness }: IdentityOptions): AgentIdentity {
  const { clock, random, disk } = world
  if (config.identity) {
    const folder = new IdentityFolder({ disk, clock, log, folder: config.identity.folder, earliestWallMs })
    return {
      current: () => folder.current(), watch: (fn) => folder.watch(fn), start: () => folder.start(), certificateRefused: ignore, problem: () => folder.problem(), renewalAtMs: undefined,
      setAside: undefined, [Symbol.asyncDispose]: async () => folder[Symbol.dispose](),
    }
  }
  if (!config.control) return { ...NONE, problem: () => validityProblem(undefined, { wallMs: clock.wallMs(), earliestWallMs }) }
  const store = new IdentityStore({ disk, clock, log, stateFolder: config.state })
  const manager = new CertManager({
    store,
    authority: istioCertificateAuthority(controlPlaneOf(config.control, config.node.clusterId, disk, controlLink({ config, world, log, metrics })), clock),
    spiffeUri: spiffeUriOf(config), ttlSec: config.control.certificateTtlSec, clock, random, log, metrics, earliestWallMs,
  })
  const latch = readiness.hold('a certificate')
  void manager.certified.then(() => latch[Symbol.dispose]())
  return {
    current: () => manager.current(), watch: (fn) => manager.watch(fn), start: () => manager.start(), problem: () => manager.problem(),
    certificateRefused: () => manager.certificateRefused(), get renewalAtMs() { return manager.renewalAtMs },
    setAside: store.setAside, [Symbol.asyncDispose]: () => manager[Symbol.asyncDispose](),
  }
}

function ignore(): void { /* nothing to renew here */ }

const NONE: Omit<AgentIdentity, 'problem'> = {
  current: () => undefined, watch: () => ({ [Symbol.dispose]: () => { /* nothing changes */ } }), start: ignore, certificateRefused: ignore,
  renewalAtMs: undefined, setAside: undefined, [Symbol.asyncDispose]: async () => { /* nothing is open */ },
}
