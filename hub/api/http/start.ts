/** The API of a hub, with what its routes need. */
import type { Clock } from '../../../core/os/clock.ts'
import type { Log } from '../../../core/log.ts'
import type { Metrics } from '../../../core/metrics.ts'
import type { Ca } from '../../ca/ca.ts'
import type { HubConfig } from '../../config.ts'
import { DeviceService } from '../../enrollment/devices.ts'
import type { Registry } from '../../registry/registry.ts'
import type { Tokens } from '../../tokens.ts'
import type { CertificateService } from '../certificate-service.ts'
import type { ServerIdentity } from '../server-identity.ts'
import { addDeviceRoutes } from './routes/devices.ts'
import { startApi, type Api } from './server.ts'

export type HubApiOptions = {
  readonly config: HubConfig
  /** Of the gRPC server. */
  readonly grpcPort: number
  readonly ca: Ca
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
  const devices = new DeviceService({ ...o, trustDomain, enrollment })
  return startApi({
    ...o,
    settings: config.api,
    limits: config.limits,
    addRoutes: (app) =>
      addDeviceRoutes(app, {
        devices,
        trustDomain,
        hubRootsPem: () => ca.rootsPem,
        control: () => ({ address: `:${o.grpcPort}`, rootsPem: ca.rootsPem }),
      }),
  })
}
