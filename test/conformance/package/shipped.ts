/** meshlet as it is shipped: the bundle copied alone into a folder with nothing beside it, run by plain node. */
import fs from 'node:fs'
import path from 'node:path'
import type { AgentStatus } from '../../../agent/admin/status.ts'
import { freePorts } from '../../../tools/free-ports.ts'
import { distFile, run, start, temporaryFolder, type Ended, type Finally, type Running } from '../programs.ts'

const EXAMPLES = path.resolve(import.meta.dirname, '../../../deploy/edge')

/**
 * An example file of deploy/edge with as little changed as a machine without /etc and port 1883 needs. Fails when a
 * text to replace is not there.
 */
export function example(name: 'agent.yaml' | 'hub.yaml', changes: Readonly<Record<string, string>>): string {
  let text = fs.readFileSync(path.join(EXAMPLES, name), 'utf8')
  for (const [from, to] of Object.entries(changes)) {
    if (!text.includes(from)) throw new Error(`deploy/edge/${name} does not contain "${from}" any more`)
    text = text.replaceAll(from, to)
  }
  return text
}

export class Agent {
  readonly folder: string
  readonly adminPort: number
  readonly #t: Finally
  readonly #bundle: string
  readonly #env: Record<string, string>
  /** A program with arguments that starts the agent as its child, or becomes it. */
  launcher: readonly string[] = []
  process!: Running

  private constructor(t: Finally, folder: string, adminPort: number, env: Record<string, string>) {
    this.#t = t
    this.folder = folder
    this.adminPort = adminPort
    this.#env = env
    // Two folders: the bundle's own stays empty but for it, configuration and state are elsewhere.
    this.#bundle = path.join(temporaryFolder(t), 'meshlet.cjs')
    fs.copyFileSync(distFile('meshlet.cjs'), this.#bundle)
  }

  /** Writes agent.yaml; starts nothing. `config` gets the folder for everything and the admin port. */
  static async create(
    t: Finally,
    config: (folder: string, adminPort: number) => string,
    env: Record<string, string> = {},
  ): Promise<Agent> {
    const [adminPort] = (await freePorts(1)) as [number]
    const agent = new Agent(t, temporaryFolder(t), adminPort, env)
    fs.writeFileSync(path.join(agent.folder, 'agent.yaml'), config(agent.folder, adminPort))
    return agent
  }
  get bundleFolder(): string {
    return path.dirname(this.#bundle)
  }
  get configFile(): string {
    return path.join(this.folder, 'agent.yaml')
  }

  /** Starts `meshlet run`, whatever becomes of it. */
  launch(): void {
    const [command, ...args] = [...this.launcher, process.execPath, this.#bundle, 'run', '--config', this.configFile]
    this.process = start(this.#t, command!, args, { cwd: this.bundleFolder, env: this.#env })
  }
  /** Starts `meshlet run` and waits until it is ready. */
  async start(): Promise<void> {
    this.launch()
    await this.process.until('the agent is ready', async () => (await this.get('/ready'))?.status === 200)
  }
  /** One subcommand to its end. */
  cli(args: readonly string[], o: { readonly input?: string } = {}): Promise<Ended> {
    return run(process.execPath, [this.#bundle, ...args], { cwd: this.bundleFolder, env: this.#env, ...o })
  }
  async get(page: string, method = 'GET'): Promise<{ status: number; text: string } | undefined> {
    try {
      const res = await fetch(`http://127.0.0.1:${this.adminPort}${page}`, { method, headers: { connection: 'close' } })
      return { status: res.status, text: await res.text() }
    } catch {
      return undefined
    }
  }
  async status(): Promise<AgentStatus | undefined> {
    const page = await this.get('/status')
    return page && (JSON.parse(page.text) as AgentStatus)
  }
}

/** agent.yaml in directory mode. */
export const directoryMode = (folder: string, adminPort: number, rest: string): string =>
  `node: {name: conformance}\ndirectory: ${folder}/resources\nstate: ${folder}/state\nadmin: {port: ${adminPort}}\n${rest}`

/** Writes Envoy-format resources as one file, for directory mode or a hub. */
export function writeResources(folder: string, resources: readonly object[], file = 'resources/all.json'): void {
  const to = path.join(folder, file)
  fs.mkdirSync(path.dirname(to), { recursive: true })
  fs.writeFileSync(to, JSON.stringify({ resources }))
}

/** A cluster with fixed addresses. */
export const staticCluster = (name: string, port: number, more: object = {}): object => ({
  '@type': 'type.googleapis.com/envoy.config.cluster.v3.Cluster',
  name,
  type: 'STATIC',
  connect_timeout: '2s',
  load_assignment: {
    cluster_name: name,
    endpoints: [
      { lb_endpoints: [{ endpoint: { address: { socket_address: { address: '127.0.0.1', port_value: port } } } }] },
    ],
  },
  ...more,
})

/** A route configuration that sends each host name to a cluster. */
export const hostRoutes = (name: string, clusters: Readonly<Record<string, string>>): object => ({
  '@type': 'type.googleapis.com/envoy.config.route.v3.RouteConfiguration',
  name,
  ignore_port_in_host_matching: true,
  virtual_hosts: Object.entries(clusters).map(([domain, cluster], i) => ({
    name: `v${i}`,
    domains: [domain],
    routes: [{ match: { prefix: '/' }, route: { cluster, timeout: '60s' } }],
  })),
})
