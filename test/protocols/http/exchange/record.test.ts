/** One line for every request, broken ones too, with the route that matched and Envoy's flags. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { silentLog, type Log } from '../../../../core/log.ts'
import type { HttpConnectionManager } from '../../../../model/listener.ts'
import type { RetryPolicy, VirtualHost } from '../../../../model/route.ts'
import type { AccessRecord } from '../../../../protocols/http/exchange/access-log.ts'
import { Both, type Ask } from '../both.ts'
import { forwardTo, manager, route } from '../harness.ts'

function logged(): { log: Log; lines: AccessRecord[] } {
  const lines: AccessRecord[] = []
  return {
    lines,
    log: {
      ...silentLog,
      info: (fields: { evt: string }) => {
        if (fields.evt === 'http.access') lines.push(fields as unknown as AccessRecord)
      },
    },
  }
}
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
  readonly routeName: string | undefined
  readonly errorCode: string | undefined
  readonly method: string
}
for (const { name, http = manager([named(forwardTo())]), ask = {}, answers = 200, want } of [
  { name: 'forwarded', want: { status: 200, flags: '-', routeName: 'named', errorCode: undefined, method: 'GET' } },
  {
    name: 'direct response',
    http: manager([named({ kind: 'direct', status: 418, body: '' })]),
    want: { status: 418, flags: '-', routeName: 'named', errorCode: undefined, method: 'GET' },
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
    want: { status: 301, flags: '-', routeName: 'named', errorCode: undefined, method: 'GET' },
  },
  {
    name: 'refused by a policy',
    http: manager([named(forwardTo())], { filters: denyAll }),
    want: { status: 403, flags: 'DENY', routeName: 'named', errorCode: 'MESH_PEER_NOT_ALLOWED', method: 'GET' },
  },
  {
    name: 'no cluster',
    http: manager([named(forwardTo({ clusters: [] }))]),
    want: { status: 503, flags: 'NC', routeName: 'named', errorCode: 'MESH_NO_CLUSTER', method: 'GET' },
  },
  {
    name: 'no route',
    http: manager([]),
    want: { status: 404, flags: 'NR', routeName: undefined, errorCode: 'MESH_NO_ROUTE', method: 'GET' },
  },
  {
    name: 'to https',
    http: manager([named(forwardTo())], {}, { requireTls: true } satisfies Partial<VirtualHost>),
    want: { status: 301, flags: '-', routeName: undefined, errorCode: undefined, method: 'GET' },
  },
  {
    name: 'the last permitted try',
    http: manager([named(forwardTo({ retry }))]),
    answers: 503,
    want: { status: 503, flags: 'URX', routeName: 'named', errorCode: undefined, method: 'GET' },
  },
  {
    name: 'a method that is none',
    ask: { method: 'post' },
    want: { status: 400, flags: 'DPE', routeName: undefined, errorCode: 'MESH_MALFORMED_INPUT', method: '' },
  },
  {
    name: 'a path with a fragment',
    ask: { path: '/a#b' },
    want: { status: 400, flags: 'DPE', routeName: undefined, errorCode: 'MESH_MALFORMED_INPUT', method: '' },
  },
  {
    name: 'an escape that is none',
    ask: { path: '/%' },
    want: { status: 400, flags: 'DPE', routeName: undefined, errorCode: 'MESH_MALFORMED_INPUT', method: '' },
  },
  {
    name: 'a head that is too large',
    http: manager([named(forwardTo())], { maxRequestHeadersBytes: 1024 }),
    ask: { fields: [['x', 'a'.repeat(2000)]] },
    want: { status: 431, flags: 'DPE', routeName: undefined, errorCode: 'MESH_HEADERS_TOO_LARGE', method: '' },
  },
] satisfies { name: string; http?: HttpConnectionManager; ask?: Ask; answers?: number; want: Line }[]) {
  for (const codec of ['http1', 'http2'] as const) {
    test(`access log over ${codec}: ${name}`, async (t) => {
      const { log, lines } = logged()
      const both = await Both.start(
        t,
        { ...http, accessLog: 'json' },
        {
          log,
          answer: (_request, response) => {
            response.statusCode = answers
            response.end()
          },
        },
      )
      const told = await both.ask(codec, ask)
      assert.equal(told.status, want.status)
      assert.equal(lines.length, 1)
      const { status, flags, routeName, errorCode, method } = lines[0]!
      assert.deepEqual({ status, flags, routeName, errorCode, method }, want)
    })
  }
}
test('a listener without an access log has no line for a broken request either', async (t) => {
  const { log, lines } = logged()
  const both = await Both.start(t, manager(), { log })
  await both.ask('http1', { method: 'post' })
  await both.ask('http2', { method: 'post' })
  assert.deepEqual(lines, [])
})
