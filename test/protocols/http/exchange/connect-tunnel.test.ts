/** CONNECT of an explicit proxy: which cluster it leads to, and who may not have the tunnel. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { HttpConnectionManager, HttpFilter } from '../../../../model/listener.ts'
import type { Policy } from '../../../../model/policy.ts'
import type { Route } from '../../../../model/route.ts'
import { planRequest, findRefusal } from '../../../../protocols/http/exchange/connect-tunnel.ts'
import type { RequestOrigin } from '../../../../protocols/http/exchange/request-origin.ts'
import { RequestHead } from '../../../../protocols/http/message.ts'
import { seededRandom } from '../../../helpers/random.ts'
import { cluster, manager, route, tablesOf } from '../harness.ts'

const tables = tablesOf([cluster()])
const ctx = { tables: { get: () => tables, watch: assert.fail }, random: seededRandom(1) } as never
const head = (method: string): RequestHead =>
  new RequestHead({
    method,
    scheme: 'http',
    authority: 'origin.test:443',
    path: method === 'CONNECT' ? '' : '/',
    headers: [],
    version: 'HTTP/1.1',
    bodyLength: 0,
    upgrade: undefined,
    expectContinue: false,
  })
const FACTS = {
  peer: undefined,
  directRemoteIp: '10.0.0.2',
  remoteIp: '10.0.0.2',
  destinationIp: '10.0.0.1',
  destinationPort: 80,
  serverName: '',
}
const origin = (http: HttpConnectionManager): RequestOrigin =>
  ({ facts: () => FACTS, conn: { chain: { codec: { kind: 'http', http } } } }) as unknown as RequestOrigin
const planOf = (http: HttpConnectionManager, method = 'CONNECT'): string => {
  const plan = planRequest(ctx, origin(http), http, head(method), '10.0.0.2')
  return plan.kind === 'refuse' ? plan.error.code : plan.kind
}

const DENY_ALL: Policy = { action: 'allow', rules: [], shadow: undefined }
const ALLOW_ALL: Policy = {
  action: 'allow',
  rules: [{ name: 'all', permissions: [{ kind: 'any' }], principals: [{ kind: 'any' }] }],
  shadow: undefined,
}
const ABORT: HttpFilter = {
  kind: 'fault',
  name: 'f',
  fault: { delay: undefined, abort: { status: 503, grpcStatus: undefined, fraction: 1 }, headers: [] },
}
const rbac = (policy: Policy): HttpFilter => ({ kind: 'rbac', name: 'r', policy })
const proxy = (
  routes: readonly Route[] | undefined,
  filters: HttpConnectionManager['filters'] = [],
): HttpConnectionManager => manager(routes, { explicitProxy: true, filters })
const at = (kind: 'connect' | 'prefix', more: Partial<Route> = {}): Route =>
  route(undefined, {
    match: {
      path: kind === 'connect' ? { kind: 'connect' } : { kind: 'prefix', value: '/' },
      caseSensitive: true,
      headers: [],
      query: [],
      grpc: false,
      fraction: undefined,
    },
    ...more,
  })

for (const { name, http, plan } of [
  { name: 'a listener that is no explicit proxy', http: manager(), plan: 'MESH_UNSUPPORTED' },
  { name: 'a connect route', http: proxy([at('connect')]), plan: 'forward' },
  { name: 'no connect route, but the host has a route for /', http: proxy([at('prefix')]), plan: 'forward' },
  {
    name: 'the route for / has a policy of its own, which asks for a path',
    http: proxy(
      [at('prefix', { filters: new Map([['r', { policy: { value: ALLOW_ALL } }]]) as never })],
      [rbac(ALLOW_ALL)],
    ),
    plan: 'MESH_NO_ROUTE',
  },
  {
    name: 'a route for / that answers itself',
    http: proxy([route({ kind: 'direct', status: 200, body: '' })]),
    plan: 'MESH_NO_ROUTE',
  },
  { name: 'a policy of the listener', http: proxy([at('prefix')], [rbac(DENY_ALL)]), plan: 'MESH_PEER_NOT_ALLOWED' },
  { name: 'a fault', http: proxy([at('prefix')], [ABORT]), plan: 'answer' },
])
  test(`CONNECT, ${name}: ${plan}`, () => {
    assert.equal(planOf(http), plan)
  })
test('what is no CONNECT is planned like any other request', () => {
  assert.equal(planOf(manager(), 'GET'), 'forward')
})

for (const { name, http, code } of [
  { name: 'the same rules', http: proxy([at('prefix')]), code: undefined },
  { name: 'a policy that denies', http: proxy([at('prefix')], [rbac(DENY_ALL)]), code: 'MESH_PEER_NOT_ALLOWED' },
  { name: 'a fault alone', http: proxy([at('prefix')], [ABORT]), code: undefined },
  { name: 'no route any more', http: proxy([]), code: undefined },
])
  test(`an open tunnel and ${name}: ${code ?? 'goes on'}`, () => {
    assert.equal(findRefusal(head('CONNECT'), origin(http), '10.0.0.2', ctx)?.code, code)
  })
