/** The same is compared with Envoy by chance (test/conformance/envoy/generated). */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { LocalReplyConfig } from '../../../../model/http/local-reply.ts'
import type { CorsPolicy } from '../../../../model/http/cors.ts'
import { decideCors, type CorsDecision } from '../../../../protocols/http/filters/cors.ts'
import { Both } from '../both.ts'
import { forwardTo, manager, route } from '../harness.ts'

const POLICY: CorsPolicy = {
  enabled: 1,
  shadow: 0,
  origins: [{ kind: 'exact', value: 'https://shop.example', ignoreCase: false }],
  allowMethods: '',
  allowHeaders: '',
  exposeHeaders: '',
  maxAge: '',
  allowCredentials: undefined,
  allowPrivateNetwork: undefined,
  forwardOthers: undefined,
}
const ALL: Partial<CorsPolicy> = {
  allowMethods: '*',
  allowHeaders: '*',
  exposeHeaders: 'x-shown',
  maxAge: '60',
  allowCredentials: true,
  allowPrivateNetwork: true,
}
const GOOD = { origin: 'https://shop.example' }
const ASKS = { ...GOOD, 'access-control-request-method': 'PUT', 'access-control-request-headers': 'x-a, x-b' }
const ORIGIN = ['access-control-allow-origin', 'https://shop.example']

const decided = (
  policy: Partial<CorsPolicy> | undefined,
  fields: Readonly<Record<string, string>>,
  method = 'GET',
  drawn = 0.5,
): CorsDecision | undefined =>
  decideCors(
    policy && { ...POLICY, ...policy },
    { method, path: '/', authority: 'a', scheme: 'http', header: (name) => fields[name] },
    { float: () => drawn },
  )

for (const { name, policy = {}, fields = GOOD, method, drawn, want } of [
  { name: 'no policy', policy: undefined, fields: {}, want: undefined },
  { name: 'no origin', fields: {}, want: undefined },
  { name: 'an empty origin', fields: { origin: '' }, want: undefined },
  { name: 'a policy that is disabled', policy: { enabled: 0 }, want: undefined },
  {
    name: 'a policy that is only looked at (shadow_enabled)',
    policy: { enabled: 0.4, shadow: 1 },
    want: { isAllowed: true, fields: [], preflight: undefined },
  },
  {
    name: 'a share of requests (filter_enabled) that this one is in',
    policy: { enabled: 0.6 },
    want: { isAllowed: true, fields: ORIGIN, preflight: undefined },
  },
  { name: 'an origin that is allowed', want: { isAllowed: true, fields: ORIGIN, preflight: undefined } },
  {
    name: 'an origin that is not allowed',
    fields: { origin: 'https://evil.example' },
    want: { isAllowed: false, fields: [], preflight: undefined },
  },
  {
    name: 'an origin of what matches the text *',
    policy: { origins: [{ kind: 'exact', value: '*', ignoreCase: false }] },
    fields: { origin: 'https://any.example' },
    want: { isAllowed: true, fields: ['access-control-allow-origin', 'https://any.example'], preflight: undefined },
  },
  {
    name: 'credentials and exposed headers',
    policy: ALL,
    want: {
      isAllowed: true,
      fields: [...ORIGIN, 'access-control-allow-credentials', 'true', 'access-control-expose-headers', 'x-shown'],
      preflight: undefined,
    },
  },
  {
    name: 'OPTIONS without access-control-request-method',
    method: 'OPTIONS',
    want: { isAllowed: true, fields: ORIGIN, preflight: undefined },
  },
  {
    name: 'a preflight of a policy that names no more than origins',
    method: 'OPTIONS',
    fields: ASKS,
    want: { isAllowed: true, fields: ORIGIN, preflight: [] },
  },
  {
    name: 'a preflight, where * stands for what was asked for',
    policy: ALL,
    method: 'OPTIONS',
    fields: { ...ASKS, 'access-control-request-private-network': 'true' },
    want: {
      isAllowed: true,
      fields: [...ORIGIN, 'access-control-allow-credentials', 'true', 'access-control-expose-headers', 'x-shown'],
      preflight: [
        'access-control-allow-credentials',
        'true',
        'access-control-allow-methods',
        'PUT',
        'access-control-allow-headers',
        'x-a, x-b',
        'access-control-max-age',
        '60',
        'access-control-allow-private-network',
        'true',
      ],
    },
  },
  {
    name: 'a preflight of an origin that is not allowed goes on',
    method: 'OPTIONS',
    fields: { ...ASKS, origin: 'null' },
    want: { isAllowed: false, fields: [], preflight: undefined },
  },
  {
    name: 'unless forward_not_matching_preflights says no',
    policy: { forwardOthers: false, allowMethods: 'GET' },
    method: 'OPTIONS',
    fields: { ...ASKS, origin: 'null' },
    want: { isAllowed: false, fields: [], preflight: ['access-control-allow-methods', 'GET'] },
  },
] as readonly {
  name: string
  policy?: Partial<CorsPolicy>
  fields?: Readonly<Record<string, string>>
  method?: string
  drawn?: number
  want: CorsDecision | undefined
}[])
  test(name, () => assert.deepEqual(decided(name === 'no policy' ? undefined : policy, fields, method, drawn), want))

/** For answers of the listener's own; that to a preflight is the filter's. */
const OTHER_WORDS: LocalReplyConfig = {
  mappers: [{ filter: { kind: 'status', is: 'ge', value: 200 }, status: 410, headers: { remove: [], add: [] } }],
}
const cors = (policy: Partial<CorsPolicy>) =>
  manager(
    [route(forwardTo(), { filters: new Map([['cors', { off: false, cors: { ...POLICY, ...policy } }]]) })],
    { filters: [{ kind: 'cors', name: 'cors' }], localReply: OTHER_WORDS },
    {
      headers: {
        request: { remove: [], add: [] },
        response: { remove: [], add: [{ name: 'r', value: '1', how: 'append' }] },
      },
    },
  )
for (const codec of ['http1', 'http2'] as const) {
  test(`${codec}: a preflight is answered here, without what the route adds to answers, and counted`, async (t) => {
    const both = await Both.start(t, cors({ allowMethods: 'GET' }))
    const { status, headers, body, saw } = await both.ask(codec, { method: 'OPTIONS', fields: Object.entries(ASKS) })
    assert.deepEqual(
      [
        status,
        headers['access-control-allow-origin'],
        headers['access-control-allow-methods'],
        headers['r'],
        body,
        saw,
      ],
      [200, GOOD.origin, 'GET', undefined, '', undefined],
    )
    assert.match(both.metrics.text(), /mesh_http_cors_origins_total\{origin="allowed"\} 1/)
  })
  test(`${codec}: what the endpoint says of origins is replaced where the origin is allowed, and stays where it is not`, async (t) => {
    const both = await Both.start(t, cors({}), {
      answer: (_, response) => response.setHeader('access-control-allow-origin', '*').end('hi'),
    })
    const origins = [GOOD.origin, 'https://evil.example']
    const said = []
    for (const origin of origins) said.push(await both.ask(codec, { fields: [['origin', origin]] }))
    assert.deepEqual(
      said.map((s) => [s.headers['access-control-allow-origin'], s.headers['r'], s.body]),
      [
        [GOOD.origin, '1', 'hi'],
        ['*', '1', 'hi'],
      ],
    )
    assert.match(both.metrics.text(), /mesh_http_cors_origins_total\{origin="refused"\} 1/)
  })
}
