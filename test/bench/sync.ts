/** meshlet and Envoy under a real istiod, Envoy over its plain-text port and as far as it takes what a sidecar is sent. */
import { once } from 'node:events'
import fs from 'node:fs'
import net from 'node:net'
import path from 'node:path'
import { start, until, type Finally } from '../conformance/programs.ts'
import { envoyBinary } from '../conformance/peers.ts'
import { serviceEntry } from '../conformance/istiod/app.ts'
import { Istiod } from '../conformance/istiod/istiod.ts'
import { MeshAgent, NODE_IP } from '../conformance/istiod/mesh-agent.ts'
import { freePorts } from '../../deploy/tools/free-ports.ts'
import { messageOf, type NoRow, type PeerBench, type Row, type RunOptions } from './bench.ts'
import { cpuNs, rssMiB } from './measure.ts'

const SIZES = [1, 100, 1_000, 5_000]
/** Nothing has come for so long: the step is over. */
const QUIET_MS = 2_000

export const syncBench: PeerBench = {
  kind: 'peers', name: 'sync', asks: 'what does configuration cost at N services of a real istiod (built with the machine\'s Go)? the first sync, a stream that comes back, one endpoint changed, one service more',
  cases: Object.fromEntries(SIZES.map((size) => [String(size), `${size} service${size === 1 ? '' : 's'}`])), subjects: ['meshlet', 'envoy'],
  prints: 'CPU microseconds of the whole step, its duration (p50), RSS after it, KiB that came over the control link, writes to the disk', options: ['only'], rows,
}

async function* rows(options: RunOptions): AsyncIterable<Row | NoRow> {
  for (const size of SIZES.filter((n) => options.cases.includes(String(n)))) {
    for (const subject of options.subjects) {
      const cleanup: (() => void | Promise<void>)[] = []
      const t: Finally = { after: (fn) => { cleanup.push(fn) } }
      try {
        yield* subject === 'meshlet' ? meshlet(t, size) : envoy(t, size)
      } catch (err) {
        yield { bench: 'sync', case: String(size), subject, what: 'failed', why: messageOf(err) }
      } finally { for (const fn of cleanup.reverse()) await fn() }
    }
  }
}

function yamlOf(size: number, firstPort = 8080): string {
  const endpoint = (i: number, k: number): string => `10.${k + 1}.${i >> 8}.${i & 255}`
  return Array.from({ length: size }, (_, i) => serviceEntry(`svc-${i}`, { port: 80, endpoints: [0, 1, 2].map((k) => ({ address: endpoint(i, k), port: i === 0 ? firstPort : 8080 })) })).join('')
}

