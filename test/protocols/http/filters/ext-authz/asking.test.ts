/** ext_authz over HTTP: who is asked, what the service gets, and what its answer does to the request. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type http from 'node:http'
import type { Policy } from '../../../../../model/policy.ts'
import type { StringMatch } from '../../../../../model/matcher.ts'
import type { Codec } from '../../both.ts'
import { AuthRig } from './rig.ts'

const named = (value: string): StringMatch => ({ kind: 'exact', value, ignoreCase: false })
const yes: http.RequestListener = (_request, response) => response.writeHead(200).end()
const CODECS: readonly Codec[] = ['http1', 'http2']

for (const codec of CODECS) {
  test(`a good answer lets the request pass, with its headers for the endpoint and for the client, ${codec}`, async (t) => {
    const { both, asked } = await AuthRig.overHttp(
      t,
      (_request, response) =>
        response
          .writeHead(200, {
            'x-user': 'ann',
            'x-more': 'b',
            'x-told': '100%',
            'x-other': '1',
            'x-envoy-auth-headers-to-remove': 'x-gone',
          })
          .end(),
      {
        service: {
          pathPrefix: '/check',
          headers: ['x-by', 'mesh'],
          upstream: [named('x-user'), named('host'), named('x-envoy-peer-metadata')],
          upstreamAppended: [named('x-more')],
          clientOnSuccess: [named('x-told')],
        },
        settings: { allowed: [named('x-given')], disallowed: [named('x-secret')] },
      },
    )
    const { status, headers, saw } = await both.ask(codec, {
      path: '/a?b',
      fields: [
        ['x-given', '1'],
        ['x-secret', '2'],
        ['authorization', 'Bearer t'],
        ['x-user', 'forged'],
        ['x-more', 'a'],
        ['x-gone', '1'],
      ],
    })
    assert.equal(status, 200)
    const [question] = asked
    assert.deepEqual([question!.method, question!.path, question!.body.length], ['GET', '/check/a?b', 0])
    assert.deepEqual(
      ['host', 'x-given', 'authorization', 'x-by', 'x-secret', 'x-user'].map((name) => question!.headers[name]),
      ['a', '1', 'Bearer t', 'mesh', undefined, undefined],
    )
    assert.deepEqual(
      ['x-user', 'x-more', 'x-other', 'x-gone', 'host'].map((name) => saw!.headers[name]),
      ['ann', 'a, b', undefined, undefined, 'a'],
    )
    assert.deepEqual([headers['x-told'], headers['x-other']], ['100%', undefined])
    assert.equal(both.metrics.total('mesh_http_ext_authz_total', { result: 'ok' }), 1)
  })

  test(`a refusal goes to the client as the service says it, ${codec}`, async (t) => {
    const { both } = await AuthRig.overHttp(t, (_request, response) =>
      response.writeHead(401, { 'www-authenticate': 'Basic', 'content-type': 'text/html', 'x-a': '1' }).end('<no>'),
    )
    const { status, headers, body, saw } = await both.ask(codec, {})
    assert.deepEqual([status, body, saw], [401, '<no>', undefined])
    assert.deepEqual(
      ['www-authenticate', 'content-type', 'x-a', 'x-meshlet-error'].map((name) => headers[name]),
      ['Basic', 'text/html', '1', 'MESH_EXT_AUTHZ_DENIED'],
    )
  })

  test(`the body goes to the service and then to the endpoint, ${codec}`, async (t) => {
    const { both, asked } = await AuthRig.overHttp(t, yes, {
      settings: { body: { maxBytes: 10, partial: false, asBytes: false } },
    })
    assert.equal((await both.ask(codec, { method: 'POST', body: '0123456789' })).saw?.body, '0123456789')
    assert.equal(asked[0]!.body.toString(), '0123456789')
    assert.equal(asked[0]!.headers['x-envoy-auth-partial-body'], 'false')
    const large = await both.ask(codec, { method: 'POST', body: '0123456789a' })
    assert.deepEqual([large.status, large.saw, asked.length], [413, undefined, 1])
  })
  test(`a part of the body will do, ${codec}`, async (t) => {
    const { both, asked } = await AuthRig.overHttp(t, yes, {
      settings: { body: { maxBytes: 4, partial: true, asBytes: false } },
    })
    assert.equal((await both.ask(codec, { method: 'POST', body: '0123456789' })).saw?.body, '0123456789')
    assert.deepEqual([asked[0]!.body.toString(), asked[0]!.headers['x-envoy-auth-partial-body']], ['0123', 'true'])
  })
}

test('behind grpc_web the service is shown the body as the endpoint gets it, and none that is no base64', async (t) => {
  const { both, asked } = await AuthRig.overHttp(t, yes, {
    filters: [{ kind: 'grpc-web', name: 'web' }],
    settings: { body: { maxBytes: 100, partial: true, asBytes: false } },
  })
  const send = (body: string) =>
    both.ask('http1', { method: 'POST', body, fields: [['content-type', 'application/grpc-web-text']] })
  const message = 'what is forbidden'
  assert.equal((await send(Buffer.from(message).toString('base64'))).saw?.body, message)
  assert.equal(asked[0]!.body.toString(), message)
  assert.deepEqual([(await send('!!!!')).saw, asked.length], [undefined, 1])
})

test('what may not be changed is refused where that is looked at, whatever happens when nobody answers', async (t) => {
  const answer: http.RequestListener = (_q, a) => a.writeHead(200, { 'x-envoy-peer-metadata': '1' }).end()
  const { both } = await AuthRig.overHttp(t, answer, {
    settings: { validates: true, failureAllows: true },
    service: { upstream: [named('x-envoy-peer-metadata')] },
  })
  const { status, saw } = await both.ask('http1', {})
  assert.deepEqual([status, saw], [500, undefined])
  assert.equal(both.metrics.total('mesh_http_ext_authz_total', { result: 'invalid' }), 1)
})

for (const { name, answer, settings = {}, service = {}, want } of [
  { name: 'a status of 5xx', answer: (_q, a) => a.writeHead(500).end(), want: 403 },
  { name: 'no answer in time', answer: () => {}, service: { timeoutMs: 20 }, want: 403 },
  { name: 'the connection breaks', answer: (q) => q.socket.destroy(), want: 403 },
  { name: 'the cluster is unknown', answer: yes, service: { cluster: 'nobody' }, want: 403 },
  { name: 'an endless answer', answer: (_q, a) => a.end(Buffer.alloc(70_000)), want: 403 },
  {
    name: 'another status on error',
    answer: (_q, a) => a.writeHead(503).end(),
    settings: { statusOnError: 503 },
    want: 503,
  },
  {
    name: 'who cannot be asked about passes where that is configured',
    answer: (_q, a) => a.writeHead(500).end(),
    settings: { failureAllows: true, failureIsTold: true },
    want: 200,
  },
] as {
  name: string
  answer: http.RequestListener
  settings?: object
  service?: object
  want: number
}[]) {
  test(`nobody knows: ${name}`, async (t) => {
    const { both } = await AuthRig.overHttp(t, answer, { settings, service })
    const { status, headers, saw } = await both.ask('http1', {})
    assert.equal(status, want)
    assert.equal(headers['x-meshlet-error'], want === 200 ? undefined : 'MESH_EXT_AUTHZ_UNAVAILABLE')
    assert.equal(saw?.headers['x-envoy-auth-failure-mode-allowed'], want === 200 ? 'true' : undefined)
    assert.equal(both.metrics.total('mesh_http_ext_authz_total', { result: 'error' }), 1)
  })
}

test('the rules of CUSTOM policies say whom the service is asked about, and what they find is no dry run', async (t) => {
  const custom: Policy = {
    action: 'log',
    rules: [],
    shadow: {
      action: 'deny',
      prefix: 'istio_ext_authz_',
      rules: [
        {
          name: 'istio-ext-authz-ns[a]-policy[b]-rule[0]',
          permissions: [{ kind: 'path', match: { kind: 'prefix', value: '/admin', ignoreCase: false } }],
          principals: [{ kind: 'any' }],
        },
      ],
    },
  }
  const { both, asked } = await AuthRig.overHttp(t, (_request, response) => response.writeHead(403).end(), {
    filters: [{ kind: 'rbac', name: 'custom', policy: custom }],
    settings: {
      enabledBy: {
        filter: 'envoy.filters.http.rbac',
        path: ['istio_ext_authz_shadow_effective_policy_id'],
        value: { kind: 'string', match: { kind: 'prefix', value: 'istio-ext-authz', ignoreCase: false } },
        invert: false,
      },
    },
  })
  assert.equal((await both.ask('http1', { path: '/free' })).status, 200)
  assert.equal(asked.length, 0)
  assert.equal((await both.ask('http1', { path: '/admin' })).status, 403)
  assert.equal(asked.length, 1)
  assert.equal(both.metrics.total('mesh_authz_policy_total'), 0)
})

test('a route switches it off, or says more to it', async (t) => {
  const filters = new Map([['authz', { off: false, extAuthz: false as const }]])
  const { both, asked } = await AuthRig.overHttp(t, yes, { route: { filters } })
  assert.equal((await both.ask('http1', {})).status, 200)
  assert.equal(asked.length, 0)
})
