/**
 * `npm run bench -- churn`: does a request fail while the configuration changes and the control link comes and goes? Two agents and a hub as
 * shipped, mTLS between the agents; 1,000 requests a second from an application at the site, 1,000 pushes, ten cuts of the control link.
 */
import fs from 'node:fs'
import http from 'node:http'
import os from 'node:os'
import path from 'node:path'
import { counter } from '../../deploy/demo/processes.ts'
import { ORDERS } from '../../deploy/demo/resources.ts'
import { Site } from '../../deploy/demo/site.ts'
import type { RunOptions, Trial } from './bench.ts'

const PUSHES = 1_000
/** More take longer than they teach: after each cut the agent waits a little longer. A stream that reached its age ends otherwise (test/conformance/istiod/reconnect.test.ts). */
const RECONNECTS = 10
const PER_SECOND = 1_000
/** Longer than the hub waits for a folder to be quiet, so that each write is a push of its own. */
const BETWEEN_PUSHES_MS = 110
const TICK_MS = 10

export const churnTrial: Trial = {
  kind: 'trial', name: 'churn', asks: 'does a request fail while configuration is pushed and the control link comes and goes?',
  cases: { churn: `${PUSHES} pushes and ${RECONNECTS} reconnects under ${PER_SECOND} requests a second, about two minutes` },
  prints: 'requests, failed ones by what they got, pushes applied, reconnects; fails when a request failed', options: [], run,
}

type Result = { readonly requests: number; readonly failed: number; readonly perSecond: number; readonly pushes: number; readonly reconnects: number; readonly failures: Readonly<Record<string, number>> }

async function run({ json }: RunOptions): Promise<boolean> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'meshlet-churn-'))
  try {
    await using site = await Site.create(folder)
    await site.startHub()
    for (const name of ['cloud', 'edge'] as const) await site.bringUp(name)
    const result = await churned(site)
    const isWell = result.failed === 0 && result.pushes >= PUSHES && result.reconnects >= RECONNECTS
    console.log(json ? JSON.stringify({ bench: 'churn', ...result }) : `${result.requests} requests (${result.perSecond}/s), ${result.failed} failed ${JSON.stringify(result.failures)}; ${result.pushes} pushes applied, ${result.reconnects} reconnects: ${isWell ? 'all well' : 'NOT WELL'}`)
    return isWell
  } finally { fs.rmSync(folder, { recursive: true, force: true }) }
}

async function churned(site: Site): Promise<Result> {
  const load = new Load(site.edge.proxy)
  const file = path.join(site.folder, 'resources/edge/extra.yaml')
  const generation = (): Promise<number> => counter(site.edge.admin, 'mesh_config_generation')
  const ended = (): Promise<number> => counter(site.edge.admin, 'mesh_control_streams_total')
  const isConnected = async (): Promise<boolean> => (await counter(site.edge.admin, 'mesh_control_connected')) === 1
  const [generationBefore, endedBefore] = [await generation(), await ended()]
  const from = performance.now()
  let isPushing = true
  const pushing = (async () => {
    for (let i = 0; (await generation()) - generationBefore < PUSHES; i++) {
      if (performance.now() - from > 600_000) break
      fs.writeFileSync(`${file}.new`, extra(i))
      fs.renameSync(`${file}.new`, file)
      await sleep(BETWEEN_PUSHES_MS)
    }
    isPushing = false
  })()
  while (isPushing || (await ended()) - endedBefore < RECONNECTS) {
    if (performance.now() - from > 600_000) break
    if ((await ended()) - endedBefore < RECONNECTS && await isConnected()) {
      site.links.control.cut()
      site.links.control.restore()
    }
    await sleep(250)
  }
  await pushing
  const { sent, failures } = await load.stop()
  const failed = Object.values(failures).reduce((a, b) => a + b, 0)
  return { requests: sent, failed, perSecond: Math.round(sent / ((performance.now() - from) / 1_000)), pushes: (await generation()) - generationBefore, reconnects: (await ended()) - endedBefore, failures }
}

/** A cluster and a route table that change each time; nobody uses them. */
const extra = (i: number): string => `resources:
- {"@type": type.googleapis.com/envoy.config.cluster.v3.Cluster, name: extra, type: STATIC, connect_timeout: ${1 + (i % 50)}s, load_assignment: {cluster_name: extra, endpoints: []}}
- {"@type": type.googleapis.com/envoy.config.cluster.v3.Cluster, name: "extra-${i}", type: STATIC, load_assignment: {cluster_name: "extra-${i}", endpoints: []}}
`

/** So many requests a second, whether or not the ones before are answered. */
class Load {
  sent = 0
  readonly failures: Record<string, number> = {}
  readonly #agent = new http.Agent({ keepAlive: true, maxSockets: 64 })
  readonly #port: number
  readonly #timer: NodeJS.Timeout
  readonly #started = performance.now()
  #open = 0
  constructor(port: number) {
    this.#port = port
    this.#timer = setInterval(() => { this.#tick() }, TICK_MS)
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
    const done = (what: string | undefined): void => {
      this.#open--
      if (what !== undefined) this.failures[what] = (this.failures[what] ?? 0) + 1
    }
    const req = http.request({ host: '127.0.0.1', port: this.#port, path: `http://${ORDERS}/orders/${this.sent}`, headers: { host: ORDERS }, agent: this.#agent, timeout: 10_000 }, (res) => {
      res.resume()
      res.on('end', () => done(res.statusCode === 200 ? undefined : `${res.statusCode} ${String(res.headers['x-meshlet-error'] ?? '')}`.trim()))
      res.on('error', (err) => done(err.message))
    })
    req.on('timeout', () => { req.destroy(new Error('no answer in 10 s')) })
    req.on('error', (err) => done(err.message))
    req.end()
  }
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => { setTimeout(resolve, ms) })
