/** Traffic management: where requests go. */
import assert from 'node:assert/strict'
import { call, callGrpc, talk, type CallOptions } from '../mesh/calls.ts'
import { hostOf, SERVICES, urlOf } from '../mesh/services.ts'
import type { Task } from '../task.ts'
import { countApps, destinationRule, routeTo, virtualService } from '../yaml/yaml.ts'

const { reviews, httpbin, tcpEcho, grpc } = SERVICES
const REVIEWS = hostOf(reviews)
const URL = urlOf(reviews)
const subsets = destinationRule(reviews, { subsets: ['v1', 'v2', 'v3'] })
const routes = (http: string): string => subsets + virtualService(reviews, http)
const to = (subset: string): string => routeTo(reviews, subset)

export const routing: readonly Task[] = [
  {
    name: 'Request routing',
    page: 'tasks/traffic-management/request-routing/',
    yaml: routes(`  - match: [{headers: {end-user: {exact: jason}}}]
    ${to('v2')}
  - ${to('v1')}
`),
    checks: [
      {
        what: 'everybody gets v1, jason v2',
        run: async () => {
          assert.deepEqual(await countApps(URL, 5), { 'reviews-v1': 5 })
          assert.equal((await call(URL, { headers: { 'end-user': 'jason' } })).app, 'reviews-v2')
        },
      },
      {
        what: 'matches of method, query, path, scheme, header presence and source labels',
        yaml: routes(`  - {match: [{method: {exact: POST}}], ${to('v2')}}
  - {match: [{queryParams: {ver: {regex: "2|two"}}}], ${to('v2')}}
  - {match: [{uri: {regex: "/v[23]/.*"}}], ${to('v2')}}
  - {match: [{uri: {exact: /CASE}, ignoreUriCase: true}], ${to('v2')}}
  - {match: [{headers: {x-any: {}}, withoutHeaders: {x-not: {}}}], ${to('v2')}}
  - {match: [{sourceLabels: {app: somebody-else}}], ${to('v3')}}
  - {match: [{sourceLabels: {app: curl}, uri: {prefix: /mine}}], ${to('v2')}}
  - ${to('v1')}
`),
        run: async () => {
          const two: [string, CallOptions?][] = [
            ['/', { method: 'POST' }],
            ['/?ver=two'],
            ['/v3/x'],
            ['/case'],
            ['/', { headers: { 'x-any': '' } }],
            ['/mine'],
          ]
          for (const [path, o] of two) assert.equal((await call(urlOf(reviews, path), o)).app, 'reviews-v2', path)
          const one: [string, CallOptions?][] = [
            ['/?ver=22'],
            ['/v4/x'],
            ['/', { headers: { 'x-any': '', 'x-not': '' } }],
          ]
          for (const [path, o] of one) assert.equal((await call(urlOf(reviews, path), o)).app, 'reviews-v1', path)
        },
      },
      {
        what: 'rewrite, redirect, direct response, header operations',
        yaml: routes(`  - {match: [{uri: {prefix: /old/}}], rewrite: {uri: /new/, authority: other.example}, ${to('v1')}}
  - {match: [{uri: {prefix: /id/}}], rewrite: {uriRegexRewrite: {match: "/id/([0-9]+)/(.*)", rewrite: '/\\2/\\1'}}, ${to('v1')}}
  - {match: [{uri: {prefix: /moved}}], redirect: {uri: /there, authority: there.example, redirectCode: 302}}
  - {match: [{uri: {prefix: /direct}}], directResponse: {status: 418, body: {string: teapot}}, headers: {response: {set: {x-direct: "yes"}}}}
  - headers: {request: {set: {x-set: one}, add: {x-add: two}, remove: [x-gone]}, response: {set: {x-answer: three}, remove: [content-type]}}
    ${to('v1')}
`),
        run: async () => {
          const rewritten = await call(urlOf(reviews, '/old/a?b=c'))
          assert.deepEqual([rewritten.seen?.url, rewritten.seen?.headers['host']], ['/new/a?b=c', 'other.example'])
          assert.equal((await call(urlOf(reviews, '/id/17/name'))).seen?.url, '/name/17')
          const moved = await call(urlOf(reviews, '/moved'))
          assert.deepEqual([moved.status, moved.headers.location], [302, 'http://there.example/there'])
          const direct = await call(urlOf(reviews, '/direct'))
          assert.deepEqual([direct.status, direct.body, direct.headers['x-direct']], [418, 'teapot', 'yes'])
          const { seen, headers } = await call(URL, { headers: { 'x-gone': '1', 'x-add': 'zero' } })
          assert.deepEqual(
            [seen?.headers['x-set'], seen?.headers['x-add'], seen?.headers['x-gone']],
            ['one', 'zero, two', undefined],
          )
          assert.deepEqual([headers['x-answer'], headers['content-type']], ['three', undefined])
        },
      },
      {
        what: 'a delegate VirtualService',
        yaml: `${subsets}${virtualService(reviews, '  - {match: [{uri: {prefix: /team}}], delegate: {name: team, namespace: default}}\n')}---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: team, namespace: default}
spec:
  http:
  - {match: [{uri: {prefix: /team/two}}], ${to('v2')}}
  - ${to('v1')}
`,
        run: async () => {
          assert.equal((await call(urlOf(reviews, '/team/two/x'))).app, 'reviews-v2')
          assert.equal((await call(urlOf(reviews, '/team/x'))).app, 'reviews-v1')
          assert.equal((await call(urlOf(reviews, '/'))).status, 404)
        },
      },
    ],
  },
  {
    name: 'CORS policy',
    page: 'reference/config/networking/virtual-service/#CorsPolicy',
    yaml: routes(`  - corsPolicy:
      allowOrigins: [{exact: https://example.com}]
      allowMethods: [POST, GET]
      allowCredentials: true
      allowHeaders: [x-foo-bar]
      exposeHeaders: [x-seen]
      maxAge: 24h
    ${to('v1')}
`),
    checks: [
      {
        what: 'the preflight is answered and does not reach the application',
        run: async (mesh) => {
          await mesh.seen('reviews-v1')
          const { status, headers } = await call(URL, {
            method: 'OPTIONS',
            headers: { origin: 'https://example.com', 'access-control-request-method': 'POST' },
          })
          assert.deepEqual(
            [
              status,
              headers['access-control-allow-origin'],
              headers['access-control-allow-methods'],
              headers['access-control-allow-headers'],
              headers['access-control-max-age'],
              headers['access-control-allow-credentials'],
            ],
            [200, 'https://example.com', 'POST,GET', 'x-foo-bar', '86400', 'true'],
          )
          assert.deepEqual(await mesh.seen('reviews-v1'), [])
        },
      },
      {
        what: 'answers to that origin say that it may read them, to others not',
        run: async () => {
          const answer = await call(URL, { headers: { origin: 'https://example.com' } })
          assert.deepEqual(
            [
              answer.app,
              answer.headers['access-control-allow-origin'],
              answer.headers['access-control-allow-credentials'],
              answer.headers['access-control-expose-headers'],
            ],
            ['reviews-v1', 'https://example.com', 'true', 'x-seen'],
          )
          const other = await call(URL, { headers: { origin: 'https://example.org' } })
          assert.equal(other.headers['access-control-allow-origin'], undefined)
        },
      },
    ],
  },
  {
    name: 'Fault injection',
    page: 'tasks/traffic-management/fault-injection/',
    yaml: routes(`  - match: [{headers: {end-user: {exact: jason}}}]
    fault: {delay: {percentage: {value: 100}, fixedDelay: 0.7s}}
    ${to('v1')}
  - match: [{headers: {end-user: {exact: abort}}}]
    fault: {abort: {percentage: {value: 100}, httpStatus: 500}}
    ${to('v1')}
  - match: [{headers: {end-user: {exact: half}}}]
    fault: {abort: {percentage: {value: 50}, httpStatus: 500}}
    ${to('v1')}
  - ${to('v1')}
`),
    checks: [
      {
        what: 'delays, aborts, and a share of aborts',
        run: async () => {
          const as = (user: string) => call(URL, { headers: { 'end-user': user } })
          const delayed = await as('jason')
          assert.ok(delayed.status === 200 && delayed.ms >= 700, `${delayed.status} ${delayed.ms}`)
          const aborted = await as('abort')
          assert.equal(aborted.status, 500)
          const half = await Promise.all(Array.from({ length: 100 }, () => as('half')))
          const failed = half.filter((a) => a.status === 500).length
          assert.ok(failed > 25 && failed < 75, String(failed))
          assert.equal((await call(URL)).status, 200)
        },
      },
      {
        what: 'aborts with a status of gRPC',
        yaml: virtualService(
          grpc,
          `  - fault: {abort: {percentage: {value: 100}, grpcStatus: UNAVAILABLE}}\n    ${routeTo(grpc)}\n`,
        ),
        run: async () => {
          assert.deepEqual(await callGrpc(hostOf(grpc), grpc.port, '/echo.Echo/Say'), {
            status: '14',
            app: '',
            http: 200,
          })
        },
      },
    ],
  },
  {
    name: 'Traffic shifting',
    page: 'tasks/traffic-management/traffic-shifting/',
    yaml: routes(`  - route:
    - {destination: {host: ${REVIEWS}, subset: v1}, weight: 80}
    - {destination: {host: ${REVIEWS}, subset: v3}, weight: 20, headers: {request: {set: {x-canary: "yes"}}}}
`),
    checks: [
      {
        what: 'shares of 80 and 20 of 300, headers of one destination',
        run: async () => {
          const seen = await countApps(URL, 300)
          const { 'reviews-v1': one = 0, 'reviews-v3': three = 0 } = seen
          assert.equal(one + three, 300, JSON.stringify(seen))
          assert.ok(three > 25 && three < 110, JSON.stringify(seen))
        },
      },
    ],
  },
  {
    name: 'TCP traffic shifting',
    page: 'tasks/traffic-management/tcp-traffic-shifting/',
    yaml: `${destinationRule(tcpEcho, { subsets: ['v1', 'v2'] })}---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: tcp-echo, namespace: default}
spec:
  hosts: [${hostOf(tcpEcho)}]
  tcp:
  - match: [{port: ${tcpEcho.port}}]
    route:
    - {destination: {host: ${hostOf(tcpEcho)}, port: {number: ${tcpEcho.port}}, subset: v1}, weight: 80}
    - {destination: {host: ${hostOf(tcpEcho)}, port: {number: ${tcpEcho.port}}, subset: v2}, weight: 20}
`,
    checks: [
      {
        what: 'shares of 80 and 20 of 100 connections',
        run: async () => {
          const said = await Promise.all(
            Array.from({ length: 100 }, () => talk(hostOf(tcpEcho), tcpEcho.port, 'one\n')),
          )
          const two = said.filter((s) => s === 'tcp-echo-v2 one\n').length
          assert.equal(two + said.filter((s) => s === 'tcp-echo-v1 one\n').length, 100, said.join())
          assert.ok(two > 4 && two < 45, String(two))
        },
      },
    ],
  },
  {
    name: 'Request timeouts',
    page: 'tasks/traffic-management/request-timeouts/',
    yaml: virtualService(httpbin, `  - {timeout: 0.5s, ${routeTo(httpbin)}}\n`),
    checks: [
      {
        what: '504 after the timeout',
        run: async () => {
          const late = await call(urlOf(httpbin, '/?delay=3000'))
          assert.ok(late.status === 504 && late.ms < 2_500, `${late.status} ${late.ms}`)
          assert.equal((await call(urlOf(httpbin, '/?delay=100'))).status, 200)
        },
      },
    ],
  },
]
