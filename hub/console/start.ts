/** The console of a hub, with what its routes need. */
import type { FastifyInstance } from 'fastify'
import { bundle } from '../../core/runtime/bundle.ts'
import type { Clock, Random } from '../../core/os/clock.ts'
import type { Log } from '../../core/log.ts'
import type { Metrics } from '../../core/metrics.ts'
import type { ServerIdentity } from '../api/server-identity.ts'
import type { HubConfig } from '../config.ts'
import type { Registry } from '../registry/registry.ts'
import type { Tokens } from '../tokens.ts'
import { readOrigins } from './browser-checks.ts'
import { Events } from './fleet/events.ts'
import { FleetDetails } from './fleet/details.ts'
import { FleetView } from './fleet/view.ts'
import { usesTls } from './listener.ts'
import { Logins } from './logins.ts'
import { addDeviceLogin } from './oidc/device-login.ts'
import { deriveGrants } from './oidc/grants.ts'
import { addOidcRoutes } from './oidc/routes.ts'
import { createFlowSealer, createProvider, readPublicOrigin } from './oidc/start.ts'
import { addPage, type ConsolePage } from './page.ts'
import { addAskingRoutes } from './routes/asking.ts'
import { addAuditRoutes } from './routes/audit.ts'
import { addDeviceRoutes } from './routes/devices.ts'
import { addEnrolmentRoutes } from './routes/enrolment.ts'
import { addEventRoutes } from './routes/events.ts'
import { addFleetRoutes } from './routes/fleet.ts'
import type { ConsoleParts } from './routes/parts.ts'
import { addRecordRoutes } from './routes/records.ts'
import { addRolloutRecordRoutes } from './routes/rollout-records.ts'
import { addRevisionRoutes } from './routes/revisions.ts'
import { addRolloutRoutes } from './routes/rollouts.ts'
import { addSessionRoutes, limitLogins } from './routes/session.ts'
import { addTokenRoutes } from './routes/tokens.ts'
import { startConsoleServer, type ConsoleServer } from './server.ts'
import type { ConsoleSettings } from './settings.ts'

export type ConsoleOptions = Pick<ConsoleParts, 'createToken'> & {
  readonly config: HubConfig
  readonly registry: Registry
  readonly identity: ServerIdentity
  readonly apiPort: number | undefined
  readonly tokens: Tokens
  /** Undefined: the hub runs from its sources, and has the API alone. */
  readonly page: ConsolePage | undefined
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly metrics: Metrics
}

/** Undefined: hub.yaml has no `console`. Rejects with MESH_PORT_IN_USE, MESH_PORT_FORBIDDEN or MESH_CONFIG_INVALID. */
export async function startConsole(o: ConsoleOptions): Promise<ConsoleServer | undefined> {
  const { config, registry, clock } = o
  const settings = config.console
  if (!settings) return undefined
  await using parts = new AsyncDisposableStack()
  const logins = createLogins(o, settings)
  const view = new FleetView(registry, clock)
  const details = new FleetDetails(registry, clock)
  const epoch = Math.floor(o.random.float() * 2 ** 48).toString(36)
  const events = parts.use(new Events({ ...o, view, audit: registry.audit, reports: registry.reports, epoch }))
  const routes: ConsoleParts = {
    registry,
    view,
    details,
    logins,
    clock,
    createToken: o.createToken,
    joinAddress: `https://${config.dnsNames[0]!}:${o.apiPort ?? 15_443}`,
    hub: { version: bundle?.version ?? 'development', startedMs: clock.wallMs() },
  }
  const addLogin = prepareLogin(o, settings, routes)
  const server = parts.use(
    await startConsoleServer({
      ...o,
      settings,
      logins,
      limits: config.limits,
      origins: readOrigins({ publicUrl: settings.publicUrl, dnsNames: config.dnsNames }),
      addRoutes: (app) => {
        addLogin(app)
        addDeviceRoutes(app, routes)
        addTokenRoutes(app, routes)
        addEnrolmentRoutes(app, routes)
        addAuditRoutes(app, routes)
        addAskingRoutes(app, routes)
        addFleetRoutes(app, routes)
        addRolloutRoutes(app, { ...routes, policy: config.rollout })
        addRevisionRoutes(app, routes)
        addRecordRoutes(app, routes)
        addRolloutRecordRoutes(app, routes)
        addEventRoutes(app, { events, logins, maxStreams: settings.maxStreams, clock, metrics: o.metrics })
        if (o.page) addPage(app, o.page)
      },
    }),
  )
  const owned = parts.move()
  return { ...server, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

function createLogins(
  { registry, clock }: ConsoleOptions,
  { oidc, idleSec, sessionSec, cliSessionSec }: ConsoleSettings,
): Logins {
  return new Logins({
    sessions: registry.sessions,
    audit: registry.audit,
    clock,
    idleMs: idleSec * 1_000,
    sessionMs: sessionSec * 1_000,
    cliSessionMs: cliSessionSec * 1_000,
    toGrants: oidc && ((claims) => deriveGrants(claims, oidc)),
  })
}

/** What cannot be used of hub.yaml is said before the port is open. */
function prepareLogin(
  o: ConsoleOptions,
  settings: ConsoleSettings,
  routes: ConsoleParts,
): (app: FastifyInstance) => void {
  const { oidc, loginsPerMinute, sessionSec } = settings
  const provider = oidc && createProvider(oidc, o.clock)
  const login = { ...routes, loginsPerMinute, sessionSec, hasOidc: oidc !== undefined }
  const takeLogin = limitLogins(login)
  return (app) => {
    addSessionRoutes(app, login, takeLogin)
    if (!oidc || !provider) return
    const ofIssuer = {
      ...login,
      log: o.log,
      settings: oidc,
      provider,
      sealer: createFlowSealer(o.tokens),
      publicOrigin: readPublicOrigin(settings),
      isHttps: usesTls(settings),
      takeLogin,
    }
    addOidcRoutes(app, ofIssuer)
    addDeviceLogin(app, ofIssuer)
  }
}
