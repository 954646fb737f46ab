/** The shipped bundle under attack: an agent with every port that it has, in a memory cage, and a hub beside it. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import path from 'node:path'
import { freePorts } from '../../tools/free-ports.ts'
import { FILTERED_MANAGER } from './filtered.ts'
import { MemoryCage } from './memory-cage.ts'

const ROOT = path.resolve(import.meta.dirname, '../..')
const T = 'type.googleapis.com/envoy'

export type Ports = {
  readonly admin: number
  readonly web: number
  readonly filtered: number
  readonly proxy: number
  readonly mqtt: number
  readonly websocket: number
  readonly dns: number
  readonly origin: number
  readonly odd: number
  readonly odd2: number
  readonly informational: number
  readonly silentDns: number
  readonly refused: number
  readonly hub: number
  readonly hubAdmin: number
}

const endpoint = (port: number): object => ({ address: { socket_address: { address: '127.0.0.1', port_value: port } } })
const cluster = (name: string, port: number, more: object = {}): object => ({
  '@type': `${T}.config.cluster.v3.Cluster`,
  name,
  type: 'STATIC',
  connect_timeout: '1s',
  load_assignment: { cluster_name: name, endpoints: [{ lb_endpoints: [{ endpoint: endpoint(port) }] }] },
  ...more,
})
const http2 = {
  typed_extension_protocol_options: {
    'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
      '@type': `${T}.extensions.upstreams.http.v3.HttpProtocolOptions`,
      explicit_http_config: { http2_protocol_options: {} },
    },
  },
}
const route = (prefix: string, name: string): object => ({
  match: { prefix },
  route: { cluster: name, timeout: '10s' },
})

const ROUTES = {
  name: 'web',
  virtual_hosts: [
    {
      name: 'all',
      domains: ['*'],
      routes: [
        route('/odd2', 'odd2'),
        route('/odd', 'odd'),
        route('/refused', 'refused'),
        route('/informational', 'informational'),
        route('/', 'origin'),
      ],
    },
  ],
}
/** With upgrades, and a path that nobody may ask for. */
const MANAGER = {
  '@type': `${T}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager`,
  stat_prefix: 'web',
  route_config: ROUTES,
  upgrade_configs: [{ upgrade_type: 'websocket' }],
  http_filters: [
    {
      name: 'envoy.filters.http.rbac',
      typed_config: {
        '@type': `${T}.extensions.filters.http.rbac.v3.RBAC`,
        rules: {
          action: 'DENY',
          policies: {
            private: { permissions: [{ url_path: { path: { prefix: '/private' } } }], principals: [{ any: true }] },
          },
        },
      },
    },
    { name: 'envoy.filters.http.router', typed_config: { '@type': `${T}.extensions.filters.http.router.v3.Router` } },
  ],
}

const listener = (name: string, port: number, manager: object): object => ({
  '@type': `${T}.config.listener.v3.Listener`,
  name,
  address: { socket_address: { address: '127.0.0.1', port_value: port } },
  traffic_direction: 'INBOUND',
  listener_filters: [
    {
      name: 'envoy.filters.listener.http_inspector',
      typed_config: { '@type': `${T}.extensions.filters.listener.http_inspector.v3.HttpInspector` },
    },
  ],
  filter_chains: [{ filters: [{ name: 'envoy.filters.network.http_connection_manager', typed_config: manager }] }],
})

/** Ports with sniffing, and routes to well and badly behaved endpoints. */
function resources(p: Ports, isFiltered: boolean): object[] {
  return [
    cluster('origin', p.origin),
    cluster('odd', p.odd),
    cluster('odd2', p.odd2, http2),
    cluster('refused', p.refused),
    cluster('informational', p.informational),
    listener('web', p.web, MANAGER),
    ...(isFiltered ? [listener('filtered', p.filtered, FILTERED_MANAGER)] : []),
    {
      '@type': `${T}.config.route.v3.RouteConfiguration`,
      name: 'http_proxy',
      virtual_hosts: [{ name: 'all', domains: ['*'], routes: [route('/', 'origin')] }],
    },
  ]
}

const agentYaml = (folder: string, p: Ports): string => `node: {name: attacked}
directory: ${folder}/resources
state: ${folder}/state
admin: {port: ${p.admin}}
listeners:
- {name: proxy, kind: http_proxy, port: ${p.proxy}}
- {name: mqtt, kind: mqtt, port: ${p.mqtt}}
- {name: mqtt-ws, kind: mqtt, transport: websocket, port: ${p.websocket}}
dns: {port: ${p.dns}, upstreams: ["127.0.0.1:${p.silentDns}"], firstTableMs: 0}
`

export class Subject implements AsyncDisposable {
  readonly ports: Ports
  readonly folder: string
  readonly agent: ChildProcess
  readonly hub: ChildProcess
  logBytes = 0
  readonly #cages: readonly MemoryCage[]
  #log = ''
  #ownMiB = 0

