/** A data path whose codecs hold what they are given until the test ends it. Sockets and time are simulated. */
import type { MemoryBudget } from '../../../core/runtime/memory-budget.ts'
import type { Duplex } from 'node:stream'
import { Current } from '../../../core/current.ts'
import { silentLog } from '../../../core/log.ts'
import { Metrics } from '../../../core/metrics.ts'
import { parseCidr } from '../../../model/ip.ts'
import { ANY_CONNECTION, type FilterChain, type Listener } from '../../../model/listener.ts'
import type { Policy } from '../../../model/policy.ts'
import { EMPTY_TABLES, type Tables } from '../../../model/tables.ts'
import type { Codecs } from '../../../protocols/codecs.ts'
import { ENDED, type Connection, type Outcome } from '../../../protocols/connection.ts'
import { DEFAULT_LIMITS, type Context, type Limits } from '../../../protocols/context.ts'
import { DataPath } from '../../../protocols/downstream/data-path.ts'
import { seededRandom } from '../../helpers/random.ts'
import { Lines } from '../access-lines.ts'
import { settle, SimClock } from '../../helpers/sim-clock.ts'
import { SimNetwork } from '../../helpers/sim-network.ts'

export const PORT = { host: '10.0.0.1', port: 7000 }
export const tcpChain = (over: Partial<FilterChain> = {}): FilterChain => ({
  name: 'tcp',
  match: ANY_CONNECTION,
  tls: undefined,
  policies: [],
  codec: { kind: 'tcp', tcp: { clusters: [], idleMs: undefined } },
  ...over,
})
export const listener = (chains: readonly FilterChain[], over: Partial<Listener> = {}): Listener => ({
  name: 'one',
  address: PORT.host,
  port: PORT.port,
  bindToPort: true,
  direction: 'inbound',
  useOriginalDst: false,
  sniff: { tls: false, http: false, timeoutMs: 0, onTimeout: 'close' },
  filterChains: chains,
  defaultFilterChain: undefined,
  source: 'test',
  ...over,
})
export const tables = (...listeners: Listener[]): Tables => ({
  ...EMPTY_TABLES,
  listeners: new Map(listeners.map((l) => [l.name, l])),
})
export const denyFrom = (ip: string): Policy => ({
  action: 'deny',
  shadow: undefined,
  rules: [
    {
      name: 'no-entry',
      permissions: [{ kind: 'any' }],
      principals: [{ kind: 'direct-remote-ip', range: parseCidr(ip, 32)! }],
    },
  ],
})

export type Served = { conn: Connection; end: (outcome: Outcome) => void }
export type Rig = {
  path: DataPath
  ctx: Context
  network: SimNetwork
  clock: SimClock
  metrics: Metrics
  /** Of access logs. */
  lines: Lines
  current: Current<Tables>
  served: Served[]
  /** Listeners of agent.yaml; a swap of the tables looks at them again. */
  own: Listener[]
  /** Of the MQTT connections among them. */
  transports: string[]
  dial(from?: string): Promise<Duplex>
}

export async function rig(
  first: Tables,
  limits: Partial<Limits> = {},
  network = new SimNetwork(),
  own: Listener[] = [],
  budget?: MemoryBudget,
): Promise<Rig> {
  const clock = new SimClock()
  const metrics = new Metrics()
  const lines = new Lines()
  const current = new Current(first)
  const served: Served[] = []
  const transports: string[] = []
  const hold = (conn: Connection): Promise<Outcome> =>
    new Promise((resolve) => {
      served.push({ conn, end: resolve })
      conn.aborted.addEventListener('abort', () => resolve(ENDED), { once: true })
      conn.stream.on('close', () => resolve(ENDED))
      conn.stream.resume()
    })
  const mqtt: Codecs['mqtt'] = (conn, _mqtt, transport) => {
    transports.push(transport)
    return hold(conn)
  }
  const codecs: Codecs = { http1: hold, http2: hold, tcp: hold, mqtt }
  const ctx: Context = {
    clock,
    network,
    metrics,
    log: silentLog,
    accessLogs: lines,
    random: seededRandom(1),
    tables: current,
    identity: { current: () => undefined, watch: () => ({ [Symbol.dispose]: () => {} }) },
    limits: { ...DEFAULT_LIMITS, ...limits },
    ...(budget && { budget }),
  }
  const path = new DataPath(ctx, own, codecs)
  await path.open()
  const dial = async (from?: string): Promise<Duplex> => {
    const { stream } = await network.dial(PORT, new AbortController().signal, from === undefined ? {} : { from })
    stream.on('error', () => {}).resume()
    await settle()
    return stream
  }
  return { path, ctx, network, clock, metrics, lines, current, served, own, transports, dial }
}
export const failures = (r: Rig, code: string): number => r.metrics.total('mesh_connections_failed_total', { code })
