/** What a line tells of a request on both versions of HTTP; Envoy's own lines: conformance/envoy/access-log. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { ServerResponse } from 'node:http'
import type { HttpConnectionManager } from '../../../../model/listener.ts'
import { jsonLog, Lines } from '../../access-lines.ts'
import { Both, type Ask } from '../both.ts'
import { forwardTo, manager, route } from '../harness.ts'

const LOG = jsonLog({
  protocol: '%PROTOCOL% %UPSTREAM_PROTOCOL%',
  path: '%REQ(:PATH)%',
  original: '%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%',
  authority: '%REQ(:AUTHORITY)% %REQ(HOST)%',
  answer: '%RESP(X-A)% %RESP(:STATUS)%',
  grpc: '%GRPC_STATUS_NUMBER%',
  cluster: '%UPSTREAM_CLUSTER%',
  attempts: '%UPSTREAM_REQUEST_ATTEMPT_COUNT%',
  bytes: '%BYTES_RECEIVED% %BYTES_SENT%',
  from: '%UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%',
})
const times = ['DURATION', 'REQUEST_DURATION', 'REQUEST_TX_DURATION', 'RESPONSE_DURATION', 'RESPONSE_TX_DURATION']
const TIMES = jsonLog(Object.fromEntries(times.map((name) => [name, `%${name}%`])))
const rewritten = forwardTo({
  rewrite: { path: { kind: 'prefix', value: '/new' }, host: { kind: 'literal', value: 'other' } },
})

const FORWARDED = { cluster: 'origin', attempts: 1, from: '127.0.0.1', grpc: null }
for (const { name, http = manager(), ask = {}, want } of [
  {
    name: 'as it went to the endpoint, and came from it',
    ask: { path: '/p?q', method: 'POST', body: 'four' },
    want: { ...FORWARDED, path: '/p?q', original: '/p?q', authority: 'a a', answer: 'b 200', bytes: '4 2' },
  },
  {
    name: 'rewritten, as Envoy does it in place',
    http: manager([route(rewritten)]),
    ask: { path: '/p' },
    want: { ...FORWARDED, path: '/newp', original: '/p', authority: 'other other', answer: 'b 200', bytes: '0 2' },
  },
  {
    name: 'of our own',
    http: manager([route({ kind: 'direct', status: 418, body: 'tea' })]),
    ask: { fields: [['content-type', 'application/grpc']] },
    want: {
      path: '/',
      original: '/',
      authority: 'a a',
      answer: '- 200',
      bytes: '0 0',
      cluster: null,
      attempts: 0,
      from: null,
      grpc: 2,
    },
  },
] satisfies { name: string; http?: HttpConnectionManager; ask?: Ask; want: object }[])
  for (const codec of ['http1', 'http2'] as const)
    test(`${name}, over ${codec}`, async (t) => {
      const lines = new Lines()
      const options = {
        accessLogs: lines,
        answer: (_: unknown, response: ServerResponse) => {
          response.setHeader('x-a', 'b')
          response.end('hi')
        },
      }
      const both = await Both.start(t, { ...http, accessLogs: [LOG, TIMES] }, options)
      await both.ask(codec, ask)
      const [line, durations] = lines.parsed
      const version = codec === 'http1' ? 'HTTP/1.1' : 'HTTP/2'
      assert.deepEqual(line, { ...want, protocol: `${version} ${want.cluster === null ? '-' : 'HTTP/1.1'}` })
      // An answer of our own has no times of an endpoint.
      for (const time of times)
        if (want.cluster !== null || time === 'DURATION') assert.equal(typeof durations![time], 'number', time)
      assert.equal(durations!['RESPONSE_DURATION'] === null, want.cluster === null)
    })

test('who is refused by a filter has the cluster of its route', async (t) => {
  const lines = new Lines()
  const filters = [{ kind: 'rbac', name: 'r', policy: { action: 'allow', rules: [], shadow: undefined } }] as const
  const both = await Both.start(t, manager([route()], { filters, accessLogs: [LOG] }), { accessLogs: lines })
  await both.ask('http1', {})
  const [line] = lines.parsed
  assert.deepEqual([line!['answer'], line!['cluster'], line!['attempts']], ['- 403', 'origin', 0])
})
