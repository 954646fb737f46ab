/** Internal redirects on the wire (internal_redirect_policy with response_headers_to_copy), and loops of them. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type http from 'node:http'
import type { InternalRedirects } from '../../../../model/http/internal-redirect.ts'
import { Both, type Codec } from '../both.ts'
import { forwardTo, manager, route } from '../harness.ts'

const policy = (more: Partial<InternalRedirects> = {}): InternalRedirects => ({
  statuses: new Set([302]),
  max: 3,
  crossesSchemes: false,
  predicates: [],
  copies: [],
  ...more,
})
const to =
  (location: string, status = 302): http.RequestListener =>
  (request, response) => {
    if (request.url === '/end') response.end('hi')
    else response.writeHead(status, { location }).end('no')
  }
const start = (
  t: Parameters<typeof Both.start>[0],
  answer: http.RequestListener,
  more: Partial<InternalRedirects> = {},
) =>
  Both.start(t, manager([route(forwardTo({ internalRedirects: policy(more) }))]), {
    answer,
    limits: { maxReplayBytes: 10 },
  })

for (const codec of ['http1', 'http2'] satisfies Codec[]) {
  test(`a redirect is followed over ${codec}`, async (t) => {
    const both = await start(t, to('http://a/end'))
    const { status, body } = await both.ask(codec, { path: '/begin' })
    assert.equal(status, 200)
    assert.ok(body.includes('hi'))
    assert.deepEqual(
      both.seen.map(({ url }) => url),
      ['/begin', '/end'],
    )
    assert.equal(both.seen[1]!.headers['x-envoy-original-url'], 'http://a/begin')
  })
  test(`a circle of redirects ends over ${codec}`, async (t) => {
    const both = await start(t, to('http://a/again'))
    assert.equal((await both.ask(codec, { path: '/begin' })).status, 302)
    assert.equal(both.seen.length, 4)
  })
  test(`a body goes along, but not one that is gone, over ${codec}`, async (t) => {
    const both = await start(t, to('http://a/end'))
    assert.equal((await both.ask(codec, { method: 'POST', path: '/begin', body: 'short' })).status, 200)
    assert.equal(both.seen.at(-1)!.body, 'short')
    const long = await both.ask(codec, { method: 'POST', path: '/begin', body: 'longer than ten bytes' })
    assert.equal(long.status, 302)
    assert.equal(both.seen.at(-1)!.url, '/begin')
  })
  test(`policies are asked about the request that follows, over ${codec}`, async (t) => {
    const denied = route(
      { kind: 'direct', status: 403, body: '' },
      { match: { ...route().match, path: { kind: 'prefix', value: '/end' } } },
    )
    const table = manager([denied, route(forwardTo({ internalRedirects: policy() }))])
    const both = await Both.start(t, table, { answer: to('http://a/end') })
    assert.equal((await both.ask(codec, { path: '/begin' })).status, 403)
  })
}
for (const location of [
  '/end',
  '//a/end',
  'https://a/end',
  'http:///end',
  'http://user@a/end',
  'ftp://a/end',
  'http://a/%00',
  'http://a/e nd',
  '',
])
  test(`${JSON.stringify(location)} goes back to the client`, async (t) => {
    const both = await start(t, to(location))
    const { status, headers } = await both.ask('http1', { path: '/begin' })
    assert.deepEqual([status, headers['location']], [302, location])
    assert.equal(both.seen.length, 1)
  })
test("fields of the answer take the place of the request's, framing does not", async (t) => {
  const answer: http.RequestListener = (request, response) => {
    if (request.url === '/end') response.end('hi')
    else response.writeHead(302, { location: 'http://a/end', 'x-a': '2', 'content-length': '0' }).end()
  }
  const both = await start(t, answer, { copies: ['x-a', 'x-b', 'content-length', 'connection'] })
  await both.ask('http1', {
    path: '/begin',
    fields: [
      ['x-a', '1'],
      ['x-b', '1'],
    ],
  })
  const { headers } = both.seen[1]!
  assert.deepEqual([headers['x-a'], headers['x-b'], headers['content-length']], ['2', undefined, undefined])
})
