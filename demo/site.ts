/** Two nodes and a third that joins later, a hub, and the link between the first two: folders, configuration files and processes of the demo. */
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import type { AgentStatus } from '../agent/admin/status.ts'
import { Link } from './link.ts'
import { freePorts } from '../tools/free-ports.ts'
import { getJson, Program } from './processes.ts'
import { writeResources, type Ports } from './resources.ts'
import { startService, type Service } from './services.ts'
import { writeConfiguration } from './site-files.ts'

const DIST = path.resolve(import.meta.dirname, '../dist')
const AGENT = path.join(DIST, 'meshlet.cjs')
const HUB = path.join(DIST, 'meshlet-hub.cjs')

type Six = [number, number, number, number, number, number]
type Seven = [...Six, number]
export type NodePorts = { readonly admin: number; readonly proxy: number; readonly mqtt: number }

export class Site implements AsyncDisposable {
  readonly folder: string
  readonly edge: NodePorts
  readonly cloud: NodePorts
  readonly line2: NodePorts
  readonly apiPort: number
  readonly resourcePorts: Ports
  readonly hub: Program
  readonly edgeAgent: Program
  readonly cloudAgent: Program
  readonly line2Agent: Program
  /** To the hub, to cloud's HTTP and to cloud's MQTT: together the uplink. */
  readonly links: { readonly control: Link; readonly http: Link; readonly mqtt: Link }
  readonly orders: Service
  readonly plc: Service

  private constructor(p: {
    folder: string
    edge: NodePorts
    cloud: NodePorts
    line2: NodePorts
    apiPort: number
    resourcePorts: Ports
    links: Site['links']
    orders: Service
    plc: Service
    hubConfig: string
  }) {
    this.folder = p.folder
    this.edge = p.edge
    this.cloud = p.cloud
    this.line2 = p.line2
    this.apiPort = p.apiPort
    this.resourcePorts = p.resourcePorts
    this.links = p.links
    this.orders = p.orders
    this.plc = p.plc
    this.hub = new Program('hub', [HUB, 'run', '--config', p.hubConfig], path.join(p.folder, 'hub.log'))
    const agent = (name: string): Program =>
      new Program(
        name,
        ['--max-semi-space-size=4', '--v8-pool-size=1', AGENT, 'run', '--config', path.join(p.folder, `${name}.yaml`)],
        path.join(p.folder, `${name}.log`),
      )
    this.edgeAgent = agent('edge')
    this.cloudAgent = agent('cloud')
    this.line2Agent = agent('line2')
  }

  static async create(folder: string): Promise<Site> {
    fs.rmSync(folder, { recursive: true, force: true })
    fs.mkdirSync(folder, { recursive: true, mode: 0o700 })
    const ports = await freePorts(13)
    const [hubPort, edgeAdmin, edgeProxy, edgeMqtt, cloudAdmin, cloudMqtt, cloudHttp] = ports as Seven
    const [cloudMqtts, apiPort, consolePort, hubAdmin, lineAdmin, lineProxy] = ports.slice(7) as Six
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
    const hub = { hubPort, apiPort, consolePort, hubAdmin, viaLink: links.control.port }
    const nodes = { edgeAdmin, edgeProxy, edgeMqtt, cloudAdmin, cloudMqtt, cloudMqtts, lineAdmin, lineProxy }
    writeConfiguration(folder, { ...hub, ...nodes })
    return new Site({
      folder,
      edge: { admin: edgeAdmin, proxy: edgeProxy, mqtt: edgeMqtt },
      cloud: { admin: cloudAdmin, proxy: 0, mqtt: cloudMqtt },
      line2: { admin: lineAdmin, proxy: lineProxy, mqtt: 0 },
      apiPort,
      resourcePorts,
      links,
      orders,
      plc,
      hubConfig: path.join(folder, 'hub.yaml'),
    })
  }

  /** `meshlet-hub …`, as an operator calls it. @returns what it prints */
  operate(...args: readonly string[]): string {
    const config = ['--config', path.join(this.folder, 'hub.yaml')]
    return execFileSync(process.execPath, [HUB, ...args, ...config], { encoding: 'utf8', stdio: 'pipe' }).trim()
  }
  /** One join token. */
  token(node: string): void {
    const token = this.operate('token', 'create', '-n', node, '-s', 'gateway', '--name', node)
    fs.writeFileSync(path.join(this.folder, `${node}.token`), token, { mode: 0o600 })
  }
  /** `meshlet join https://…` with the token on standard input. @returns the command, as it was given */
  join(token: string): string {
    const args = ['join', `https://127.0.0.1:${this.apiPort}`, '--token', '-', '--config', `${this.folder}/line2.yaml`]
    execFileSync(process.execPath, [AGENT, ...args], { input: token, stdio: ['pipe', 'ignore', 'inherit'] })
    return `meshlet ${args.join(' ')}`
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
    await Promise.all([this.edgeAgent, this.cloudAgent, this.line2Agent].map((agent) => agent.kill('SIGTERM')))
    await this.hub.kill('SIGTERM')
    for (const thing of [...Object.values(this.links), this.orders, this.plc]) await thing[Symbol.asyncDispose]()
  }
}
