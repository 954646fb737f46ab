/**
 * `npm run bench -- churn`: does a request fail while the configuration changes and the control link comes and goes?
 * Two agents and a hub as shipped, mTLS between the agents; 1,000 requests a second from an application at the site,
 * 1,000 pushes, a hundred cuts of the control link.
 *
 * A cut ends the TCP connection under a stream that has stood for a second; the agent then comes back within half a
 * second, cut after cut. Streams that istiod ends by age are in test/conformance/istiod/ads/reconnect.test.ts: each
 * lasts its age and istiod's time of grace, which a hundred times over is half an hour.
 */
import fs from 'node:fs'
import http from 'node:http'
import os from 'node:os'
import path from 'node:path'
import { readCounter, sleep } from '../../../demo/processes.ts'
import { ORDERS } from '../../../demo/resources.ts'
import { Site } from '../../../demo/site.ts'
import type { RunOptions, Trial } from '../bench.ts'

const PUSHES = 1_000
const RECONNECTS = 100
const PER_SECOND = 1_000
/** Longer than the hub waits for a folder to be quiet, so that each write is a push of its own. */
const BETWEEN_PUSHES_MS = 160
/** So long a stream is up: it counts as one that stood (STOOD_MS of control-sync/sync.ts), with what it brings. */
const UP_MS = 1_200
const LOOK_MS = 50
const TICK_MS = 10
const LIMIT_MS = 240_000

export const churnTrial: Trial = {
  kind: 'trial',
  name: 'churn',
  asks: 'does a request fail while configuration is pushed and the control link comes and goes?',
  cases: {
    churn: `${PUSHES} pushes and ${RECONNECTS} reconnects under ${PER_SECOND} requests a second, three minutes, four at most`,
  },
  prints:
    'reconnects, pushes applied, requests, failed ones by what they got, milliseconds that a request took (p50, p99, longest), the longest time without a control plane; fails when a request failed',
  options: [],
  run,
}

type Result = {
  readonly reconnects: number
  readonly pushes: number
  readonly requests: number
  readonly failed: number
  readonly failures: Readonly<Record<string, number>>
  readonly perSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly longestMs: number
  /** From a cut to the first answer on the next stream. */
  readonly longestAwayMs: number
}

async function run({ json }: RunOptions): Promise<boolean> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'meshlet-churn-'))
  try {
    await using site = await Site.create(folder)
    await site.startHub()
    for (const name of ['cloud', 'edge'] as const) await site.bringUp(name)
    const r = await churned(site)
    const isWell = r.failed === 0 && r.pushes >= PUSHES && r.reconnects >= RECONNECTS
    console.log(
      json
        ? JSON.stringify({ bench: 'churn', ...r })
        : `${r.reconnects} reconnects, ${r.pushes} pushes applied, ${r.requests} requests (${r.perSecond}/s), ${r.failed} failed ${JSON.stringify(r.failures)}; ` +
            `p50 ${r.p50Ms} ms, p99 ${r.p99Ms} ms, longest ${r.longestMs} ms; longest time without a control plane ${r.longestAwayMs} ms: ${isWell ? 'all well' : 'NOT WELL'}`,
    )
    return isWell
  } finally {
    fs.rmSync(folder, { recursive: true, force: true })
  }
}

async function churned(site: Site): Promise<Result> {
  const load = new Load(site.edge.proxy)
  const file = path.join(site.folder, 'resources/edge/extra.yaml')
  const generation = (): Promise<number> => readCounter(site.edge.admin, 'mesh_config_generation')
  const before = await generation()
  const from = performance.now()
  const isLate = (): boolean => performance.now() - from > LIMIT_MS
  const cuts = cutting(site, isLate)
  const pushing = (async () => {
    for (let i = 0; !isLate() && (await generation()) - before < PUSHES; i++) {
      fs.writeFileSync(`${file}.new`, extra(i))
      fs.renameSync(`${file}.new`, file)
      await sleep(BETWEEN_PUSHES_MS)
    }
  })()
  const [away] = await Promise.all([cuts, pushing])
  const { sent, failures, tookMs } = await load.stop()
  const sorted = tookMs.sort((a, b) => a - b)
  const at = (part: number): number =>
    Number((sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? 0).toFixed(1))
  return {
    reconnects: away.length,
    pushes: (await generation()) - before,
    requests: sent,
    failed: Object.values(failures).reduce((a, b) => a + b, 0),
    failures,
    perSecond: Math.round(sent / ((performance.now() - from) / 1_000)),
    p50Ms: at(0.5),
    p99Ms: at(0.99),
    longestMs: at(1),
    longestAwayMs: Math.round(Math.max(0, ...away)),
  }
}

