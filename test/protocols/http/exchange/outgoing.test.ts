/** The heads that leave: what they are given, and that every value is one that a field may hold. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { HeaderEdit } from '../../../../model/route.ts'
import type { HttpConnectionManager } from '../../../../model/listener.ts'
import {
  answerHead,
  formatHttpDate,
  createUpstreamRequest,
  prepareAttempt,
  type HeaderFacts,
} from '../../../../protocols/http/exchange/outgoing.ts'
import type { ForwardPlan } from '../../../../protocols/http/exchange/planning/plan.ts'
import { sendLocalReply } from '../../../../protocols/http/exchange/reply/send.ts'
import { createRecord } from '../../../../protocols/http/exchange/record.ts'
import type { RequestOrigin } from '../../../../protocols/http/exchange/request-origin.ts'
import { RequestHead, type Downstream } from '../../../../protocols/http/message.ts'
import type { Context } from '../../../../protocols/context.ts'
import { SimClock } from '../../../helpers/sim-clock.ts'
import { forwardTo, manager } from '../harness.ts'

const NOW_MS = Date.UTC(2023, 10, 14, 22, 13, 20)
const DATE = 'Tue, 14 Nov 2023 22:13:20 GMT'
const add = (name: string, value: string, how: 'append' | 'overwrite' = 'append'): HeaderEdit => ({
  remove: [],
  add: [{ name, value, how, keepEmpty: false }],
})

function facts(more: Partial<HeaderFacts> = {}, method = 'GET', headers: string[] = []): HeaderFacts {
  const request = new RequestHead({
    method,
    scheme: 'http',
    authority: 'a.test',
    path: '/p',
    headers,
    version: 'HTTP/1.1',
    bodyLength: 0,
    upgrade: undefined,
    expectContinue: false,
  })
  return {
    request,
    bodyLength: 0,
    client: {
      conn: { remote: { host: '10.0.0.2', port: 5 }, local: { host: '10.0.0.1', port: 80 }, tls: undefined },
    } as unknown as RequestOrigin,
    http: {},
    record: createRecord({ clock: new SimClock() }, {}, request),
    awaitsContinue: false,
    remoteIp: '',
    nowMs: NOW_MS,
    elapsedMs: 0,
    ...more,
  }
}
const plan = (more: Partial<ForwardPlan> = {}): ForwardPlan =>
  ({
    path: '/p',
    authority: 'a.test',
    requestEdits: [],
    upgrade: undefined,
    action: forwardTo(),
    ...more,
  }) as ForwardPlan
const answer = (
  headers: string[],
  edits: readonly HeaderEdit[],
  upstreamMs?: number,
  serverName = 'meshlet',
): string[] => [
  ...answerHead({ status: 200, headers, contentLength: 0 }, edits, facts(), serverName, upstreamMs).headers,
]

for (const { name, value, leaves } of [
  { name: 'text of ASCII stays as it is', value: 'plain', leaves: 'plain' },
  { name: 'letters of latin1 are sent as they stand', value: 'caf\xe9', leaves: 'caf\xe9' },
  { name: 'other letters leave as the bytes of UTF-8', value: '\u0142', leaves: '\xc5\x82' },
  { name: 'both: all of it is UTF-8', value: '\xe9\u0142', leaves: '\xc3\xa9\xc5\x82' },
  { name: 'control characters are left out', value: 'a\x07b\x7f', leaves: 'ab' },
  { name: 'DEL is one of them', value: 'a\x7f', leaves: 'a' },
  { name: 'a tab is a field value like others', value: 'a\tb', leaves: 'a\tb' },
])
  test(`configured text as a value: ${name}`, () => {
    const f = facts()
    const out = createUpstreamRequest(f.request, plan({ requestEdits: [add('x', value)] }), f)
    assert.deepEqual(out.headers, ['x', leaves])
    assert.deepEqual(answer(['date', 'd'], [add('x', value)], undefined, ''), ['date', 'd', 'x', leaves])
  })

test('an authority and a path that the route has written are words of a request line', () => {
  const f = facts()
  const out = createUpstreamRequest(
    f.request,
    plan({ authority: '\u0142.test', hasNewHost: true, path: '/a b\u0142\ud800' }),
    f,
  )
  assert.equal(out.authority, '\xc5\x82.test')
  assert.equal(out.path, '/a%20b%C5%82%EF%BF%BD')
})
test('expect and x-forwarded-host, each only where it says something', () => {
  const f = facts({ awaitsContinue: true })
  assert.deepEqual(createUpstreamRequest(f.request, plan(), f).headers, ['expect', '100-continue'])
  const asked = { action: forwardTo({ appendForwardedHost: true }) }
  const same = facts()
  assert.deepEqual(createUpstreamRequest(same.request, plan(asked), same).headers, [])
  const other = facts()
  const { headers } = createUpstreamRequest(
    other.request,
    plan({ ...asked, authority: 'b.test', hasNewHost: true }),
    other,
  )
  assert.deepEqual(headers, ['x-forwarded-host', 'a.test', 'x-envoy-original-host', 'a.test'])
})
test('edits see the request, the client and the route', () => {
  const f = facts({ remoteIp: '192.0.2.1' }, 'PUT', ['x-user', 'u'])
  f.record.plan = { ...plan(), kind: 'forward', routeName: 'r', cluster: { name: 'c' } } as ForwardPlan
  const edits = [
    add('a', '%REQ(:METHOD)% %REQ(x-user)%'),
    add('b', '%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%'),
    add('c', '%ROUTE_NAME%'),
  ]
  const { headers } = createUpstreamRequest(f.request, plan({ requestEdits: edits }), f)
  assert.deepEqual(headers.slice(2), ['a', 'PUT u', 'b', '192.0.2.1', 'c', 'r'])
})

test('every answer has a date and says who served it; what is there already stays, or is replaced', () => {
  assert.deepEqual(answer([], []), ['date', DATE, 'server', 'meshlet'])
  assert.deepEqual(answer(['server', 'x', 'date', 'd'], []), ['server', 'meshlet', 'date', 'd'])
  assert.deepEqual(answer(['server', 'x', 'date', 'd'], [], undefined, ''), ['server', 'x', 'date', 'd'])
  assert.deepEqual(answer(['x', 'date'], []), ['x', 'date', 'date', DATE, 'server', 'meshlet'])
})
test('the time of the endpoint: whole milliseconds, in place of what it said itself', () => {
  const name = 'x-envoy-upstream-service-time'
  assert.deepEqual(answer(['date', 'd'], [], 1.6, '').slice(2), [name, '2'])
  assert.deepEqual(answer(['date', 'd', name, '9'], [], -1, '').slice(2), [name, '0'])
  assert.deepEqual(answer(['date', 'd'], [], undefined, '').slice(2), [])
})
test("of an answer of our own one content-type is left, the last; of an endpoint's all that it said", () => {
  const edits = [add('content-type', 'b/b')]
  assert.deepEqual(answer(['date', 'd', 'content-type', 'a/a'], edits, undefined, ''), [
    'date',
    'd',
    'content-type',
    'b/b',
  ])
  assert.equal(answer(['date', 'd', 'content-type', 'a/a'], edits, 1, '').filter((h) => h === 'content-type').length, 2)
})
test('a date is made once a second', () => {
  assert.equal(formatHttpDate(NOW_MS), DATE)
  assert.equal(formatHttpDate(NOW_MS + 999), DATE)
  assert.equal(formatHttpDate(NOW_MS + 1000), 'Tue, 14 Nov 2023 22:13:21 GMT')
})

for (const { method, told } of [
  { method: 'GET', told: ['head 404', 'data no\n', 'end', 'flush'] },
  { method: 'HEAD', told: ['head 404 and its end', 'end', 'flush'] },
])
  test(`an answer of our own to ${method}`, () => {
    const log: string[] = []
    const down = {
      sendHead: (head: { status: number }, end: boolean) =>
        log.push(end ? `head ${head.status} and its end` : `head ${head.status}`),
      sendData: (chunk: Buffer) => log.push(`data ${chunk.toString()}`),
      sendEnd: () => log.push('end'),
      flush: () => {
        log.push('flush')
        return true
      },
    } as unknown as Downstream
    const http: HttpConnectionManager = manager()
    const exchange = { ...facts({}, method), http, down }
    sendLocalReply({ status: 404, headers: [], text: 'no', end: '\n' }, exchange, {} as Context)
    assert.deepEqual(log, told)
    assert.equal(exchange.record.sentBytes, method === 'GET' ? 3 : 0)
  })

test("the server's name is the listener's, once, whatever endpoint and routes say of it", () => {
  const removal: HeaderEdit = { remove: ['server'], add: [] }
  assert.deepEqual(answer(['server', 'a', 'x', '1', 'server', 'b'], []), ['server', 'meshlet', 'x', '1', 'date', DATE])
  assert.deepEqual(answer([], [add('server', 'mine')]), ['date', DATE, 'server', 'meshlet'])
  assert.deepEqual(answer(['server', 'a'], [removal]), ['date', DATE, 'server', 'meshlet'])
  assert.deepEqual(answer(['server', 'a'], [removal], undefined, ''), ['date', DATE])
})
test('an endpoint is told what a rewrite has replaced, also where it changed nothing', () => {
  const rewrites = { path: { kind: 'prefix', value: '/q' }, host: undefined } as const
  const rewritten = plan({
    path: '/q',
    authority: 'b.test',
    hasNewHost: true,
    action: forwardTo({ rewrite: rewrites }),
  })
  const f = facts({}, 'GET', ['x-envoy-original-path', '/forged'])
  assert.deepEqual(createUpstreamRequest(f.request, rewritten, f).headers, [
    'x-envoy-original-host',
    'a.test',
    'x-envoy-original-path',
    '/p',
  ])
  const same = plan({ action: forwardTo({ rewrite: { path: rewrites.path, host: undefined } }) })
  assert.deepEqual(createUpstreamRequest(facts().request, same, facts()).headers, ['x-envoy-original-path', '/p'])
})
test('%REQ% and %RESP% say the first of several values', () => {
  const f = facts({}, 'GET', ['x', '1', 'x', '2'])
  const out = createUpstreamRequest(f.request, plan({ requestEdits: [add('y', '%REQ(x)%')] }), f)
  assert.deepEqual(out.headers, ['x', '1', 'x', '2', 'y', '1'])
  assert.deepEqual(answer(['r', '1', 'r', '2'], [add('y', '%RESP(r)%')], undefined, '').slice(-2), ['y', '1'])
})

test('server_header_transformation: who is named, and via behind the proxies before', () => {
  for (const [http, headers, want] of [
    [{ serverHeader: 'if-absent' }, ['server', 'a'], ['server', 'a', 'date', DATE]],
    [{ serverHeader: 'if-absent' }, [], ['date', DATE, 'server', 'meshlet']],
    [{ serverHeader: 'pass-through' }, [], ['date', DATE]],
    [{ via: 'me' }, [], ['date', DATE, 'server', 'meshlet', 'via', 'me']],
    [{ via: 'me' }, ['via', '1.1 a', 'via', '2 b'], ['date', DATE, 'server', 'meshlet', 'via', '1.1 a, 2 b, me']],
  ] as const) {
    const head = { status: 200, headers: [...headers], contentLength: 0 }
    assert.deepEqual(answerHead(head, [], facts({ http }), 'meshlet', undefined).headers, want)
  }
})
test('suppress_envoy_headers: neither side is told of the proxy', () => {
  const hidden = facts({ http: { hidesEnvoy: true } })
  const head = { status: 503, headers: ['x-envoy-overloaded', 'true'], contentLength: 0 }
  assert.deepEqual(answerHead(head, [], hidden, '', 5).headers, ['date', DATE])
  const action = forwardTo({ timeoutMs: 1_000, rewrite: { path: { kind: 'prefix', value: '/q' }, host: undefined } })
  const told = plan({ action, hasNewHost: true, routed: { virtualHost: {} } as never })
  const request = createUpstreamRequest(hidden.request, told, hidden)
  assert.deepEqual(prepareAttempt(request, told, hidden).headers, [])
})
for (const { name, action, retry, tries = 1, elapsedMs = 0, want } of [
  { name: 'the time of its route', action: { timeoutMs: 2_000 }, want: '2000' },
  { name: 'none', action: {}, want: undefined },
  { name: 'that of a try', action: { timeoutMs: 2_000 }, retry: { perTryTimeoutMs: 300 }, want: '300' },
  { name: 'that of a try alone', action: {}, retry: { perTryTimeoutMs: 300 }, want: '300' },
  { name: 'what is left', action: { timeoutMs: 2_000 }, tries: 2, elapsedMs: 1_500, want: '500' },
  { name: 'never none', action: { timeoutMs: 2_000 }, tries: 2, elapsedMs: 9_000, want: '1' },
])
  test(`an endpoint is told in x-envoy-expected-rq-timeout-ms how long it has: ${name}`, () => {
    const f = facts({ elapsedMs })
    Object.assign(f.record, { tries })
    const told = plan({ action: forwardTo(action), retry: retry as never, routed: { virtualHost: {} } as never })
    const { headers } = prepareAttempt(createUpstreamRequest(f.request, told, f), told, f)
    const at = headers.indexOf('x-envoy-expected-rq-timeout-ms')
    assert.equal(at < 0 ? undefined : headers[at + 1], want)
  })
test('auto_host_rewrite: the name of the endpoint, where it has one', () => {
  for (const [hostname, authority, headers] of [
    ['db.test', 'db.test', ['x-envoy-original-host', 'a.test', 'x-forwarded-host', 'a.test']],
    [undefined, 'a.test', []],
  ] as const) {
    const f = facts()
    Object.assign(f.record, { tries: 1, endpoint: { hostname } })
    const action = forwardTo({ appendForwardedHost: true, rewrite: { path: undefined, host: { kind: 'endpoint' } } })
    const told = plan({ action, routed: { virtualHost: {} } as never })
    const made = prepareAttempt(createUpstreamRequest(f.request, told, f), told, f)
    assert.deepEqual([made.authority, made.headers], [authority, headers])
  }
})
