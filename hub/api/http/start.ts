/** The API of a hub, with what its routes need. */
import { X509Certificate } from 'node:crypto'
import { MeshError } from '../../../core/errors.ts'
import { asOwner } from '../../../core/os/as-owner.ts'
import type { Clock } from '../../../core/os/clock.ts'
import type { Disk } from '../../../core/os/disk.ts'
import type { Log } from '../../../core/log.ts'
import type { Metrics } from '../../../core/metrics.ts'
import type { Ca } from '../../ca/ca.ts'
import type { HubConfig } from '../../config.ts'
import { CONTROL_TOKEN_KEY_FILE, ControlTokens } from '../../enrollment/control-tokens.ts'
import { DeviceService } from '../../enrollment/devices.ts'
import type { Registry } from '../../registry/registry.ts'
import { openTokenKey, type Tokens } from '../../tokens.ts'
import type { ControlSettings } from '../../../model/fleet/enrollment.ts'
import type { CertificateService } from '../certificate-service.ts'
import type { ServerIdentity } from '../server-identity.ts'
import { addDeviceRoutes } from './routes/devices.ts'
import { addIssuerRoutes } from './routes/issuer.ts'
import { startApi, type Api } from './server.ts'

export type HubApiOptions = {
  readonly config: HubConfig
  /** Of the gRPC server. */
  readonly grpcPort: number
  readonly ca: Ca
  readonly caFolder: string
  readonly disk: Disk
  readonly registry: Registry
  readonly tokens: Tokens
  readonly certificates: CertificateService
  readonly identity: ServerIdentity
  readonly clock: Clock
  readonly log: Log
  readonly metrics: Metrics
}

/** Undefined: hub.yaml has no `api`. Rejects with MESH_PORT_IN_USE or MESH_PORT_FORBIDDEN. */
export async function startHubApi(o: HubApiOptions): Promise<Api | undefined> {
  const { config, ca } = o
  if (!config.api) return undefined
  const { trustDomain, enrollment } = config
  const controlTokens = openControlTokens(o)
  const devices = new DeviceService({ ...o, trustDomain, enrollment, controlTokens })
  const control = readControlSettings(o)
  return startApi({
    ...o,
    settings: config.api,
    limits: config.limits,
    addRoutes: (app) => {
      addDeviceRoutes(app, { devices, trustDomain, hubRootsPem: () => ca.rootsPem, control })
      if (controlTokens) addIssuerRoutes(app, controlTokens)
    },
  })
}

/** Throws MESH_STATE_UNUSABLE. */
function openControlTokens({ config, caFolder, disk, clock }: HubApiOptions): ControlTokens | undefined {
  const { istiod, state } = config
  if (!istiod) return undefined
  const key = asOwner(state, () => openTokenKey(caFolder, disk, CONTROL_TOKEN_KEY_FILE))
  return new ControlTokens({ ...istiod, ttlSec: istiod.tokenTtlSec, key, clock })
}

/** Where devices that join get their configuration. Throws MESH_CONFIG_INVALID for roots that cannot be read. */
function readControlSettings({ config: { istiod }, ca, disk, grpcPort }: HubApiOptions): () => ControlSettings {
  if (!istiod) return () => ({ address: `:${grpcPort}`, rootsPem: ca.rootsPem })
  const { address, serverName, roots } = istiod
  const read = (): ControlSettings => ({
    address,
    rootsPem: readRoots(roots, disk),
    serverName,
    certificates: 'control-plane',
  })
  read()
  return read
}

function readRoots(file: string, disk: Disk): string {
  try {
    const pem = disk.read(file)?.toString('utf8') ?? ''
    new X509Certificate(pem)
    return pem
  } catch (cause) {
    throw new MeshError('MESH_CONFIG_INVALID', `istiod.roots: ${file} is no readable PEM file with certificates`, {
      cause,
    })
  }
}
