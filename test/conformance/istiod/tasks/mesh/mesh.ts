/**
 * The mesh that the tasks are done in: an istiod, and two machines, each a network namespace with an agent as the
 * sidecar of what runs there (transparent capture in both directions). Near are the callers, in this process; far are
 * the services.
 */
import net from 'node:net'
import type tls from 'node:tls'
import { once } from 'node:events'
import fs from 'node:fs'
import path from 'node:path'
import { freePorts } from '../../../../../tools/free-ports.ts'
import { sleep, start, temporaryFolder, until, type Finally } from '../../../programs.ts'
import type { Identity } from '../../../../../model/identity.ts'
import { CAPTURE_LAUNCHER, giveToMeshlet, MESHLET_UID, setCaptureRules } from '../../rig/capture.ts'
import { meshConnect } from '../../rig/inbound.ts'
import { certificateOf } from '../../rig/istioctl.ts'
import { Istiod } from '../../rig/istiod.ts'
import { MeshAgent } from '../../rig/mesh-agent.ts'
import { HERE_IP, Outside, THERE_IP } from '../../rig/outside.ts'
import type { AppsJob, Seen } from './apps.ts'
import { call, talk, talkOver, type Called, type CallOptions } from './calls.ts'
import { makeExternalTls, type ExternalTls } from './external-tls.ts'
import { createGateway } from './gateway.ts'
import { serveNames, UPSTREAM_PORT } from './names.ts'
import { JWKS } from './tokens.ts'
import {
  EXTERNAL,
  EXTERNAL_TWO,
  NAMES,
  FAR_APPS,
  GATEWAY,
  GATEWAY_IP,
  GATEWAY_NETWORK,
  INBOUND_PORTS,
  markerYaml,
  SERVICES_YAML,
} from './services.ts'

const TOLD_PORT = 7000
/** A push is there some 0.5 s after it is written. */
const PUSH_MS = 15_000
/** What does not come with an answer: copies, metrics, lines of logs. */
const EVENTUALLY_MS = 3_000
const TELEMETRY = 'telemetry: {ports: [15090, 15020, 15021]}\n'

export class Mesh {
  readonly istiod: Istiod
  readonly near: MeshAgent
  readonly far: MeshAgent
  readonly gateway: MeshAgent
  readonly external: ExternalTls
  readonly #identities = new Map<string, Identity>()
  #marker = 0
  #yaml = ''
  #settings = ''

  private constructor(
    istiod: Istiod,
    agents: { readonly near: MeshAgent; readonly far: MeshAgent; readonly gateway: MeshAgent },
    external: ExternalTls,
  ) {
    this.istiod = istiod
    this.near = agents.near
    this.far = agents.far
    this.gateway = agents.gateway
    this.external = external
  }

  static async start(t: Finally): Promise<Mesh> {
    const external = makeExternalTls(t)
    const outside = await Outside.connect(t, [EXTERNAL, EXTERNAL_TWO])
    for (const enter of [[], outside.enter])
      setCaptureRules(t, { uid: MESHLET_UID, inboundPorts: INBOUND_PORTS, enter })
    const istiod = await Istiod.create(t, { store: 'kube', env: ISTIOD_ENV, networks: NETWORKS })
    istiod.write('services', SERVICES_YAML + markerYaml('marker-0'))
    await istiod.start()
    const far = await createFar(t, istiod, outside, external)
    await serveNames(t, NAMES)
    await startApps(t, outside, { adminPort: far.agent.adminPort, external })
    const near = await MeshAgent.create(t, istiod, {
      name: 'curl-1',
      namespace: 'curl',
      serviceAccount: 'curl',
      app: 'curl',
      ip: HERE_IP,
      node: ['locality: {region: region1, zone: zone1}'],
      control: [`tlsFileFolders: [${external.folder}]`],
      env: { SSL_CERT_FILE: path.join(external.folder, 'root.pem') },
      rest: `capture: transparent\ndns: {upstreams: ["127.0.0.1:${UPSTREAM_PORT}"]}\n${TELEMETRY}`,
      launcher: [...withResolvConf(t), ...CAPTURE_LAUNCHER],
    })
    giveToMeshlet(near)
    const gateway = await createGateway(t, istiod)
    await Promise.all([near.start(), far.start(), gateway.start()])
    const mesh = new Mesh(istiod, { near, far, gateway }, external)
    await mesh.#write()
    return mesh
  }

