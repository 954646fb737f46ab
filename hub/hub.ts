/**
 * The hub in directory mode: builds every part in order; disposing goes the other way round. Embedded in the demo and
 * tests, or alone in hub/main.ts.
 */
import { randomUUID } from 'node:crypto'
import os from 'node:os'
import { asOwner } from '../core/os/as-owner.ts'
import { reportDefects } from '../core/defects/report.ts'
import type { Disk } from '../core/os/disk.ts'
import { MeshError } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import { Metrics } from '../core/metrics.ts'
import { startHubAdmin } from './api/admin.ts'
import { openApiPort } from './api/http/server.ts'
import { createHubApi, type HubApiOptions } from './api/http/start.ts'
import { createAuthenticator } from './api/authenticate.ts'
import { Budgets } from './api/budgets.ts'
import { createCertificateService } from './api/certificate-service.ts'
import { ServerIdentity } from './api/server-identity.ts'
import { startServer } from './api/server.ts'
import { startRelay, type RelayServerOptions } from './relay/server.ts'
import { CertificateWatcher } from './api/certificate-expiry.ts'
import { StreamLimit } from './api/ads/stream-limit.ts'
import { listPins } from '../core/pki/pin.ts'
import type { HubConfig } from './config.ts'
import type { ConsolePage } from './console/page.ts'
import type { TokenWish } from './console/routes/parts.ts'
import { startConsole } from './console/start.ts'
import { LiveDevices, type ConnectionChanged } from './registry/live-devices.ts'
import type { Ca } from './ca/ca.ts'
import { openSharedCa, openState, type HubWorld } from './open-state.ts'
import type { OpenRegistry, Registry } from './registry/registry.ts'
import { holdRunning } from './registry/running.ts'
import { EventLog } from './reports/event-log.ts'
import { ReportIntake } from './reports/intake.ts'
import { IstioSource } from './source/istio-source.ts'
import { startConfiguration } from './source/start.ts'
import { TrustBundle } from './source/trust-bundle.ts'
import type { CreateToken, JoinClaims, Tokens } from './tokens.ts'

export type { HubWorld } from './open-state.ts'
export type HubParts = {
  readonly log: Log
  readonly metrics?: Metrics
  /** SQLite's addon (core/storage/sqlite-addon.ts); undefined takes the package's own. */
  readonly nativeBinding?: object | undefined
  /** Milliseconds since the epoch; no right clock shows less. */
  readonly builtAtMs?: number | undefined
  /** What the console shows; undefined: its API alone. */
  readonly page?: ConsolePage | undefined
}
export type NewToken = JoinClaims & { readonly token: string }
export type TokenFor = {
  readonly namespace: string
  readonly serviceAccount: string
  readonly nodes: string
  readonly ttlSec?: number
  readonly maxUses?: number
} & Partial<Pick<CreateToken, 'cidrs' | 'labels' | 'approval'>>

export type Hub = AsyncDisposable & {
  readonly port: number
  readonly adminPort: number
  /** Undefined: no relay. */
  readonly relayPort: number | undefined
  /** Undefined: there is no API. */
  readonly apiPort: number | undefined
  /** Undefined: there is no console. */
  readonly consolePort: number | undefined
  /** What devices check the hub, and each other, against. */
  readonly rootsPem: string
  readonly registry: OpenRegistry
  /** Rejects with MESH_CONFIG_INVALID. */
  createToken(p: TokenFor): Promise<NewToken>
}

/**
 * Rejects with what the parts throw: MESH_STATE_UNUSABLE, MESH_CA_DAMAGED, MESH_CLOCK_WRONG, MESH_CONFIG_INVALID (the
 * resources folder), MESH_PORT_IN_USE, MESH_PORT_FORBIDDEN, MESH_STORAGE_*.
 */
