/**
 * Whole agents in this process on real loopback sockets: a hub in directory mode, `edge` that reaches hub and cloud
 * only through links that can be cut, `cloud` beside a service. The resources are those of the demo.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import fs from 'node:fs'
import http from 'node:http'
import type net from 'node:net'
import path from 'node:path'
import { startAgent, type Agent } from '../../agent/agent.ts'
import type { EnvironmentProxy } from '../../model/ip.ts'
import type { AgentConfig } from '../../agent/config/schema.ts'
import { loadConfig } from '../../agent/config/load.ts'
import { createLog } from '../../core/log.ts'
import { createRealWorld } from '../../core/real-world.ts'
import type { World } from '../../core/world.ts'
import type { AgentStatus } from '../../agent/admin/status.ts'
import { Link } from '../../demo/link.ts'
import { freePorts } from '../../tools/free-ports.ts'
import { BROKER_CLUSTER, TRUST_DOMAIN, writeResources, type Ports } from '../../demo/resources.ts'
import { App } from '../../demo/services.ts'
import { testHub, type TestHub } from '../hub/start-hub.ts'
import { temporaryFolder } from '../helpers/temporary-folder.ts'

export type Finally = { after(fn: () => void | Promise<void>): void }
export type Answer = { readonly status: number; readonly type: string; readonly body: string }

/** Asks again until something comes; fails after ten seconds, saying what did not happen. */
export async function until<T>(
  what: string,
  ask: () => Promise<T | undefined | false> | T | undefined | false,
): Promise<T> {
  const by = performance.now() + 10_000
  for (;;) {
    const got = await ask()
    if (got !== undefined && got !== false) return got
    if (performance.now() > by) assert.fail(`did not happen: ${what}`)
    await new Promise((resolve) => {
      setTimeout(resolve, 5)
    })
  }
}

/** An agent that can be stopped and started again on the same state folder. */
export class TestAgent {
  readonly folder: string
  readonly lines: Record<string, unknown>[] = []
  /** Of access logs. */
  readonly output: string[] = []
  yaml: string
  /** Parts of the world that are not the real ones. */
  over: Partial<World> = {}
  builtAtMs: number | undefined
  /** Of the environment. */
  proxy: EnvironmentProxy | undefined
  /** Undefined: the machine's own. */
  ip: string | undefined = '127.0.0.1'
  /** Port; 0: any. */
  admin = 0
  #agent: Agent | undefined

  /** @param yaml agent.yaml without `state` and `admin`, which are the test's */
  constructor(t: Finally, yaml: string) {
    t.after(() => this.stop())
    this.folder = temporaryFolder(t)
    this.yaml = yaml
  }
  get agent(): Agent {
    return this.#agent ?? assert.fail('the agent does not run')
  }

  async start(): Promise<Agent> {
    const log = createLog('debug', {
      write: (line) => {
        this.lines.push(JSON.parse(line) as Record<string, unknown>)
      },
    })
    const world = { ...createRealWorld({ bundle: undefined }), ...this.over }
    this.#agent = await startAgent(this.#load(), world, {
      log,
      output: {
        writeLine: (line) => {
          this.output.push(Buffer.from(line).toString())
          return true
        },
      },
      version: '0.0.0-test',
      builtAtMs: this.builtAtMs,
      hostName: 'test-host',
      ip: this.ip,
      readConfig: () => this.#load(),
      readEnvironmentProxy: () => this.proxy,
    })
    return this.#agent
  }
  #load(): AgentConfig {
    const loaded = loadConfig(`${this.yaml}\nstate: ${this.folder}/state\nadmin: {port: ${this.admin}}\n`)
    return loaded.ok ? loaded.config : assert.fail(JSON.stringify(loaded.problems))
  }
  async stop(): Promise<void> {
    const agent = this.#agent
    this.#agent = undefined
    await agent?.[Symbol.asyncDispose]()
    // Elsewhere a defect fails the test by being uncaught; an agent takes and logs it.
    assert.deepEqual(
      this.lines.filter((line) => line['evt'] === 'defect'),
      [],
    )
  }
  status(): AgentStatus {
    return this.agent.status()
  }
  problems(): string[] {
    return this.status().problems.map((p) => p.code)
  }
  port(listener: string): number {
    return this.agent.portOf(listener) ?? assert.fail(`no port of ${listener}`)
  }
  connected(): Promise<true> {
    return until('the agent is ready and connected', () => {
      const s = this.status()
      return s.state === 'ready' && s.control.link === 'connected'
    })
  }
  ask(page: string, method: 'GET' | 'POST' = 'GET'): Promise<Answer> {
    return ask(this.agent.adminPort, page, method)
  }
}

export async function ask(port: number, page: string, method: 'GET' | 'POST' = 'GET'): Promise<Answer> {
  const req = http.request({ host: '127.0.0.1', port, path: page, method, agent: false })
  req.end()
  const [res] = (await once(req, 'response')) as [http.IncomingMessage]
  const body = (await res.toArray()).map(String).join('')
  return { status: res.statusCode ?? 0, type: String(res.headers['content-type']), body }
}