  /** Puts this YAML, and these lines of mesh.yaml, in the place of what was set before; both agents have it afterwards. */
  async set({
    yaml = '',
    settings = '',
  }: {
    readonly yaml?: string | undefined
    readonly settings?: string | undefined
  }): Promise<void> {
    if (yaml === this.#yaml && settings === this.#settings) return
    if (settings !== this.#settings) await this.#writeSettings(settings)
    this.#yaml = yaml
    await this.#write()
  }
  async #writeSettings(settings: string): Promise<void> {
    this.#settings = settings
    // A setting without any effect here, to know the file again.
    const marker = `marker-${++this.#marker}`
    this.istiod.mesh(`ingressClass: ${marker}\n${settings}`)
    await this.istiod.until('the settings are in force', async () =>
      (await this.istiod.get('/debug/mesh'))?.text.includes(`"${marker}"`),
    )
  }
  async #write(): Promise<void> {
    const marker = `marker-${++this.#marker}`
    // One file, so that istiod sees all of it at once.
    this.istiod.write('services', SERVICES_YAML + this.#yaml + markerYaml(marker))
    const { process } = this.istiod
    const from = process.log.length
    const log = (): string => {
      if (!process.running) throw new Error(`istiod has ended: ${/panic.*/s.exec(process.log)?.[0].slice(0, 1500)}`)
      const said = process.log.slice(from)
      if (/configuration is invalid|services\.yaml:/.test(said))
        throw new Error(`istiod refuses it: ${said.slice(0, 500)}`)
      return said.slice(-1500)
    }
    for (const agent of [this.near, this.far, this.gateway])
      await until(
        `${marker} at ${agent.agent.folder}`,
        async () => (await agent.agent.get('/config_dump'))?.text.includes(`"${marker}"`),
        PUSH_MS,
        log,
      )
    let before = ''
    await until(
      'everything that was asked for has been sent and acknowledged',
      async () => {
        const state = await this.#acknowledged()
        const same = state !== undefined && state === before
        before = state ?? ''
        return same
      },
      PUSH_MS,
      log,
    )
  }
  /** The nonces of all types at both agents; undefined while one is neither acknowledged nor refused. */
  async #acknowledged(): Promise<string | undefined> {
    const nonces: string[] = []
    for (const { proxy, resources = {} } of await this.istiod.syncz())
      for (const [type, { sent = '', acked = '', lastError = '' }] of Object.entries(resources)) {
        if (sent !== acked && lastError === '') return undefined
        nonces.push(`${proxy} ${type} ${sent}`)
      }
    return nonces.sort().join('\n')
  }

  /** What an application over there got since it was asked the last time. */
  async seen(app: string): Promise<readonly Seen[]> {
    const res = await fetch(`http://${THERE_IP}:${TOLD_PORT}/?app=${app}`, { headers: { connection: 'close' } })
    return (await res.json()) as Seen[]
  }

  /** What `look` gives of the first that holds; of the last one after a while. */
  async eventually<T, R>(
    ask: () => Promise<T>,
    holds: (got: T) => boolean,
    look: (got: T) => R,
    withinMs = EVENTUALLY_MS,
  ): Promise<R> {
    const by = performance.now() + withinMs
    for (;;) {
      const got = await ask()
      if (holds(got) || performance.now() > by) return look(got)
      await sleep(50)
    }
  }

  async identity(namespace: string, serviceAccount: string): Promise<Identity> {
    const key = `${namespace}/${serviceAccount}`
    const known = this.#identities.get(key) ?? (await certificateOf(this.istiod, namespace, serviceAccount))
    this.#identities.set(key, known)
    return known
  }
  /** Straight to a port of the far machine, past the near agent: in plain text, as somebody without a sidecar. */
  plain(port: number, path: string, o: CallOptions = {}): Promise<Called> {
    return call(`http://${THERE_IP}:${port}${path}`, o)
  }
  /** The same with the certificate of another workload, by its namespace and service account. */
  async as(
    who: Identity | readonly [string, string],
    port: number,
    path: string,
    o: CallOptions = {},
    settings: Omit<tls.ConnectionOptions, 'port'> = {},
  ): Promise<Called> {
    const identity = 'keyPem' in who ? who : await this.identity(...who)
    const connect = (): Promise<net.Socket> =>
      meshConnect(identity, { host: THERE_IP, port, alpn: ['istio-http/1.1', 'istio', 'http/1.1'], ...settings })
    return call(`http://${THERE_IP}:${port}${path}`, { ...o, connect })
  }
  /** What a TCP server over there answers to the certificate of another workload; '' when it is refused. */
  async talkAs(who: readonly [string, string], port: number, text: string): Promise<string> {
    const identity = await this.identity(...who)
    try {
      return await talkOver(await meshConnect(identity, { host: THERE_IP, port, alpn: ['istio'] }), text)
    } catch {
      return ''
    }
  }
  /** The first bytes of the answer to a path as it is written here, in plain text. */
  raw(port: number, path: string): Promise<string> {
    return talk(THERE_IP, port, `GET ${path} HTTP/1.1\r\nhost: far\r\nconnection: close\r\n\r\n`)
  }
}