export async function startHub(config: HubConfig, world: HubWorld, parts: HubParts): Promise<Hub> {
  const { log, metrics = new Metrics() } = parts
  const { clock } = world
  await using building = new AsyncDisposableStack()
  const { registry, tokens, caFolder, hub } = await openState(config, world, parts.nativeBinding, log)
  building.use(registry)
  if (!config.store) building.use(asOwner(config.state, () => holdRunning(config.state, parts.nativeBinding)))
  building.use(reportDefects(log, metrics))
  const { trustDomain, limits } = config
  const caOptions = { folder: caFolder, disk: world.disk, clock, trustDomain, builtAtMs: parts.builtAtMs }
  const ca = await registry.exclusively((tx) => openSharedCa(tx, config, caOptions))
  makeResourcesFolder(config, world.disk)
  const configuration = building.use(await startConfiguration(config, { registry, clock, log, metrics, hub }))
  const identity = building.use(new ServerIdentity(ca, config.dnsNames, { ...world, log }))
  const trust = { ca, registry, clock, log, metrics, rootsChanged: () => identity.rootsChanged() }
  const source = building.use(await TrustBundle.open(new IstioSource(configuration.source, config), trust))
  const budgets = new Budgets({ limits: config.limits, clock, metrics })
  const shared = { registry, budgets, clock, disk: world.disk, log, metrics, state: config.state }
  const intake = openIntake(building, shared)
  const onConnection: ConnectionChanged = (name, how) => intake.connection(name, how)
  const replica = config.store && { replica: `${os.hostname()}-${randomUUID()}` }
  const live = building.use(await LiveDevices.open({ ...shared, onConnection, ...replica }))
  const watcher = building.use(new CertificateWatcher(shared))
  const admin = building.use(await startHubAdmin(config.admin, metrics))
  registry.serving()
  const certificates = createCertificateService({ ...config, ...shared, ca })
  const serving = {
    ...shared,
    maxRequestBytes: limits.maxRequestBytes,
    limits,
    identity,
    source,
    live,
    intake,
    watcher,
    authenticate: createAuthenticator({ ca, tokens, registry, clock }),
    limit: new StreamLimit(limits, metrics),
    certificates,
  }
  const server = building.use(await startServer({ ...serving, listen: config.listen }))
  const issuing = { ca, caFolder, tokens, certificates, identity }
  const { relay, api } = await openForDevices(building, { serving, issuing, config, grpcPort: server.port })
  const createToken = prepareTokens(issuing, config, registry)
  const forConsole = { ...world, ...shared, ...issuing, config, createToken, apiPort: api?.port, page: parts.page }
  const operators = building.use(await startConsole(forConsole))
  const ports = readPorts({ server, admin, relay, api, operators })
  tellStarted(log, config, ca, ports)
  return {
    ...ports,
    get rootsPem() {
      return ca.rootsPem
    },
    registry,
    createToken,
    [Symbol.asyncDispose]: disposeOf(building.move()),
  }
}

/** Where devices join, renew and, over the relay, have everything. */
async function openForDevices(
  building: AsyncDisposableStack,
  p: {
    readonly serving: Omit<RelayServerOptions, 'listen' | 'ca' | 'api'> & { readonly disk: Disk }
    readonly issuing: Pick<HubApiOptions, 'ca' | 'caFolder' | 'tokens' | 'certificates'>
    readonly config: HubConfig
    readonly grpcPort: number
  },
): Promise<{ readonly relay: Port | undefined; readonly api: Port | undefined }> {
  const { serving, issuing, config, grpcPort } = p
  if (!config.relay && !config.api) return { relay: undefined, api: undefined }
  const configurationAt = (): string => `:${grpcPort}`
  const answering = building.use(await createHubApi({ ...serving, ...issuing, config, configurationAt }))
  const relay =
    config.relay &&
    building.use(await startRelay({ ...serving, ca: issuing.ca, listen: config.relay.listen, api: answering }))
  const settings = config.api
  const ofApi = settings && { ...serving, settings, api: { handle: answering.handle.api } }
  return { relay, api: ofApi && building.use(await openApiPort(ofApi)) }
}

function prepareTokens(
  { ca, tokens }: { readonly ca: Pick<Ca, 'rootsPem'>; readonly tokens: Tokens },
  { tokenTtlSec, enrollment }: HubConfig,
  registry: Registry,
) {
  const isApproved = enrollment.approval === 'always'
  return ({ ttlSec = tokenTtlSec, approval = false, ...p }: TokenWish, tx: Registry = registry) =>
    tokens.create({ ...p, ttlSec, approval: approval || isApproved, roots: listPins(ca.rootsPem) }, tx)
}

const disposeOf = (parts: AsyncDisposableStack) => () => parts.disposeAsync()

type Port = { readonly port: number }
function readPorts(p: {
  readonly server: Port
  readonly admin: Port
  readonly relay: Port | undefined
  readonly api: Port | undefined
  readonly operators: Port | undefined
}) {
  const { server, admin, relay, api, operators } = p
  const [relayPort, apiPort, consolePort] = [relay?.port, api?.port, operators?.port]
  return { port: server.port, adminPort: admin.port, relayPort, apiPort, consolePort }
}

/** Events are written last: what ends says so. */
function openIntake(
  building: AsyncDisposableStack,
  o: Omit<ConstructorParameters<typeof ReportIntake>[0], 'events'>,
): ReportIntake {
  const events = building.use(new EventLog(o))
  return building.use(new ReportIntake({ ...o, events }))
}

/** Empty at first: a hub that waits for its resources can certify devices meanwhile. */
function makeResourcesFolder({ resources }: HubConfig, disk: Disk): void {
  try {
    disk.makeFolder(resources, 0o755)
  } catch (cause) {
    throw new MeshError('MESH_CONFIG_INVALID', `the resources folder ${resources} cannot be made`, { cause })
  }
}

function tellStarted(log: Log, { listen, trustDomain }: HubConfig, ca: Ca, ports: object): void {
  const rootNotAfter = new Date(ca.root.notAfterMs).toISOString()
  log.info({ evt: 'hub.started', listen, ...ports, trustDomain, rootNotAfter }, 'hub is ready')
}