/** Answers with what it saw; `/slow` sends one part and the other only after `release`. */
export class Service {
  readonly callers = new Set<string>()
  readonly port: number
  #held: (() => void)[] = []
  private constructor(port: number) {
    this.port = port
  }

  static async start(t: Finally): Promise<Service> {
    const server = http.createServer((req, res) => {
      const uri = /URI=([^;,]+)/.exec(String(req.headers['x-forwarded-client-cert']))?.[1]
      if (uri !== undefined) service.callers.add(uri)
      if (req.url !== '/slow') {
        res.end(`${req.method} ${req.url}`)
        return
      }
      res.write('first ')
      service.#held.push(() => {
        res.end('last')
      })
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const service = new Service((server.address() as net.AddressInfo).port)
    t.after(() => {
      server.closeAllConnections()
      server.close()
    })
    return service
  }
  get holding(): number {
    return this.#held.length
  }
  release(): void {
    for (const end of this.#held.splice(0)) end()
  }
}

export type Site = {
  readonly hub: TestHub
  readonly edge: TestAgent
  readonly cloud: TestAgent
  readonly orders: Service
  readonly links: { readonly control: Link; readonly cloudControl: Link; readonly http: Link; readonly mqtt: Link }
  readonly ports: Ports
  /** An application beside edge, through its explicit proxy port. */
  app(): App
}

/** What both agents have besides: lines of `control`, and sections of agent.yaml. */
export type SiteOptions = {
  readonly over?: Partial<World>
  readonly control?: string
  readonly yaml?: string
  readonly hub?: string
}

/** Enrolled, configured, connected. */
export async function startSite(t: Finally, o: SiteOptions = {}): Promise<Site> {
  const hub = await testHub(t, o.hub)
  const orders = await Service.start(t)
  const [cloudHttp, cloudMqtts] = (await freePorts(2)) as [number, number]
  const links = {
    control: await Link.to(hub.hub.port),
    cloudControl: await Link.to(hub.hub.port),
    http: await Link.to(cloudHttp),
    mqtt: await Link.to(cloudMqtts),
  }
  for (const link of Object.values(links)) t.after(() => link[Symbol.asyncDispose]())
  const ports: Ports = {
    linkHttp: links.http.port,
    linkMqtt: links.mqtt.port,
    cloudHttp,
    orders: orders.port,
    plc: orders.port,
  }
  writeResources(path.join(hub.folder, 'resources'), ports)
  const folder = temporaryFolder(t)
  fs.writeFileSync(path.join(folder, 'roots.pem'), hub.hub.rootsPem)
  const edge = new TestAgent(t, edgeYaml(folder, links.control.port, o))
  const cloud = new TestAgent(t, cloudYaml(folder, links.cloudControl.port, cloudMqtts, o))
  for (const [name, agent] of [
    ['edge', edge],
    ['cloud', cloud],
  ] as const) {
    agent.over = o.over ?? {}
    fs.writeFileSync(
      path.join(folder, `${name}.token`),
      (await hub.hub.createToken({ namespace: name, serviceAccount: 'gateway', nodes: '*' })).token,
    )
    await agent.start()
  }
  await Promise.all([edge.connected(), cloud.connected()])
  return {
    hub,
    edge,
    cloud,
    orders,
    links,
    ports,
    app() {
      const app = new App(edge.port('http-proxy'))
      t.after(() => app[Symbol.dispose]())
      return app
    },
  }
}

const edgeYaml = (folder: string, controlPort: number, o: SiteOptions): string =>
  `node: {name: edge, namespace: edge, serviceAccount: gateway}
${controlYaml(folder, 'edge', controlPort)}${o.control ?? ''}${o.yaml ?? ''}listeners:
- {name: http-proxy, kind: http_proxy, port: 0}
- {name: mqtt, kind: mqtt, port: 0}
mqtt:
  routes:
  - {match: telemetry/#, direction: up, cluster: "${BROKER_CLUSTER}"}
  - {match: command/#, direction: down, cluster: "${BROKER_CLUSTER}"}`

const cloudYaml = (folder: string, controlPort: number, mqttsPort: number, o: SiteOptions): string =>
  `node: {name: cloud, namespace: cloud, serviceAccount: gateway}
${controlYaml(folder, 'cloud', controlPort)}${o.control ?? ''}${o.yaml ?? ''}listeners:
- {name: mqtt, kind: mqtt, port: 0}
- {name: mqtts, kind: mqtt, port: ${mqttsPort}, tls: {mode: mutual}}`

export function controlYaml(folder: string, node: string, port: number): string {
  return `control:\n  address: 127.0.0.1:${port}\n  serverName: hub.${TRUST_DOMAIN}\n  roots: ${folder}/roots.pem\n  token: ${folder}/${node}.token\n`
}
