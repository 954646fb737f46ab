/** A shipped hub with three shipped agents on its relay, and a client at each that makes requests all the time. */
import fs from 'node:fs'
import http from 'node:http'
import { once } from 'node:events'
import type net from 'node:net'
import { freePorts } from '../../../tools/free-ports.ts'
import { distFile, run, sleep, start, temporaryFolder, until, type Finally, type Running } from '../programs.ts'

export const HOST = 'app.example.org'
const TYPE = 'type.googleapis.com/envoy.config'

/** The route and the cluster behind it. */
export const describeApp = (port: number): string => `resources:
- "@type": ${TYPE}.cluster.v3.Cluster
  name: app
  type: STATIC
  connect_timeout: 1s
  load_assignment:
    cluster_name: app
    endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: ${port}}}}}]}]
- "@type": ${TYPE}.route.v3.RouteConfiguration
  name: http_proxy
  virtual_hosts: [{name: app, domains: [${HOST}], routes: [{match: {prefix: /}, route: {cluster: app}}]}]
`

type Rollout = { readonly id: string; readonly state: string; readonly reason: string; readonly to: string }
type Who = {
  readonly name: string
  readonly connected: boolean
  readonly desired: string | null
  readonly inForce: string | null
  readonly refused: string | null
}

export class ShippedFleet {
  readonly folder: string
  readonly appPort: number
  readonly nodes: readonly Node[]
  readonly #t: Finally
  hub!: Running

  private constructor(t: Finally, p: { folder: string; appPort: number; nodes: readonly Node[] }) {
    this.#t = t
    this.folder = p.folder
    this.appPort = p.appPort
    this.nodes = p.nodes
  }

  /** @param settings of hub.yaml */
  static async start(t: Finally, settings: string): Promise<ShippedFleet> {
    const folder = temporaryFolder(t)
    const [grpc, relay, ...ports] = (await freePorts(8)) as [number, number, ...number[]]
    const appPort = await startApp(t)
    fs.mkdirSync(`${folder}/resources`)
    fs.writeFileSync(`${folder}/resources/app.yaml`, describeApp(appPort))
    fs.writeFileSync(
      `${folder}/hub.yaml`,
      `listen: 127.0.0.1:${grpc}
relay: {listen: "127.0.0.1:${relay}"}
dnsNames: [127.0.0.1]
resources: ${folder}/resources
state: ${folder}/hub
admin: {port: 0}
limits: {maxReportsPerMinute: 10000}
${settings}`,
    )
    const nodes = [0, 1, 2].map((n) => new Node(t, `gw-${n}`, { admin: ports[n]!, proxy: ports[n + 3]! }))
    const fleet = new ShippedFleet(t, { folder, appPort, nodes })
    fleet.startHub()
    await fleet.hub.listening(relay)
    const roots = await fleet.operate('roots')
    for (const node of nodes) {
      const token = await fleet.operate('token', 'create', '-n', 'edge', '-s', 'gateway', '--name', node.name)
      node.write({ relay, roots, token })
      node.start()
    }
    for (const node of nodes) await node.isWell()
    return fleet
  }

