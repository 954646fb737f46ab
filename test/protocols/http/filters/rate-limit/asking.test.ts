/** A rate limit service that says nothing of use: its requests are told apart by failure_mode_deny. */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import http2 from 'node:http2'
import type { GlobalRateLimit } from '../../../../../model/http/global-rate-limit.ts'
import { portOf } from '../../../../helpers/raw-h2.ts'
import { Both } from '../../both.ts'
import { cluster, endpoint, manager, route } from '../../harness.ts'

const LIMIT: GlobalRateLimit = {
  statPrefix: 'd',
  domain: 'd',
  service: { kind: 'grpc', cluster: 'limits', authority: 'l', timeoutMs: 10_000, headers: [] },
  stage: 0,
  rules: [{ stage: 0, actions: [{ kind: 'constant', key: 'k', value: 'v' }] }],
  enabledFraction: 1,
  enforcedFraction: 1,
  deniedOnFailure: 1,
  status: 429,
  statusOnError: 500,
  isExhaustion: false,
  tellsRest: false,
  tellsLimited: true,
  metadataName: 'm',
  answerHeaders: { remove: [], add: [] },
}

type Serve = (stream: http2.ServerHttp2Stream) => void
async function start(t: TestContext, limit: GlobalRateLimit, serve: Serve): Promise<Both> {
  const server = http2.createServer()
  server.on('session', (session) => t.after(() => session.destroy()))
  server.on('stream', (stream: http2.ServerHttp2Stream) => {
    stream.on('error', () => {})
    serve(stream)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  const filters = [{ kind: 'global-limit', name: 'l', limit }] as const
  return Both.start(t, manager([route()], { filters }), {
    clusters: [cluster([endpoint('127.0.0.1', portOf(server))], { name: 'limits', protocol: 'http2' })],
  })
}

for (const [what, serve] of [
  ['resets the question', (stream) => stream.close(http2.constants.NGHTTP2_CANCEL)],
  ['answers with 503', (stream) => stream.respond({ ':status': 503 }, { endStream: true })],
  [
    'answers without end',
    (stream) => {
      stream.respond({ ':status': 200 })
      stream.write(Buffer.alloc(65 * 1024))
    },
  ],
] as const satisfies readonly (readonly [string, Serve])[])
  test(`a service that ${what} has given no answer`, async (t) => {
    const denies = await start(t, LIMIT, serve)
    const { status, headers, saw } = await denies.ask('http1', {})
    assert.deepEqual([status, headers['x-meshlet-error'], saw], [500, 'MESH_RATE_LIMIT_UNAVAILABLE', undefined])
    const passes = await start(t, { ...LIMIT, deniedOnFailure: 0 }, serve)
    assert.equal((await passes.ask('http2', {})).status, 200)
    const cell = (both: Both, result: string): boolean =>
      both.metrics.text().includes(`mesh_rate_limit_total{prefix="d",result="${result}"} 1`)
    assert.deepEqual([cell(denies, 'refused'), cell(passes, 'unknown')], [true, true])
  })

test('a service without a cluster, and a limit that cannot be counted by', async (t) => {
  const gone = await start(t, { ...LIMIT, service: { ...LIMIT.service, cluster: 'missing' } }, () => {})
  assert.equal((await gone.ask('http1', {})).status, 500)
  const rules = [{ stage: 0, actions: [{ kind: 'unsupported', what: 'it' } as const] }]
  const odd = await start(t, { ...LIMIT, deniedOnFailure: 0, rules }, () => {})
  assert.equal((await odd.ask('http1', {})).headers['x-meshlet-error'], 'MESH_CHAIN_BLOCKED')
})

test('a client that leaves while the service is asked takes the question with it', async (t) => {
  let ended: (() => void) | undefined
  const over = new Promise<void>((resolve) => (ended = resolve))
  const asked = Promise.withResolvers<void>()
  const both = await start(t, LIMIT, (stream) => {
    stream.on('close', () => ended?.())
    asked.resolve()
  })
  const request = both.ask('http1', {}).catch(() => {})
  await asked.promise
  for (const conn of both.connections) conn.stream.destroy()
  await over
  await request
})
