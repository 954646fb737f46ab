/** One line for every request, broken ones too, with the route that matched and Envoy's flags. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { HttpConnectionManager } from '../../../../model/listener.ts'
import type { RetryPolicy, VirtualHost } from '../../../../model/route.ts'
import { jsonLog, Lines } from '../../access-lines.ts'
import { Both, type Ask } from '../both.ts'
import { forwardTo, manager, route } from '../harness.ts'

const LOG = jsonLog({
  status: '%RESPONSE_CODE%',
  flags: '%RESPONSE_FLAGS%',
  route: '%ROUTE_NAME%',
  details: '%RESPONSE_CODE_DETAILS%',
  method: '%REQ(:METHOD)%',
})
const retry: RetryPolicy = {
  on: new Set(['5xx']),
  maxRetries: 1,
  perTryTimeoutMs: undefined,
  statusCodes: new Set(),
  backoff: { baseMs: 1, capMs: 1 },
  avoidPreviousHosts: false,
  maxHostPicks: 1,
}
const denyAll: HttpConnectionManager['filters'] = [
  { kind: 'rbac', name: 'r', policy: { action: 'allow', rules: [], shadow: undefined } },
]
const named = (action: Parameters<typeof route>[0]): ReturnType<typeof route> => route(action, { name: 'named' })

type Line = {
  readonly status: number
  readonly flags: string
  readonly route: string | null
  readonly details: string
  readonly method: string | null
}
for (const { name, http = manager([named(forwardTo())]), ask = {}, answers = 200, want } of [
  { name: 'forwarded', want: { status: 200, flags: '-', route: 'named', details: 'via_upstream', method: 'GET' } },
  {
    name: 'direct response',
    http: manager([named({ kind: 'direct', status: 418, body: '' })]),
    want: { status: 418, flags: '-', route: 'named', details: 'direct_response', method: 'GET' },
  },
  {
    name: 'redirect',
    http: manager([
      named({
        kind: 'redirect',
        status: 301,
        scheme: undefined,
        host: 'b',
        port: undefined,
        path: undefined,
        stripQuery: false,
      }),
    ]),
    want: { status: 301, flags: '-', route: 'named', details: 'direct_response', method: 'GET' },
  },
  {
    name: 'refused by a policy',
    http: manager([named(forwardTo())], { filters: denyAll }),
    want: {
      status: 403,
      flags: '-',
      route: 'named',
      details: 'rbac_access_denied_matched_policy[none]',
      method: 'GET',
    },
  },
  {
    name: 'no cluster',
    http: manager([named(forwardTo({ clusters: [] }))]),
    want: { status: 503, flags: 'NC', route: 'named', details: 'cluster_not_found', method: 'GET' },
  },
  {
    name: 'no route',
    http: manager([]),
    want: { status: 404, flags: 'NR', route: null, details: 'route_not_found', method: 'GET' },
  },
  {
    name: 'to https',
    http: manager([named(forwardTo())], {}, { requireTls: true } satisfies Partial<VirtualHost>),
    want: { status: 301, flags: '-', route: null, details: 'direct_response', method: 'GET' },
  },
  {
    name: 'the last permitted try',
    http: manager([named(forwardTo({ retry }))]),
    answers: 503,
    want: { status: 503, flags: 'URX', route: 'named', details: 'via_upstream', method: 'GET' },
  },
  {
    name: 'a method that is none',
    ask: { method: 'post' },
    want: { status: 400, flags: 'DPE', route: null, details: 'CODEC.codec_error', method: null },
  },
  {
    name: 'a path with a fragment',
    ask: { path: '/a#b' },
    want: { status: 400, flags: 'DPE', route: null, details: 'CODEC.codec_error', method: null },
  },
  {
    name: 'an escape that is none',
    ask: { path: '/%' },
    want: { status: 400, flags: 'DPE', route: null, details: 'CODEC.codec_error', method: null },
  },
  {
    name: 'a head that is too large',
    http: manager([named(forwardTo())], { maxRequestHeadersBytes: 1024 }),
    ask: { fields: [['x', 'a'.repeat(2000)]] },
    want: { status: 431, flags: 'DPE', route: null, details: 'CODEC.headers_too_large', method: null },
  },
] satisfies { name: string; http?: HttpConnectionManager; ask?: Ask; answers?: number; want: Line }[]) {
  for (const codec of ['http1', 'http2'] as const) {
    test(`access log over ${codec}: ${name}`, async (t) => {
      const lines = new Lines()
      const both = await Both.start(
        t,
        { ...http, accessLogs: [LOG] },
        {
          accessLogs: lines,
          answer: (_request, response) => {
            response.statusCode = answers
            response.end()
          },
        },
      )
      const told = await both.ask(codec, ask)
      assert.equal(told.status, want.status)
      const expected = { ...want, details: want.details.replace('CODEC', codec) }
      assert.deepEqual(lines.parsed, [expected])
    })
  }
}
test('a listener without an access log has no line for a broken request either', async (t) => {
  const lines = new Lines()
  const both = await Both.start(t, manager(), { accessLogs: lines })
  await both.ask('http1', { method: 'post' })
  await both.ask('http2', { method: 'post' })
  assert.deepEqual(lines.texts, [])
})
