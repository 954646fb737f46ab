import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import type http from 'node:http'
import { mergeMetrics, MAX_PAGE_BYTES, SCRAPE_MS } from '../../../agent/admin/application-metrics.ts'
import { selectScrapePages } from '../../../agent/admin/scrape-pages.ts'
import type { AdminPage } from '../../../agent/admin/server.ts'
import { silentLog } from '../../../core/log.ts'
import { Metrics } from '../../../core/metrics.ts'
import { systemNetwork } from '../../../core/os/network.ts'
import { freePorts } from '../../../tools/free-ports.ts'
import { serveHttp } from '../../helpers/serve-http.ts'
import { SimClock } from '../../helpers/sim-clock.ts'

const OWN: AdminPage = { method: 'GET', help: '', handle: () => ({ body: 'own 1\n' }) }
const QUERY = new URLSearchParams()

function rig(...ports: number[]) {
  const metrics = new Metrics()
  const clock = new SimClock()
  const applications = ports.map((port) => ({ port, path: '/metrics' }))
  const parts = { applications, network: systemNetwork, clock, metrics, log: silentLog }
  const page = mergeMetrics(OWN, parts)
  const result = (name: string): number => metrics.total('mesh_telemetry_application_scrapes_total', { result: name })
  return { page, parts, clock, result, read: async () => (await page.handle(QUERY)).body }
}
const serve = (t: TestContext, answer: http.RequestListener): Promise<number> => serveHttp(t, answer)

test('applications’ metrics stand behind our own, in their order; the end of OpenMetrics does not', async (t) => {
  const seen: unknown[] = []
  const first = await serve(t, ({ url, headers }, res) => {
    seen.push([url, headers.accept])
    res.end('first 1\n# EOF\n')
  })
  const second = await serve(t, (_, res) => res.end('second 1'))
  const r = rig(first, second)
  assert.equal(await r.read(), 'own 1\nfirst 1\nsecond 1\n')
  assert.deepEqual([seen, r.result('ok')], [[['/metrics', 'text/plain;version=0.0.4']], 2])
})

for (const [what, answer] of [
  ['an error', (_, res) => res.writeHead(500).end('x 1\n')],
  ['too much', (_, res) => res.end(Buffer.alloc(MAX_PAGE_BYTES + 1))],
  [
    'an end in the middle',
    (_, res) => void res.writeHead(200, { 'content-length': 9 }).write('x', () => res.destroy()),
  ],
] as const satisfies readonly (readonly [string, http.RequestListener])[])
  test(`${what} of an application is left out, and counted`, async (t) => {
    const r = rig(await serve(t, answer))
    assert.deepEqual([await r.read(), r.result('failed')], ['own 1\n', 1])
  })

test('an application that is not there, or never answers, is left out', async (t) => {
  const [closed = 0] = await freePorts(1)
  assert.equal(await rig(closed).read(), 'own 1\n')
  const asked = Promise.withResolvers<void>()
  const r = rig(await serve(t, () => asked.resolve()))
  const body = r.read()
  await asked.promise
  await r.clock.advance(SCRAPE_MS)
  assert.deepEqual([await body, r.result('failed')], ['own 1\n', 1])
})

test('on 15090 our own stand alone, as Envoy’s do; /metrics is the same page', async (t) => {
  const { parts } = rig(await serve(t, (_, res) => res.end('app 1\n')))
  const pages = new Map([
    ['/stats/prometheus', OWN],
    ['/ready', OWN],
  ])
  const read = async (port: number, path: string): Promise<string> =>
    (await selectScrapePages(port, pages, parts).get(path)!.handle(QUERY)).body
  assert.equal(await read(15_090, '/stats/prometheus'), 'own 1\n')
  assert.equal(await read(15_020, '/stats/prometheus'), 'own 1\napp 1\n')
  assert.equal(await read(15_020, '/metrics'), 'own 1\napp 1\n')
})
