/** `meshlet join`: the first certificate, so that the service starts with one and the token can be thrown away. */
import os from 'node:os'
import { CertManager } from '../../control-sync/identity/cert-manager.ts'
import { createAuthority } from '../../control-sync/fleet/authority.ts'
import { IdentityStore } from '../../control-sync/identity/identity-store.ts'
import { TimeFloor } from '../../control-sync/identity/time-floor.ts'
import { formatSpiffeUri } from '../../control-sync/ads/node.ts'
import { Trust } from '../../control-sync/identity/trust.ts'
import { readEnvironmentProxy } from '../../model/fleet/environment-proxy.ts'
import { readControlPlane, prepareState, readToken, readSealer } from '../control-sync-settings.ts'
import { bundle } from '../../core/runtime/bundle.ts'
import { systemClock, systemRandom } from '../../core/os/clock.ts'
import { systemDisk } from '../../core/os/disk.ts'
import { MeshError, formatSentence } from '../../core/errors.ts'
import { createLog, type Log } from '../../core/log.ts'
import { Metrics } from '../../core/metrics.ts'
import type { ControlPlane } from '../../control-sync/connection/control-plane.ts'
import type { Identity } from '../../model/identity.ts'
import type { AgentConfig } from '../config/schema.ts'
import type { ExitCode } from '../../core/cli/exit.ts'
import type { Io } from './io.ts'
import { readConfig, type ConfigSource } from './read-config.ts'

type JoinOptions = ConfigSource & { readonly token?: string; readonly json: boolean }

export async function join(o: JoinOptions, io: Io): Promise<ExitCode> {
  const { config, from } = readConfig(o, systemDisk, io.env)
  const { control } = config
  if (!control)
    throw new MeshError(
      'MESH_CONFIG_INVALID',
      `${from} has no \`control\`: without a control plane there is nothing to join`,
    )
  prepareState(config.state, systemDisk)
  const log = createLog('silent')
  const floor = new TimeFloor({ disk: systemDisk, clock: systemClock, log, stateFolder: config.state, builtAtMs })
  const plane = await withToken(o, io, (token) =>
    readControlPlane({ ...control, token: token ?? control.token }, config.node.clusterId, systemDisk, {
      certificateClock: floor,
      findProxy: () => readEnvironmentProxy(io.env),
    }),
  )
  const manager = createManager({ config, control, plane, floor, log })
  const identity = await manager.request()
  tellProblems(manager, io)
  floor[Symbol.dispose]()
  tellIdentity(identity, { node: config.node.name ?? os.hostname(), json: o.json }, io)
  return 0
}

const builtAtMs = bundle && Date.parse(bundle.builtAt)

/** The token is that of standard input, of the file that is named, or of the configuration. */
async function withToken(
  o: JoinOptions,
  io: Io,
  planeWith: (tokenFile: string | undefined) => ControlPlane,
): Promise<ControlPlane> {
  const isStandardInput = o.token === '-'
  const given = isStandardInput ? readToken(await io.standardInput(), 'standard input') : undefined
  const plane = planeWith(isStandardInput ? undefined : o.token)
  const token = given ?? plane.token()
  if (o.token !== undefined && token === undefined)
    throw new MeshError(
      'MESH_TOKEN_INVALID',
      `--token: there is no token in ${isStandardInput ? 'standard input' : o.token}`,
    )
  return { ...plane, token: () => token }
}

function createManager(p: {
  readonly config: AgentConfig
  readonly control: NonNullable<AgentConfig['control']>
  readonly plane: ControlPlane
  readonly floor: TimeFloor
  readonly log: Log
}): CertManager {
  const { config, control, plane, floor, log } = p
  const [disk, clock] = [systemDisk, systemClock]
  const authority = createAuthority(plane, clock, () => undefined)
  return new CertManager({
    store: new IdentityStore({ disk, clock, log, stateFolder: config.state, sealer: readSealer(config, disk) }),
    trust: new Trust({ disk, log, rootsFile: undefined, crlFile: undefined, crlMayBeMissing: true }),
    floor,
    // Beside a certificate a token would not count (hub, istiod): with one at hand we join anew, whoever this machine
    // was before.
    authority: (q) => authority(plane.token() === undefined ? q : { ...q, current: undefined }),
    spiffeUri: formatSpiffeUri(config.node),
    ttlSec: control.certificateTtlSec,
    key: config.identity.key,
    clock,
    random: systemRandom,
    log,
    metrics: new Metrics(),
    earliestWallMs: builtAtMs,
  })
}

function tellProblems(manager: CertManager, io: Io): void {
  for (const problem of manager.problems()) {
    // A certificate that is not on disk is none for the service.
    if (problem.code === 'MESH_STATE_UNUSABLE') throw problem
    io.err(`${formatSentence(problem)}\n`)
  }
}

function tellIdentity(identity: Identity, p: { readonly node: string; readonly json: boolean }, io: Io): void {
  const { spiffeId, serial, notAfterMs } = identity
  const facts = { spiffeId: spiffeId.uri, serial, notAfter: new Date(notAfterMs).toISOString(), node: p.node }
  io.out(
    p.json ? `${JSON.stringify(facts)}\n` : `joined as ${facts.spiffeId}, certificate valid until ${facts.notAfter}\n`,
  )
}