/** Counts what istiod sends, and cuts. */
class Meter implements Disposable {
  bytes = 0
  readonly #sockets = new Set<net.Socket>()
  readonly #server: net.Server
  private constructor(target: string) {
    const [host, port] = target.split(':') as [string, string]
    this.#server = net.createServer((near) => {
      const far = net.connect({ host, port: Number(port) })
      for (const [from, to] of [[near, far], [far, near]] as const) {
        this.#sockets.add(from)
        from.on('error', () => { /* close follows */ })
        from.on('close', () => { this.#sockets.delete(from); to.destroy() })
        from.pipe(to)
      }
      far.on('data', (d) => { this.bytes += d.length })
    })
  }
  static async before(target: string): Promise<Meter> {
    const meter = new Meter(target)
    await once(meter.#server.listen(0, '127.0.0.1'), 'listening')
    return meter
  }
  get address(): string { return `127.0.0.1:${(this.#server.address() as net.AddressInfo).port}` }
  cut(): void { for (const socket of this.#sockets) socket.destroy() }
  async quiet(): Promise<void> {
    for (let last = -1; this.bytes !== last;) { last = this.bytes; await new Promise((resolve) => { setTimeout(resolve, QUIET_MS) }) }
  }
  [Symbol.dispose](): void { this.cut(); this.#server.close() }
}

async function* meshlet(t: Finally, size: number): AsyncIterable<Row> {
  const istiod = await Istiod.create(t)
  istiod.write('services', yamlOf(size))
  await istiod.start()
  using meter = await Meter.before(istiod.address)
  const edge = await MeshAgent.create(t, istiod, { address: meter.address, env: { MALLOC_ARENA_MAX: '1', MALLOC_TRIM_THRESHOLD_: '65536', NODE_OPTIONS: '--max-semi-space-size=8 --v8-pool-size=1' } })
  const pid = (): number => edge.agent.process.child.pid!
  const saves = (): Promise<number> => edge.metric('mesh_config_saves_total')
  async function measured(what: string, step: () => Promise<void>): Promise<Row> {
    const [cpu, bytes, saved] = [what === 'first' ? 0 : cpuNs(pid()), meter.bytes, what === 'first' ? 0 : await saves()]
    const from = performance.now()
    await step()
    const ms = performance.now() - from
    await meter.quiet()
    return { bench: 'sync', case: `${what}-${size}`, subject: 'meshlet', cpuUs: (cpuNs(pid()) - cpu) / 1_000, perSecond: 1_000 / ms, p50Ms: ms, p99Ms: null, rssMiB: rssMiB(pid()), kib: (meter.bytes - bytes) / 1024, saves: (await saves()) - saved }
  }
  const clusters = async (): Promise<number> => (await edge.agent.status())?.config.resources['clusters'] ?? 0
  yield await measured('first', async () => { await edge.start(); await until('all clusters', async () => (await clusters()) >= size) })
  const generation = (await edge.status('a status')).config.generation
  yield await measured('reconnect', async () => { meter.cut(); await edge.status('away', (s) => s.control.link !== 'connected'); await edge.status('back', (s) => s.control.link === 'connected', 60_000) })
  const after = (await edge.status('a status')).config.generation
  if (after !== generation) console.error(`reconnect-${size}: generation ${generation} became ${after}, although nothing had changed`)
  yield await measured('endpoint', async () => { istiod.write('services', yamlOf(size, 9090)); await edge.status('applied', (s) => s.config.generation > after, 60_000) })
  yield await measured('service', async () => { istiod.write('more', serviceEntry('one-more', { port: 80, endpoints: [{ address: '10.9.9.9', port: 8080 }] })); await until('the cluster', async () => (await clusters()) > size, 60_000) })
}

async function* envoy(t: Finally, size: number): AsyncIterable<Row> {
  const istiod = await Istiod.create(t)
  istiod.write('services', yamlOf(size))
  await istiod.start()
  using meter = await Meter.before(istiod.plainAddress)
  const [adminPort] = (await freePorts(1)) as [number]
  const [host, port] = meter.address.split(':') as [string, string]
  const file = path.join(istiod.folder, 'envoy.json')
  const address = { address: { socket_address: { address: host, port_value: Number(port) } } }
  const ads = { ads: {}, resource_api_version: 'V3' }
  fs.writeFileSync(file, JSON.stringify({
    node: { id: `sidecar~${NODE_IP}~edge-1.edge~edge.svc.cluster.local`, cluster: 'edge.edge', metadata: { NAMESPACE: 'edge', SERVICE_ACCOUNT: 'gateway', INSTANCE_IPS: NODE_IP, CLUSTER_ID: 'Kubernetes', LABELS: { app: 'edge' }, INTERCEPTION_MODE: 'NONE', PROXY_CONFIG: { concurrency: 1 } } },
    admin: { address: { socket_address: { address: '127.0.0.1', port_value: adminPort } } },
    dynamic_resources: { cds_config: ads, lds_config: ads, ads_config: { api_type: 'DELTA_GRPC', transport_api_version: 'V3', grpc_services: [{ envoy_grpc: { cluster_name: 'istiod' } }] } },
    static_resources: { clusters: [{
      name: 'istiod', type: 'STATIC', connect_timeout: '1s', load_assignment: { cluster_name: 'istiod', endpoints: [{ lb_endpoints: [{ endpoint: address }] }] },
      typed_extension_protocol_options: { 'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': { '@type': 'type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions', explicit_http_config: { http2_protocol_options: {} } } },
    }] },
  }))
  const from = performance.now()
  const running = start(t, envoyBinary(), ['--concurrency', '1', '-l', 'critical', '-c', file])
  const pid = running.child.pid!
  const stat = async (name: string): Promise<number> => {
    const page = await fetch(`http://127.0.0.1:${adminPort}/stats?filter=^${name.replaceAll('.', '\\.')}$`).then((r) => r.text(), () => '')
    return Number(/: (\d+)/.exec(page)?.[1] ?? 0)
  }
  const row = (what: string, cpu: number, bytes: number, ms: number): Row => ({ bench: 'sync', case: `${what}-${size}`, subject: 'envoy', cpuUs: (cpuNs(pid) - cpu) / 1_000, perSecond: 1_000 / ms, p50Ms: ms, p99Ms: null, rssMiB: rssMiB(pid), kib: (meter.bytes - bytes) / 1024, saves: 0 })
  await until('Envoy has the clusters', async () => (await stat('cluster_manager.active_clusters')) > size, 60_000)
  const ms = performance.now() - from
  await meter.quiet()
  yield row('first', 0, 0, ms)
  const [cpu, bytes, updates] = [cpuNs(pid), meter.bytes, await stat('cluster_manager.cds.update_attempt')]
  const cutAt = performance.now()
  meter.cut()
  await until('Envoy is back', async () => (await stat('cluster_manager.cds.update_attempt')) > updates, 60_000)
  const back = performance.now() - cutAt
  await meter.quiet()
  yield row('reconnect', cpu, bytes, back)
}