  private constructor(folder: string, ports: Ports, cages: readonly [MemoryCage, MemoryCage]) {
    this.folder = folder
    this.ports = ports
    this.#cages = cages
    this.agent = this.#spawn(cages[0].launcher, ['meshlet.cjs', 'run', '--config', `${folder}/agent.yaml`], {
      MALLOC_ARENA_MAX: '1',
      MALLOC_TRIM_THRESHOLD_: '65536',
    })
    this.hub = this.#spawn(cages[1].launcher, ['meshlet-hub.cjs', 'run', '--config', `${folder}/hub.yaml`], {})
    this.agent.stdout!.on('data', (bytes: Buffer) => {
      this.logBytes += bytes.length
    })
  }

  /** @param isFiltered a second listener has many filters; to read so many fields takes a thread of 30 MiB for a while */
  static async start(folder: string, maxBytes: number, isFiltered = false): Promise<Subject> {
    const names = [
      'admin',
      'web',
      'filtered',
      'proxy',
      'mqtt',
      'websocket',
      'dns',
      'origin',
      'odd',
      'odd2',
      'informational',
      'silentDns',
      'refused',
      'hub',
      'hubAdmin',
    ] as const
    const found = await freePorts(names.length)
    const ports = Object.fromEntries(names.map((name, i) => [name, found[i]!])) as Ports
    fs.mkdirSync(`${folder}/resources`)
    fs.writeFileSync(`${folder}/resources/all.json`, JSON.stringify({ resources: resources(ports, isFiltered) }))
    fs.writeFileSync(`${folder}/agent.yaml`, agentYaml(folder, ports))
    fs.writeFileSync(
      `${folder}/hub.yaml`,
      `listen: 127.0.0.1:${ports.hub}\nadmin: {port: ${ports.hubAdmin}}\nresources: ${folder}/hub-resources\nstate: ${folder}/hub\n`,
    )
    const subject = new Subject(folder, ports, [
      new MemoryCage(`meshlet-attack-${process.pid}`, maxBytes),
      new MemoryCage(`meshlet-hub-attack-${process.pid}`, maxBytes),
    ])
    // One that does not come up must not stay either: the test would wait for it.
    await using failing = new AsyncDisposableStack()
    failing.use(subject)
    await subject.until('agent and hub are ready', async () =>
      (await Promise.all([ports.admin, ports.hubAdmin].map(answers))).every(Boolean),
    )
    failing.move()
    return subject
  }

  get log(): string {
    return this.#log
  }
  get alive(): boolean {
    return [this.agent, this.hub].every((one) => one.exitCode === null && one.signalCode === null)
  }
  /**
   * Highest resident memory of the two since the last call, MiB, and what of the most that was seen was their own:
   * pages of files the kernel takes back when it wants.
   */
  takePeakMiB(): { readonly rss: number; readonly own: number } {
    this.sample()
    const rss = Math.max(
      ...[this.agent, this.hub].map(({ pid }) => {
        try {
          const peak = mibOf(pid, 'VmHWM')
          fs.writeFileSync(`/proc/${pid}/clear_refs`, '5')
          return peak
        } catch {
          return 0
        }
      }),
    )
    const own = this.#ownMiB
    this.#ownMiB = 0
    return { rss, own }
  }
  /** To be called often. */
  sample(): void {
    this.#ownMiB = Math.max(
      this.#ownMiB,
      ...[this.agent, this.hub].map(({ pid }) => {
        try {
          return mibOf(pid, 'RssAnon')
        } catch {
          return 0
        }
      }),
    )
  }
  cpuMs(): number {
    const fields = fs.readFileSync(`/proc/${this.agent.pid}/stat`, 'utf8').split(') ')[1]!.split(' ')
    return (Number(fields[11]) + Number(fields[12])) * 10
  }

  async until(what: string, ask: () => Promise<boolean>, withinMs = 20_000): Promise<void> {
    for (const byMs = performance.now() + withinMs; performance.now() < byMs; await sleep(50)) if (await ask()) return
    throw new Error(`${what}: not within ${withinMs} ms\n${this.#log.slice(-4_000)}`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const one of [this.agent, this.hub]) {
      if (one.exitCode !== null || one.signalCode !== null) continue
      const over = once(one, 'exit')
      one.kill('SIGKILL')
      await over
    }
    await sleep(100)
    for (const cage of this.#cages) cage[Symbol.dispose]()
  }

  #spawn(
    [command, ...before]: readonly string[],
    [program, ...args]: readonly string[],
    env: Record<string, string>,
  ): ChildProcess {
    const child = spawn(
      command!,
      [
        ...before,
        process.execPath,
        '--max-semi-space-size=4',
        '--v8-pool-size=1',
        path.join(ROOT, 'dist', program!),
        ...args,
      ],
      { stdio: ['ignore', 'pipe', 'pipe'], env: { PATH: '/usr/bin:/bin', ...env } },
    )
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (bytes: Buffer) => {
        this.#log = (this.#log + bytes.toString()).slice(-200_000)
      })
    return child
  }
}

function mibOf(pid: number | undefined, field: string): number {
  return (
    Number(new RegExp(`^${field}:\\s+(\\d+)`, 'm').exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) /
    1024
  )
}
export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms)
  })
}
function answers(port: number): Promise<boolean> {
  return fetch(`http://127.0.0.1:${port}/ready`).then(
    (res) => res.status === 200,
    () => false,
  )
}
