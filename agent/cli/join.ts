/** `meshlet join`: the first certificate, so that the service starts with one and the token can be thrown away. */
import os from 'node:os'
import { CertManager } from '../../control-sync/identity/cert-manager.ts'
import { istioCertificateAuthority } from '../../control-sync/identity/ca-client.ts'
import { IdentityStore } from '../../control-sync/identity/identity-store.ts'
import { TimeFloor } from '../../control-sync/identity/time-floor.ts'
import { spiffeUri } from '../../control-sync/ads/node.ts'
import { Trust } from '../../control-sync/identity/trust.ts'
import { readControlPlane, prepareState, readToken, sealerFrom } from '../control-sync-settings.ts'
import { bundle } from '../../core/runtime/bundle.ts'
import { systemClock, systemRandom } from '../../core/os/clock.ts'
import { systemDisk } from '../../core/os/disk.ts'
import { MeshError, sentence } from '../../core/errors.ts'
import { createLog } from '../../core/log.ts'
import { Metrics } from '../../core/metrics.ts'
import type { ExitCode } from './exit.ts'
import type { Io } from './io.ts'
import { readConfig, type ConfigSource } from './read-config.ts'

export async function join(
  o: ConfigSource & { readonly token?: string; readonly json: boolean },
  io: Io,
): Promise<ExitCode> {
  const { config, from } = readConfig(o, systemDisk, io.env)
  const { control } = config
  if (!control)
    throw new MeshError(
      'MESH_CONFIG_INVALID',
      `${from} has no \`control\`: without a control plane there is nothing to join`,
    )
  prepareState(config.state, systemDisk)
  const given = o.token === '-' ? readToken(await io.standardInput(), 'standard input') : undefined
  const tokenFile = o.token !== undefined && o.token !== '-' ? o.token : control.token
  const clock = systemClock
  const log = createLog('silent')
  const earliestWallMs = bundle && Date.parse(bundle.builtAt)
  const floor = new TimeFloor({ disk: systemDisk, clock, log, stateFolder: config.state, builtAtMs: earliestWallMs })
  const plane = readControlPlane({ ...control, token: tokenFile }, config.node.clusterId, systemDisk, {
    certificateClock: floor,
  })
  const token = given ?? plane.token()
  if (o.token !== undefined && token === undefined)
    throw new MeshError(
      'MESH_TOKEN_INVALID',
      `--token: there is no token in ${o.token === '-' ? 'standard input' : o.token}`,
    )
  const authority = istioCertificateAuthority({ ...plane, token: () => token }, clock)
  const manager = new CertManager({
    store: new IdentityStore({
      disk: systemDisk,
      clock,
      log,
      stateFolder: config.state,
      sealer: sealerFrom(config, systemDisk),
    }),
    trust: new Trust({ disk: systemDisk, log, rootsFile: undefined, crlFile: undefined, crlMayBeMissing: true }),
    floor,
    // Beside a certificate a token would not count (hub, istiod): with one at hand we join anew, whoever this machine
    // was before.
    authority: (p) => authority(token === undefined ? p : { ...p, current: undefined }),
    spiffeUri: spiffeUri(config.node),
    ttlSec: control.certificateTtlSec,
    key: config.identity.key,
    clock,
    random: systemRandom,
    log,
    metrics: new Metrics(),
    earliestWallMs,
  })
  const identity = await manager.request()
  for (const problem of manager.problems()) {
    // A certificate that is not on disk is none for the service.
    if (problem.code === 'MESH_STATE_UNUSABLE') throw problem
    io.err(`${sentence(problem)}\n`)
  }
  floor[Symbol.dispose]()
  const facts = {
    spiffeId: identity.spiffeId.uri,
    serial: identity.serial,
    notAfter: new Date(identity.notAfterMs).toISOString(),
    node: config.node.name ?? os.hostname(),
  }
  io.out(
    o.json ? `${JSON.stringify(facts)}\n` : `joined as ${facts.spiffeId}, certificate valid until ${facts.notAfter}\n`,
  )
  return 0
}
