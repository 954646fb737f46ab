/** Every route of the console × every role × namespaces: who may is written down here once more, and asked for real. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { fastify } from 'fastify'
import { Operator } from '../../../hub/console/access.ts'
import { authorizeRoutes } from '../../../hub/console/authorize.ts'
import type { Logins } from '../../../hub/console/logins.ts'
import type { Role, Session } from '../../../hub/registry/console-sessions.ts'
import { consoleRig, type ConsoleRig } from './console-rig.ts'

/** `ours` is the namespace edge, in which what is asked for stands. */
type Who = { readonly role: Role | 'nobody'; readonly of: 'all' | 'ours' | 'theirs' }
const ROLES = ['viewer', 'operator', 'admin'] as const
const EVERYBODY: readonly Who[] = [
  { role: 'nobody', of: 'all' },
  ...ROLES.flatMap((role) => (['all', 'ours', 'theirs'] as const).map((of) => ({ role, of }))),
]

type Expected = {
  readonly method: string
  readonly path: string
  readonly body?: unknown
  readonly query?: string
  /** The least role; anyone: without a session, too. */
  readonly needs: Role | 'anyone'
  /** `all`: in all namespaces; `named`: in that of what is asked for; `some`: anywhere. */
  readonly of: 'some' | 'all' | 'named'
}
const token = { namespace: 'edge', serviceAccount: 'gw', nodes: 'gw-9' }
const TABLE: readonly Expected[] = [
  { method: 'GET', path: '/api/v1/login', needs: 'anyone', of: 'some' },
  { method: 'POST', path: '/api/v1/login', body: { token: 'x' }, needs: 'anyone', of: 'some' },
  { method: 'POST', path: '/api/v1/login/cli', body: { token: 'x' }, needs: 'anyone', of: 'some' },
  { method: 'GET', path: '/api/v1/openapi.json', needs: 'anyone', of: 'some' },
  { method: 'GET', path: '/api/v1/session', needs: 'viewer', of: 'some' },
  { method: 'DELETE', path: '/api/v1/session', needs: 'anyone', of: 'some' },
  { method: 'GET', path: '/api/v1/sessions', needs: 'admin', of: 'all' },
  { method: 'DELETE', path: '/api/v1/sessions/:id', needs: 'admin', of: 'all' },
  { method: 'POST', path: '/api/v1/sessions/end', body: { operator: 'nosuch' }, needs: 'admin', of: 'all' },
  { method: 'GET', path: '/api/v1/overview', needs: 'viewer', of: 'some' },
  { method: 'GET', path: '/api/v1/devices', needs: 'viewer', of: 'some' },
  { method: 'GET', path: '/api/v1/devices/:name', needs: 'viewer', of: 'named' },
  { method: 'GET', path: '/api/v1/devices/:name/history', needs: 'viewer', of: 'named' },
  { method: 'POST', path: '/api/v1/devices/:name/approve', body: {}, needs: 'operator', of: 'named' },
  { method: 'POST', path: '/api/v1/devices/:name/deny', body: {}, needs: 'operator', of: 'named' },
  { method: 'POST', path: '/api/v1/devices/:name/revoke', body: {}, needs: 'operator', of: 'named' },
  { method: 'POST', path: '/api/v1/devices/:name/forget', body: {}, needs: 'admin', of: 'named' },
  { method: 'POST', path: '/api/v1/devices/:name/ask', body: { command: 'status' }, needs: 'operator', of: 'named' },
  { method: 'GET', path: '/api/v1/devices/:name/configuration', needs: 'viewer', of: 'named' },
  {
    method: 'GET',
    path: '/api/v1/devices/:name/configuration/diff',
    query: '?type=Cluster&name=nosuch',
    needs: 'operator',
    of: 'named',
  },
  { method: 'GET', path: '/api/v1/devices/:name/record', needs: 'viewer', of: 'named' },
  { method: 'GET', path: '/api/v1/enrollments', needs: 'viewer', of: 'some' },
  { method: 'GET', path: '/api/v1/device-events', needs: 'viewer', of: 'some' },
  { method: 'GET', path: '/api/v1/device-revisions', needs: 'viewer', of: 'all' },
  { method: 'GET', path: '/api/v1/fleet', needs: 'viewer', of: 'some' },
  { method: 'GET', path: '/api/v1/data-use', needs: 'viewer', of: 'some' },
  { method: 'GET', path: '/api/v1/tokens', needs: 'viewer', of: 'some' },
  { method: 'POST', path: '/api/v1/tokens', body: token, needs: 'operator', of: 'named' },
  { method: 'POST', path: '/api/v1/tokens/many', body: { ...token, nodes: ['gw-8'] }, needs: 'operator', of: 'named' },
  { method: 'POST', path: '/api/v1/tokens/:id/revoke', body: {}, needs: 'operator', of: 'named' },
  { method: 'GET', path: '/api/v1/rollouts', needs: 'viewer', of: 'all' },
  { method: 'POST', path: '/api/v1/rollouts', body: { to: 'aaaa', now: true }, needs: 'admin', of: 'all' },
  { method: 'POST', path: '/api/v1/rollouts/preview', body: { to: 'aaaa', now: true }, needs: 'admin', of: 'all' },
  { method: 'GET', path: '/api/v1/rollouts/status', needs: 'viewer', of: 'all' },
  { method: 'GET', path: '/api/v1/rollouts/records', needs: 'viewer', of: 'all' },
  { method: 'GET', path: '/api/v1/rollouts/:id', needs: 'viewer', of: 'all' },
  ...(['pause', 'resume', 'abort', 'undo'] as const).map((verb): Expected => ({
    method: 'POST',
    path: `/api/v1/rollouts/:id/${verb}`,
    body: {},
    needs: 'operator',
    of: 'all',
  })),
  { method: 'GET', path: '/api/v1/revisions', needs: 'viewer', of: 'all' },
  { method: 'GET', path: '/api/v1/revisions/:id', needs: 'viewer', of: 'all' },
  { method: 'GET', path: '/api/v1/revisions/:id/files', needs: 'viewer', of: 'all' },
  { method: 'GET', path: '/api/v1/revisions/:id/who', needs: 'viewer', of: 'all' },
  { method: 'GET', path: '/api/v1/revisions/:id/diff/:to', needs: 'operator', of: 'all' },
  { method: 'GET', path: '/api/v1/enrolment', needs: 'viewer', of: 'some' },
  {
    method: 'POST',
    path: '/api/v1/enrolment/approve',
    body: { devices: [{ name: 'gw-1', keyId: 'k' }] },
    needs: 'operator',
    of: 'some',
  },
  { method: 'GET', path: '/api/v1/audit.csv', needs: 'viewer', of: 'some' },
  { method: 'GET', path: '/api/v1/audit', needs: 'viewer', of: 'some' },
  { method: 'GET', path: '/api/v1/events', needs: 'viewer', of: 'some' },
]

