/** This agent's identity, from one of its sources (identity-source.ts), with the rules of what counts after its end. */
import path from 'node:path'
import type { CertificateClock } from '../control-sync/connection/verify-server.ts'
import type { RelayLink } from '../control-sync/fleet/relay-link.ts'
import { TimeFloor } from '../control-sync/identity/time-floor.ts'
import { Trust, type SentTrust } from '../control-sync/identity/trust.ts'
import { createValidityRules } from '../control-sync/identity/validity-rules.ts'
import type { ControlLinkStatus } from '../control-sync/sync.ts'
import type { MeshError } from '../core/errors.ts'
import type { IdentitySource, ValidityRules } from '../model/identity.ts'
import { openSource, type IdentityOptions, type Source } from './identity-source.ts'

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
     * Roots that the control plane sends besides the CA's, and revocation lists, each time all of them; the same object
     * is no news
     */
    setSentTrust(sent: SentTrust): void
    /** Monotonic milliseconds; undefined where renewal is somebody else's. */
    readonly renewalAtMs: number | undefined
    /** Where a damaged identity was put at start. */
    readonly setAside: string | undefined
    /** Shared with the configuration: one connection for everything. */
    readonly relay: RelayLink | undefined
  }

/** Throws MESH_STATE_UNUSABLE, MESH_STATE_LOCKED or MESH_CONFIG_INVALID when what stands on disk cannot be used. */
export function startIdentity(o: IdentityOptions): AgentIdentity {
  const { config, world, metrics, log, earliestWallMs } = o
  const { clock, disk } = world
  const floor = new TimeFloor({ disk, clock, log, stateFolder: config.state, builtAtMs: earliestWallMs })
  const trust = createTrust(o)
  let link: (() => ControlLinkStatus) | undefined
  let source: Source | undefined
  const validity = createValidityRules({
    settings: config.identity.expired,
    floor,
    log,
    metrics,
    identity: () => source?.current(),
    connected: () => link?.().state === 'connected',
  })
  const opened = (source = openSource(o, { floor, trust }))
  let sent: SentTrust | undefined
  return {
    validity,
    certificateClock: floor,
    current: () => opened.current(),
    watch: (fn) => opened.watch(fn),
    problems: () => [...opened.problems(), validity.problem()].filter((p) => p !== undefined),
    certificateRefused: () => opened.certificateRefused(),
    get renewalAtMs() {
      return opened.renewalAtMs
    },
    setAside: opened.setAside,
    relay: opened.relay,
    setSentTrust(next) {
      if (next === sent) return
      sent = next
      const refused = trust.setSent(next)
      if (refused.length > 0)
        log.warn(
          { evt: 'identity.roots-refused', code: 'MESH_CONFIG_REJECTED', refused: refused.slice(0, 10) },
          'roots from the control plane that cannot be used are left out',
        )
      opened.trustChanged()
    },
    start(how) {
      link = how
      opened.start()
    },
    async [Symbol.asyncDispose]() {
      await opened[Symbol.asyncDispose]()
      floor[Symbol.dispose]()
    },
  }
}

function createTrust({ config, world, log }: IdentityOptions): Trust {
  const { folder, extraRoots, crl } = config.identity
  return new Trust({
    disk: world.disk,
    log,
    rootsFile: extraRoots,
    crlFile: crl ?? (folder === undefined ? undefined : path.join(folder, 'ca-crl.pem')),
    crlMayBeMissing: crl === undefined,
  })
}
