/** Two nodes, a hub, and the link between them: folders, configuration files and processes of the demo. */
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import type { AgentStatus } from '../agent/admin/status.ts'
import { Link } from './link.ts'
import { freePorts } from '../tools/free-ports.ts'
import { getJson, Program } from './processes.ts'
import { BROKER_CLUSTER, TRUST_DOMAIN, writeResources, type Ports } from './resources.ts'
import { startService, type Service } from './services.ts'

const DIST = path.resolve(import.meta.dirname, '../dist')
const AGENT = path.join(DIST, 'meshlet.cjs')
const HUB = path.join(DIST, 'meshlet-hub.cjs')

export type NodePorts = { readonly admin: number; readonly proxy: number; readonly mqtt: number }

export class Site implements AsyncDisposable {
  readonly folder: string
  readonly edge: NodePorts
  readonly cloud: NodePorts
  readonly resourcePorts: Ports
  readonly hub: Program
  readonly edgeAgent: Program
  readonly cloudAgent: Program
  /** To the hub, to cloud's HTTP and to cloud's MQTT: together the uplink. */
  readonly links: { readonly control: Link; readonly http: Link; readonly mqtt: Link }
  readonly orders: Service
  readonly plc: Service

  private constructor(p: {
    folder: string
    edge: NodePorts
    cloud: NodePorts
    resourcePorts: Ports
    links: Site['links']
    orders: Service
    plc: Service
    hubConfig: string
  }) {
    this.folder = p.folder
    this.edge = p.edge
    this.cloud = p.cloud
    this.resourcePorts = p.resourcePorts
    this.links = p.links
    this.orders = p.orders
    this.plc = p.plc
    this.hub = new Program('hub', [HUB, 'run', '--config', p.hubConfig], path.join(p.folder, 'hub.log'))
    this.edgeAgent = new Program(
      'edge',
      ['--max-semi-space-size=4', '--v8-pool-size=1', AGENT, 'run', '--config', path.join(p.folder, 'edge.yaml')],
      path.join(p.folder, 'edge.log'),
    )
    this.cloudAgent = new Program(
      'cloud',
      ['--max-semi-space-size=4', '--v8-pool-size=1', AGENT, 'run', '--config', path.join(p.folder, 'cloud.yaml')],
      path.join(p.folder, 'cloud.log'),
    )
  }

  static async create(folder: string): Promise<Site> {
    fs.rmSync(folder, { recursive: true, force: true })
    fs.mkdirSync(folder, { recursive: true, mode: 0o700 })
    const [hubPort, edgeAdmin, edgeProxy, edgeMqtt, cloudAdmin, cloudMqtt, cloudHttp, cloudMqtts] = (await freePorts(
      8,
    )) as [number, number, number, number, number, number, number, number]
    const [orders, plc] = [await startService('orders'), await startService('plc')]
    const links = { control: await Link.to(hubPort), http: await Link.to(cloudHttp), mqtt: await Link.to(cloudMqtts) }
    const resourcePorts: Ports = {
      linkHttp: links.http.port,
      linkMqtt: links.mqtt.port,
      cloudHttp,
      orders: orders.port,
      plc: plc.port,
    }
    writeResources(path.join(folder, 'resources'), resourcePorts)
    const hubConfig = path.join(folder, 'hub.yaml')
    fs.writeFileSync(
      hubConfig,
      `listen: 127.0.0.1:${hubPort}\nresources: ${folder}/resources\nstate: ${folder}/hub\ntrustDomain: ${TRUST_DOMAIN}\ndnsNames: [hub.demo.mesh]\nadmin: {port: 0}\n`,
    )
    const control = (port: number, node: string): string =>
      `control:\n  address: 127.0.0.1:${port}\n  serverName: hub.demo.mesh\n  roots: ${folder}/roots.pem\n  token: ${folder}/${node}.token\n`
    fs.writeFileSync(
      path.join(folder, 'edge.yaml'),
      `# The node at the site: it reaches hub and cloud only through the link.
node: {name: edge, namespace: edge, serviceAccount: gateway}
${control(links.control.port, 'edge')}state: ${folder}/edge
admin: {port: ${edgeAdmin}}
listeners:
- {name: http-proxy, kind: http_proxy, port: ${edgeProxy}}
- {name: mqtt, kind: mqtt, port: ${edgeMqtt}}
mqtt:
  routes:
  - {match: telemetry/#, direction: up, cluster: "${BROKER_CLUSTER}"}
  - {match: command/#, direction: down, cluster: "${BROKER_CLUSTER}"}
`,
    )
    fs.writeFileSync(
      path.join(folder, 'cloud.yaml'),
      `# The node beside the services: mTLS in, plain text to what stands beside it.
node: {name: cloud, namespace: cloud, serviceAccount: gateway}
${control(hubPort, 'cloud')}state: ${folder}/cloud
admin: {port: ${cloudAdmin}}
listeners:
- {name: mqtt, kind: mqtt, port: ${cloudMqtt}}
- {name: mqtts, kind: mqtt, port: ${cloudMqtts}, tls: {mode: mutual}}
`,
    )
    return new Site({
      folder,
      edge: { admin: edgeAdmin, proxy: edgeProxy, mqtt: edgeMqtt },
      cloud: { admin: cloudAdmin, proxy: 0, mqtt: cloudMqtt },
      resourcePorts,
      links,
      orders,
      plc,
      hubConfig,
    })
  }

  /** One join token, as an operator makes it. */
  token(node: string): void {
    const out = execFileSync(
      process.execPath,
      [
        HUB,
        'token',
        'create',
        '--config',
        path.join(this.folder, 'hub.yaml'),
        '--namespace',
        node,
        '--service-account',
        'gateway',
        '--node',
        node,
      ],
      { encoding: 'utf8' },
    )
    fs.writeFileSync(path.join(this.folder, `${node}.token`), out.trim(), { mode: 0o600 })
  }
  /** Token, start, and everything there that is needed to serve. */
  async bringUp(name: 'edge' | 'cloud'): Promise<AgentStatus> {
    const [agent, ports] = name === 'edge' ? [this.edgeAgent, this.edge] : [this.cloudAgent, this.cloud]
    this.token(name)
    agent.start()
    return agent.until(`${name} is ready`, async () => {
      const s = await this.status(ports)
      return s?.state === 'ready' && s.control.link === 'connected' ? s : undefined
    })
  }
  /** The hub, with the CA that it makes at its first start. */
  async startHub(): Promise<void> {
    this.hub.start()
    await this.hub.until('the hub makes its CA', async () =>
      fs.existsSync(path.join(this.folder, 'hub/ca/root-cert.pem')),
    )
    this.roots()
  }
  roots(): void {
    fs.copyFileSync(path.join(this.folder, 'hub/ca/root-cert.pem'), path.join(this.folder, 'roots.pem'))
  }

  status(node: NodePorts): Promise<AgentStatus | undefined> {
    return getJson<AgentStatus>(node.admin, '/status')
  }
  cutLink(): void {
    for (const link of Object.values(this.links)) link.cut()
  }
  restoreLink(): void {
    for (const link of Object.values(this.links)) link.restore()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.edgeAgent.kill('SIGTERM'), this.cloudAgent.kill('SIGTERM')])
    await this.hub.kill('SIGTERM')
    for (const thing of [...Object.values(this.links), this.orders, this.plc]) await thing[Symbol.asyncDispose]()
  }
}