/** Starts a command with an /etc/resolv.conf of its own, in a mount namespace. */
function withResolvConf(t: Finally): string[] {
  const file = path.join(temporaryFolder(t, 0o755), 'resolv.conf')
  fs.writeFileSync(file, 'nameserver 127.0.0.1\n', { mode: 0o644 })
  return ['unshare', '--mount', 'sh', '-c', `mount --bind ${file} /etc/resolv.conf && exec "$@"`, 'sh']
}

const ISTIOD_ENV = {
  // What the newer way allocates is written into the status of objects, which the in-memory API has.
  PILOT_ENABLE_IP_AUTOALLOCATE: 'false',
  // TCPRoute.
  PILOT_ENABLE_ALPHA_GATEWAY_API: 'true',
  ENABLE_TLS_ON_SIDECAR_INGRESS: 'true',
  // A sidecar fetches keys itself where the issuer is a service of the mesh, else istiod does.
  PILOT_JWT_ENABLE_REMOTE_JWKS: 'hybrid',
  PILOT_ENABLE_PERSISTENT_SESSION_FILTER: 'true',
}

const NETWORKS = `networks:
  site-2:
    endpoints: [{fromCidr: 10.200.0.0/24}]
    gateways: [{address: ${GATEWAY.address}, port: ${GATEWAY.port}}]
  ${GATEWAY_NETWORK}:
    endpoints: [{fromCidr: 10.201.0.0/24}]
    gateways: [{address: ${GATEWAY_IP}, port: ${GATEWAY.port}}]
`

/** The far agent, whose ports for istiod and for its operator are relayed. */
async function createFar(t: Finally, istiod: Istiod, { enter }: Outside, external: ExternalTls): Promise<MeshAgent> {
  const [port] = (await freePorts(1)) as [number]
  await relay(t, { host: HERE_IP, port }, { host: '127.0.0.1', port: Number(istiod.address.split(':')[1]) })
  const far = await MeshAgent.create(t, istiod, {
    address: `${HERE_IP}:${port}`,
    name: 'bookinfo-1',
    namespace: 'default',
    serviceAccount: 'bookinfo',
    app: 'bookinfo',
    ip: THERE_IP,
    node: ['locality: {region: region1, zone: zone1}'],
    control: [`tlsFileFolders: [${external.folder}]`],
    rest: `capture: transparent\n${TELEMETRY}`,
    launcher: [...enter, ...CAPTURE_LAUNCHER],
  })
  giveToMeshlet(far)
  await relay(t, { host: '127.0.0.1', port: far.agent.adminPort }, { host: THERE_IP, port: far.agent.adminPort })
  return far
}

async function startApps(
  t: Finally,
  { enter }: Outside,
  { adminPort, external }: { readonly adminPort: number; readonly external: ExternalTls },
): Promise<void> {
  const job: AppsJob = {
    apps: FAR_APPS,
    told: { address: THERE_IP, port: TOLD_PORT },
    loopback: [adminPort],
    tls: external.server,
    jwks: JWKS,
  }
  const [command, ...args] = [...enter, process.execPath, `${import.meta.dirname}/apps.ts`, JSON.stringify(job)]
  const apps = start(t, command!, args)
  await apps.until('the applications are there', () => apps.log.includes('ready'))
}

type Place = { readonly host: string; readonly port: number }
async function relay(t: Finally, from: Place, to: Place): Promise<void> {
  const server = net
    .createServer((socket) => {
      const other = net.connect(to)
      for (const one of [socket, other])
        one.on('error', () => {
          socket.destroy()
          other.destroy()
        })
      socket.pipe(other).pipe(socket)
    })
    .listen(from.port, from.host)
  await once(server, 'listening')
  t.after(() => {
    server.close()
  })
}