/** 401, 403 and 404 are refusals of this step; anything else went past it. */
function expectedRefusal({ needs, of }: Expected, who: Who): number | undefined {
  if (needs === 'anyone') return undefined
  if (who.role === 'nobody') return 401
  const isEnough = ROLES.indexOf(who.role) >= ROLES.indexOf(needs)
  if (of === 'all') return isEnough && who.of === 'all' ? undefined : 403
  if (!isEnough) return 403
  return of === 'named' && who.of === 'theirs' ? 404 : undefined
}

async function cookieOf(rig: ConsoleRig, { role, of }: Who): Promise<string | undefined> {
  if (role === 'nobody') return undefined
  const namespace = of === 'all' ? '*' : of === 'ours' ? 'edge' : 'lab'
  return rig.login([{ namespace, role }], `operator:${role}-${of}`)
}

type Described = {
  readonly summary?: string
  readonly 'x-access'?: object
  readonly parameters?: readonly { readonly name: string; readonly in: string }[]
  readonly requestBody?: object
  readonly responses: Readonly<
    Record<string, { readonly content: Readonly<Record<string, { readonly schema: object }>> }>
  >
}

test('every route of the API is in the table, and described with who may ask it, what it takes and what it says', async (t) => {
  const rig = await consoleRig(t)
  const { body } = await rig.ask({ path: '/api/v1/openapi.json' })
  for (const [path, methods] of Object.entries(body['paths'] as Record<string, Record<string, Described>>))
    for (const [method, one] of Object.entries(methods)) {
      const line = `${method} ${path}`
      const row = TABLE.find(
        (r) => r.method === method.toUpperCase() && r.path === path.replaceAll(/\{(\w+)\}/g, ':$1'),
      )
      assert.deepEqual(
        one['x-access'],
        row?.needs === 'anyone' ? { of: 'anyone' } : { of: row?.of, role: row?.needs },
        line,
      )
      assert.ok((one.summary ?? '').length > 4, line)
      const said = Object.values(one.responses['200']?.content ?? {})
      assert.ok(said.length === 1 && Object.keys(said[0]!.schema).length > 0, `${line} does not describe its answer`)
      assert.ok(one.responses['4XX'] && one.responses['5XX'], `${line} does not describe its errors`)
      const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name)
      assert.deepEqual(
        (one.parameters ?? []).filter((p) => p.in === 'path').map((p) => p.name),
        inPath,
        line,
      )
      const takesBody = Object.keys((row?.body as object | undefined) ?? {}).length > 0
      assert.ok(one.requestBody !== undefined || !takesBody, `${line}: its body`)
    }
  const routes = Object.entries(body['paths'] as Record<string, object>).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path.replaceAll(/\{(\w+)\}/g, ':$1')}`),
  )
  assert.deepEqual(routes.toSorted(), TABLE.map(({ method, path }) => `${method} ${path}`).toSorted())
})

for (const who of EVERYBODY)
  test(`what ${who.role} of ${who.of} may`, async (t) => {
    const rig = await consoleRig(
      t,
      'console: {listen: "127.0.0.1:0", loginsPerMinute: 1000, requestsPerMinute: 100000}',
    )
    const { registry } = rig.hub
    for (const id of ['aaaa', 'bbbb'])
      await registry.revisions.add({ revision: { id, files: [] }, nowMs: 1, readSource: async () => Buffer.of() })
    const { jti } = await rig.hub.createToken({ namespace: 'edge', serviceAccount: 'gw', nodes: 'gw-*' })
    for (const expected of TABLE) {
      const asks = {
        name: 'gw-1',
        namespace: 'edge',
        serviceAccount: 'gw',
        keyId: 'k',
        jti,
        labels: {},
        address: '10.0.0.1',
      }
      await registry.enrollments.deny('gw-1')
      await registry.enrollments.forget('gw-1')
      await registry.enrollments.ask({ ...asks, why: 'of the test', askedMs: Date.now() })
      const cookie = await cookieOf(rig, who)
      const path = expected.path
        .replace(':name', 'gw-1')
        .replace(':to', 'nosuch')
        .replace(':id', expected.path.includes('tokens') ? jti : 'nosuch')
      if (path === '/api/v1/events' && expectedRefusal(expected, who) === undefined) continue
      const said = await rig.ask({
        method: expected.method,
        path: path + (expected.query ?? ''),
        body: expected.body,
        cookie,
      })
      const refusal = expectedRefusal(expected, who)
      const line = `${expected.method} ${path} for ${who.role} of ${who.of}: ${said.status} ${said.text.slice(0, 200)}`
      if (refusal !== undefined) assert.equal(said.status, refusal, line)
      else if (path.startsWith('/api/v1/login') && expected.method === 'POST') assert.equal(said.status, 401, line)
      // Nothing of this name is connected; nobody of this name is logged in.
      else if (path.endsWith('/ask') || path === '/api/v1/sessions/end') assert.equal(said.status, 400, line)
      else if (path.endsWith('/record')) assert.equal(said.status, 404, line)
      else if (`${path}${expected.query}`.includes('nosuch')) assert.equal(said.status, 404, line)
      else assert.equal(said.status, 200, line)
    }
  })

test('who asks for what another tenant has, or is to have, learns nothing and changes nothing', async (t) => {
  const rig = await consoleRig(t)
  const { enrollments } = rig.hub.registry
  const of = { serviceAccount: 'gw', jti: null, labels: {}, address: '10.0.0.1' }
  await enrollments.enroll({ ...of, name: 'gw-1', namespace: 'edge', keyId: 'ours' }, Date.now())
  await enrollments.ask({
    ...of,
    name: 'gw-1',
    namespace: 'lab',
    keyId: 'theirs',
    why: 'the name belongs to another key',
    askedMs: Date.now(),
  })
  const lab = await rig.login([{ namespace: 'lab', role: 'admin' }])
  const approve = await rig.ask({
    method: 'POST',
    path: '/api/v1/devices/gw-1/approve',
    body: { keyId: 'theirs' },
    cookie: lab,
  })
  assert.equal(approve.status, 403, 'the name is that of another tenant: both have to agree')
  assert.doesNotMatch(approve.text, /edge|ours/)
  for (const verb of ['revoke', 'forget', 'deny'])
    assert.equal(
      (await rig.ask({ method: 'POST', path: `/api/v1/devices/gw-1/${verb}`, body: {}, cookie: lab })).status,
      403,
    )
  assert.equal((await enrollments.byName('gw-1'))?.keyId, 'ours')
  const { body } = await rig.ask({ path: '/api/v1/enrolment', cookie: lab })
  assert.doesNotMatch(JSON.stringify(body), /ours/, 'whose name it is')
  for (const path of [
    '/api/v1/devices',
    '/api/v1/devices?search=gw-1',
    '/api/v1/overview',
    '/api/v1/audit',
    '/api/v1/devices/gw-1',
  ])
    assert.doesNotMatch((await rig.ask({ path, cookie: lab })).text, /"ours"|"edge"/, path)
})

test('a route that does not say who may ask it does not come into being', async () => {
  const app = fastify()
  authorizeRoutes(app, { logins: {} as Logins, proved: () => {} })
  assert.throws(() => app.get('/open', async () => 'x'), /does not say who may ask it/)
})

test('the highest role of several counts, each in its namespace', () => {
  const session = {
    grants: [
      { namespace: 'edge', role: 'viewer' },
      { namespace: 'edge', role: 'operator' },
      { namespace: '*', role: 'viewer' },
    ],
  }
  const operator = new Operator(session as unknown as Session)
  assert.ok(operator.may('operator', 'edge'))
  assert.ok(!operator.may('operator', 'lab') && operator.sees('lab'))
  assert.ok(!operator.may('operator', '*') && operator.seesAll)
})
