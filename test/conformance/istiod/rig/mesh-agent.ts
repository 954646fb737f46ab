/** The shipped agent pointed at a real istiod, with the settings that these tests need. */
import Database from 'better-sqlite3'
import fs from 'node:fs'
import http from 'node:http'
import path from 'node:path'
import type { AgentStatus } from '../../../../agent/admin/status.ts'
import { freePorts } from '../../../../tools/free-ports.ts'
import { until, type Finally } from '../../programs.ts'
import { Agent } from '../../package/shipped.ts'
import { ISTIOD_NAME, type Istiod } from './istiod.ts'
import type { TokenClaims } from './tokens.ts'

export type MeshAgentOptions = {
  /** HOST:PORT instead of istiod's own, for something that stands in between. */
  readonly address?: string
  readonly env?: Record<string, string>
  /** Tried in turn after the first. */
  readonly more?: readonly Istiod[]
  /** Of the node; default: edge-1 in edge as gateway, at NODE_IP with app edge. */
  readonly name?: string
  readonly namespace?: string
  readonly serviceAccount?: string
  readonly ip?: string
  readonly app?: string
  /** Of the token; default: those of the node. */
  readonly claims?: TokenClaims
  /** YAML of further `node` settings, one a line. */
  readonly node?: readonly string[]
  /** YAML of further `control` settings, one a line. */
  readonly control?: readonly string[]
  /** Further top-level YAML. */
  readonly rest?: string
  /** Further listeners, one YAML flow mapping each. */
  readonly listeners?: readonly string[]
  readonly serverName?: string
  /** See Agent. */
  readonly launcher?: readonly string[]
}

/** Not 127.0.0.1: whoever has an endpoint of a service as its address is taken for that service's workload. */
export const NODE_IP = '127.0.0.9'

/** A second node on this machine, somewhere else in the mesh. */
export const CLOUD = {
  name: 'cloud-1',
  namespace: 'shop',
  serviceAccount: 'client',
  app: 'cloud',
  ip: '127.0.0.8',
} as const

export class MeshAgent {
  readonly agent: Agent
  /** Of the explicit HTTP proxy. */
  readonly proxyPort: number
  private constructor(agent: Agent, proxyPort: number) {
    this.agent = agent
    this.proxyPort = proxyPort
  }

  /** Writes configuration, roots and token; starts nothing. */
  static async create(t: Finally, istiod: Istiod, o: MeshAgentOptions = {}): Promise<MeshAgent> {
    const [proxyPort] = (await freePorts(1)) as [number]
    const { name = 'edge-1', namespace = 'edge', serviceAccount = 'gateway', ip = NODE_IP, app = 'edge' } = o
    const lines = (all: readonly string[] = []): string => all.map((l) => `  ${l}\n`).join('')
    const agent = await Agent.create(
      t,
      (folder, adminPort) => `node:
  name: ${name}
  namespace: ${namespace}
  serviceAccount: ${serviceAccount}
  ip: ${ip}
  labels: {app: ${app}}
${lines(o.node)}control:
  address: [${[o.address ?? istiod.address, ...(o.more ?? []).map((i) => i.address)].join(', ')}]
  serverName: ${o.serverName ?? ISTIOD_NAME}
  roots: ${folder}/roots.pem
  token: ${folder}/token
${lines(o.control)}state: ${folder}/state
admin: {port: ${adminPort}}
listeners:
- {name: http-proxy, kind: http_proxy, port: ${proxyPort}}
${(o.listeners ?? []).map((l) => `- ${l}\n`).join('')}${o.rest ?? ''}`,
      o.env,
    )
    agent.launcher = o.launcher ?? []
    const made = new MeshAgent(agent, proxyPort)
    made.roots(istiod.ca.rootPem)
    made.token(istiod.token({ namespace, serviceAccount, ...o.claims }))
    return made
  }
  roots(pem: string): void {
    fs.writeFileSync(path.join(this.agent.folder, 'roots.pem'), pem)
  }
  token(token: string): void {
    fs.writeFileSync(path.join(this.agent.folder, 'token'), token, { mode: 0o600 })
  }
  get stateFolder(): string {
    return path.join(this.agent.folder, 'state')
  }