/** @returns of each cut after which a next stream came: for how long there was none, to LOOK_MS */
async function cutting(site: Site, isLate: () => boolean): Promise<number[]> {
  const away: number[] = []
  const isConnected = async (): Promise<boolean> => (await readCounter(site.edge.admin, 'mesh_control_connected')) === 1
  /** Of streams that had been answered. */
  const ended = (): Promise<number> => readCounter(site.edge.admin, 'mesh_control_streams_total', 'result="ended"')
  while (away.length < RECONNECTS && !isLate()) {
    const [cutMs, before] = [performance.now(), await ended()]
    site.links.control.cut()
    site.links.control.restore()
    while (!isLate() && !((await ended()) > before && (await isConnected()))) await sleep(LOOK_MS)
    if (isLate()) break
    away.push(performance.now() - cutMs)
    await sleep(UP_MS)
  }
  return away
}

/** Two clusters, one that changes and one that comes as another goes; nobody uses them. */
const extra = (i: number): string => `resources:
- {"@type": type.googleapis.com/envoy.config.cluster.v3.Cluster, name: extra, type: STATIC, connect_timeout: ${1 + (i % 50)}s, load_assignment: {cluster_name: extra, endpoints: []}}
- {"@type": type.googleapis.com/envoy.config.cluster.v3.Cluster, name: "extra-${i}", type: STATIC, load_assignment: {cluster_name: "extra-${i}", endpoints: []}}
`

/** So many requests a second, whether or not the ones before are answered. */
class Load {
  sent = 0
  readonly failures: Record<string, number> = {}
  readonly tookMs: number[] = []
  readonly #agent = new http.Agent({ keepAlive: true, maxSockets: 64 })
  readonly #port: number
  readonly #timer: NodeJS.Timeout
  readonly #started = performance.now()
  #open = 0
  constructor(port: number) {
    this.#port = port
    this.#timer = setInterval(() => {
      this.#tick()
    }, TICK_MS)
  }
  async stop(): Promise<Load> {
    clearInterval(this.#timer)
    while (this.#open > 0) await sleep(10)
    this.#agent.destroy()
    return this
  }
  #tick(): void {
    const due = Math.floor(((performance.now() - this.#started) / 1_000) * PER_SECOND)
    while (this.sent < due && this.#open < 500) this.#one()
  }
  #one(): void {
    this.sent++
    this.#open++
    const from = performance.now()
    const done = (what: string | undefined): void => {
      this.#open--
      this.tookMs.push(performance.now() - from)
      if (what !== undefined) this.failures[what] = (this.failures[what] ?? 0) + 1
    }
    const req = http.request(
      {
        host: '127.0.0.1',
        port: this.#port,
        path: `http://${ORDERS}/orders/${this.sent}`,
        headers: { host: ORDERS },
        agent: this.#agent,
        timeout: 10_000,
      },
      (res) => {
        res.resume()
        res.on('end', () =>
          done(
            res.statusCode === 200
              ? undefined
              : `${res.statusCode} ${String(res.headers['x-meshlet-error'] ?? '')}`.trim(),
          ),
        )
        res.on('error', (err) => done(err.message))
      },
    )
    req.on('timeout', () => {
      req.destroy(new Error('no answer in 10 s'))
    })
    req.on('error', (err) => done(err.message))
    req.end()
  }
}