  startHub(): void {
    const args = [distFile('meshlet-hub.cjs'), 'run', '-c', `${this.folder}/hub.yaml`]
    this.hub = start(this.#t, process.execPath, args)
  }

  write(name: string, text: string): void {
    fs.writeFileSync(`${this.folder}/resources/${name}`, text)
  }
  remove(name: string): void {
    fs.rmSync(`${this.folder}/resources/${name}`)
  }

  async operate(...words: string[]): Promise<string> {
    const args = [distFile('meshlet-hub.cjs'), ...words, '-c', `${this.folder}/hub.yaml`]
    const { code, out, err } = await run(process.execPath, args)
    if (code !== 0) throw new Error(err)
    return out
  }
  async rollouts(): Promise<readonly Rollout[]> {
    return JSON.parse(await this.operate('rollout', 'list', '--json')) as Rollout[]
  }
  async who(): Promise<readonly Who[]> {
    return JSON.parse(await this.operate('revision', 'who', '--json')) as Who[]
  }
  /** Words of the audit log about it. */
  async audited(id: string): Promise<readonly string[]> {
    const rows = JSON.parse(await this.operate('audit', '--of', id, '-o', 'json')) as {
      event: string
      actor: string
      detail: string
    }[]
    return rows.map(({ event, actor, detail }) => `${actor} ${event} ${detail}`)
  }
  /** Of the rollout that has begun since `before`. */
  until(state: string, before: string, withinMs = 60_000): Promise<Rollout> {
    return this.hub.until(
      `the rollout is ${state}`,
      async () => (await this.rollouts()).find((r, i) => i === 0 && r.id !== before && r.state === state),
      withinMs,
    )
  }
  /** All have `revision` in force and refuse nothing. */
  async settled(revision: string): Promise<void> {
    await this.hub.until(
      `all have ${revision}`,
      async () => (await this.who()).every((d) => d.connected && d.inForce === revision && d.refused === null),
      60_000,
    )
  }
}

/** An agent, and the application beside it. */
export class Node {
  readonly name: string
  readonly #t: Finally
  readonly #ports: { readonly admin: number; readonly proxy: number }
  readonly #folder: string
  readonly #answers: number[] = []
  agent!: Running

  constructor(t: Finally, name: string, ports: { readonly admin: number; readonly proxy: number }) {
    this.#t = t
    this.name = name
    this.#ports = ports
    this.#folder = temporaryFolder(t)
    const calling = { goesOn: true }
    t.after(() => {
      calling.goesOn = false
    })
    void this.#callAll(calling)
  }

  write(p: { readonly relay: number; readonly roots: string; readonly token: string }): void {
    const folder = this.#folder
    fs.writeFileSync(`${folder}/roots.pem`, p.roots)
    fs.writeFileSync(`${folder}/token`, p.token.trim(), { mode: 0o600 })
    fs.writeFileSync(
      `${folder}/agent.yaml`,
      `node: {name: ${this.name}, namespace: edge, serviceAccount: gateway}
control: {address: "wss://127.0.0.1:${p.relay}", roots: ${folder}/roots.pem, token: ${folder}/token, reportMs: 200}
state: ${folder}/state
admin: {port: ${this.#ports.admin}}
listeners:
- {name: http-proxy, kind: http_proxy, port: ${this.#ports.proxy}}
`,
    )
  }
  start(): void {
    this.agent = start(this.#t, process.execPath, [
      distFile('meshlet.cjs'),
      'run',
      '--config',
      `${this.#folder}/agent.yaml`,
    ])
  }

  /** The next ten requests are answered. */
  async isWell(): Promise<void> {
    let from = this.#answers.length
    await until(
      `${this.name} serves`,
      () => {
        const since = this.#answers.slice(from)
        // Another ten, after one that failed.
        if (since.some((status) => status !== 200)) from = this.#answers.length
        return since.length >= 10 && since.every((status) => status === 200)
      },
      60_000,
      () => `${this.#answers.slice(-20).join()}\n${this.agent.log.slice(-3000)}`,
    )
  }
  /** How many of its requests have failed, by now. */
  get failures(): number {
    return this.#answers.filter((status) => status !== 200).length
  }

  async #callAll(calling: { readonly goesOn: boolean }): Promise<void> {
    while (calling.goesOn) {
      this.#answers.push(await call(this.#ports.proxy))
      await sleep(50)
    }
  }
}

/** Status; 0: no answer at all. */
function call(proxy: number): Promise<number> {
  return new Promise((resolve) => {
    const request = http.get({ port: proxy, host: '127.0.0.1', path: `http://${HOST}/`, headers: { host: HOST } })
    request.on('response', (response) => {
      response.resume()
      response.on('close', () => resolve(response.statusCode!))
    })
    request.on('error', () => resolve(0))
  })
}

async function startApp(t: Finally): Promise<number> {
  const server = http.createServer((_request, response) => {
    response.end('well')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return (server.address() as net.AddressInfo).port
}
