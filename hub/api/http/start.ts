/** The API of a hub, with what its routes need; it answers at a port of its own and at the relay's. */
import type { IncomingMessage, RequestListener } from 'node:http'
import { asOwner } from '../../../core/os/as-owner.ts'
import type { Clock } from '../../../core/os/clock.ts'
import type { Disk } from '../../../core/os/disk.ts'
import type { Log } from '../../../core/log.ts'
import type { Metrics } from '../../../core/metrics.ts'
import type { Ca } from '../../ca/ca.ts'
import { apiSchema, type HubConfig } from '../../config.ts'
import { CONTROL_TOKEN_KEY_FILE, ControlTokens } from '../../enrollment/control-tokens.ts'
import { DeviceService } from '../../enrollment/devices.ts'
import type { Registry } from '../../registry/registry.ts'
import { openTokenKey, type Tokens } from '../../tokens.ts'
import type { Renewed } from '../../../model/fleet/enrollment.ts'
import type { CertificateService } from '../certificate-service.ts'
import { readControlSettings } from './control-settings.ts'
import type { ShownProof } from './proof-step.ts'
import { addDeviceRoutes, answerRenewal, type DeviceRoutes, type Over } from './routes/devices.ts'
import { addIssuerRoutes } from './routes/issuer.ts'
import { createApi } from './server.ts'

export type HubApiOptions = {
  readonly config: HubConfig
  readonly ca: Ca
  readonly caFolder: string
  readonly disk: Disk
  readonly registry: Registry
  readonly tokens: Tokens
  readonly certificates: CertificateService
  readonly clock: Clock
  readonly log: Log
  readonly metrics: Metrics
  /** Where devices get their configuration that join at the API's own port, :PORT. */
  readonly configurationAt: () => string
}
export type HubApi = AsyncDisposable & {
  /** Requests at the API's own port, and at the relay's. */
  readonly handle: Readonly<Record<Over, RequestListener>>
  readonly devices: DeviceService
  /** Of a device's key that has been proved. Rejects as DeviceService.renew, MESH_DEVICE_PROOF, MESH_MALFORMED_INPUT. */
  readonly renew: (proof: ShownProof, keyId: string) => Promise<Renewed>
}

/** Rejects with MESH_STATE_UNUSABLE, MESH_CONFIG_INVALID. */
export async function createHubApi(o: HubApiOptions): Promise<HubApi> {
  const { config, ca } = o
  const { trustDomain, enrollment } = config
  const controlTokens = openControlTokens(o)
  const devices = new DeviceService({ ...o, trustDomain, enrollment, controlTokens })
  const overRelay = new WeakSet<IncomingMessage>()
  const routes: DeviceRoutes = {
    devices,
    trustDomain,
    hubRootsPem: () => ca.rootsPem,
    control: readControlSettings(o),
    over: (request) => (overRelay.has(request) ? 'relay' : 'api'),
  }
  const api = await createApi({
    ...o,
    settings: config.api ?? apiSchema.parse({}),
    addRoutes: (app) => {
      addDeviceRoutes(app, routes)
      if (controlTokens) addIssuerRoutes(app, controlTokens)
    },
  })
  return {
    handle: {
      api: api.handle,
      relay: (request, response) => {
        overRelay.add(request)
        api.handle(request, response)
      },
    },
    devices,
    renew: (proof, keyId) => answerRenewal(proof, routes, keyId),
    [Symbol.asyncDispose]: () => api[Symbol.asyncDispose](),
  }
}

/** Throws MESH_STATE_UNUSABLE. */
function openControlTokens({ config, caFolder, disk, clock }: HubApiOptions): ControlTokens | undefined {
  const { istiod, state } = config
  if (!istiod) return undefined
  const key = asOwner(state, () => openTokenKey(caFolder, disk, CONTROL_TOKEN_KEY_FILE))
  return new ControlTokens({ ...istiod, ttlSec: istiod.tokenTtlSec, key, clock })
}