  /** Ready, connected, and everything that was sent is in force and acknowledged. */
  async start(): Promise<void> {
    await this.agent.start()
    await this.status('the configuration is confirmed', (s) => s.control.link === 'connected' && !s.config.stale)
  }
  /** SIGKILL: what is not on disk is gone. */
  async kill(): Promise<void> {
    await this.agent.process.stop('SIGKILL')
  }

  /** The first status for which `holds`. */
  status(what: string, holds: (s: AgentStatus) => boolean = () => true, withinMs?: number): Promise<AgentStatus> {
    let last: AgentStatus | undefined
    return until(
      what,
      async () => {
        last = await this.agent.status()
        return last && holds(last) ? last : undefined
      },
      withinMs,
      () => `${JSON.stringify(last, null, 1)}\n${this.agent.process.log.slice(-3000)}`,
    )
  }
  /** Waits until the generation that is served is on disk: a push is written when it has settled. */
  async saved(): Promise<void> {
    const {
      config: { generation },
    } = await this.status('a status')
    await until(`generation ${generation} is on disk`, () => this.#storedGeneration() === String(generation))
  }
  #storedGeneration(): string | undefined {
    // The agent has the database for itself: a copy is looked at.
    const copy = fs.mkdtempSync(path.join(this.agent.folder, 'snapshot-'))
    for (const name of fs.readdirSync(this.stateFolder))
      if (/^snapshot\.db(-wal)?$/.test(name)) fs.copyFileSync(path.join(this.stateFolder, name), path.join(copy, name))
    const db = new Database(path.join(copy, 'snapshot.db'))
    try {
      return (db.prepare("SELECT value FROM state WHERE key = 'generation'").get() as { value: string } | undefined)
        ?.value
    } catch {
      return undefined
    } finally {
      db.close()
      fs.rmSync(copy, { recursive: true })
    }
  }
  problems(): Promise<readonly string[]> {
    return this.status('a status').then((s) => s.problems.map((p) => `${p.code}: ${p.text}`))
  }
  /** One counter or gauge, summed over the label sets that contain `label`. */
  async metric(name: string, label = ''): Promise<number> {
    const page = await this.agent.get('/stats/prometheus')
    return (page?.text ?? '')
      .split('\n')
      .filter((l) => (l.startsWith(`${name}{`) || l.startsWith(`${name} `)) && l.includes(label))
      .reduce((sum, l) => sum + Number(l.slice(l.lastIndexOf(' '))), 0)
  }
  /** A request through the explicit proxy; a failed connection is status 0. */
  get(url: string, o: RequestOptions = {}): Promise<Answer> {
    const { host } = new URL(url)
    return request({ ...o, port: this.proxyPort, path: url, headers: { host, ...o.headers } })
  }
  /** The first answer through the proxy for which `holds`. */
  until(url: string, holds: (a: Answer) => boolean, o: RequestOptions = {}): Promise<Answer> {
    let last: Answer | undefined
    return until(
      url,
      async () => {
        last = await this.get(url, o)
        return holds(last) && last
      },
      10_000,
      () => `${JSON.stringify(last)}\n${this.agent.process.log.slice(-3000)}`,
    )
  }
}

export type RequestOptions = {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly agent?: http.Agent
}
export type Answer = { readonly status: number; readonly body: string; readonly headers: http.IncomingHttpHeaders }

/** Nothing here takes longer, but for what is stuck. */
const REQUEST_MS = 5_000

/** Never rejects: what failed is status 0 with the reason as its body. */
export function request(
  o: RequestOptions & { readonly host?: string; readonly port: number; readonly path: string },
): Promise<Answer> {
  return new Promise((resolve) => {
    const failed = (err: Error): void => {
      resolve({ status: 0, body: String(err), headers: {} })
    }
    const req = http.request({ host: '127.0.0.1', agent: false, timeout: REQUEST_MS, ...o }, (res) => {
      let body = ''
      res.on('data', (d: Buffer) => {
        body += d.toString()
      })
      res.on('end', () => {
        resolve({ status: res.statusCode ?? 0, body, headers: res.headers })
      })
      res.on('error', failed)
    })
    req.on('timeout', () => {
      req.destroy(new Error(`no answer in ${REQUEST_MS} ms`))
    })
    req.on('error', failed)
    req.end()
  })
}
