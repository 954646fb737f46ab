/** One validator for HTTP/1 and HTTP/2: every row is asked of both. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { Both } from '../both.ts'
import { forwardTo, manager, route } from '../harness.ts'

type Want = number | { http1: number; http2: number }
const wanted = (want: Want, codec: 'http1' | 'http2'): number => (typeof want === 'number' ? want : want[codec])
const TARGETS: readonly {
  readonly path: string
  readonly method?: string
  readonly want: Want
  readonly saw?: string
}[] = [
  { path: '/', want: 200, saw: '/' },
  { path: '/a?b=c', want: 200, saw: '/a?b=c' },
  { path: '/a//b', want: 200, saw: '/a/b' },
  { path: '//x', want: 200, saw: '/x' },
  { path: '/%2e%2e/x', want: 200, saw: '/x' },
  { path: '/%41', want: 200, saw: '/A' },
  { path: '/a%5Cb', want: 200, saw: '/a%5Cb' },
  { path: '/"<>', want: 200 },
  { path: '/a#b', want: 400 },
  { path: '/a?b#c', want: 400 },
  { path: '/gr\xc3\xbcn', want: 400 },
  { path: '/gr\xfcn', want: 400 },
  { path: '/a?\xc3\xbc', want: 400 },
  { path: '/a\\b', want: 400 },
  { path: '/%00', want: 400 },
  { path: '/%', want: 400 },
  { path: '/%zz', want: 400 },
  { path: '/%c0%ae', want: 400 },
  { path: '/a b', want: 400 },
  { path: 'a', want: 400 },
  { path: '?x', want: 400 },
  { path: '*', want: 400 },
  { path: '*', method: 'OPTIONS', want: 404 },
  // The absolute form belongs to HTTP/1 (RFC 9112 §3.2.2).
  { path: 'http://a/x', want: { http1: 200, http2: 400 }, saw: '/x' },
  { path: 'http://a:b/x', want: 400 },
  { path: 'http://:80/x', want: 400 },
  { path: 'ftp://a/x', want: 400 },
]
const METHODS: readonly { readonly method: string; readonly want: Want }[] = [
  { method: 'GET', want: 200 },
  { method: 'PATCH', want: 200 },
  { method: 'M-SEARCH', want: 200 },
  { method: 'PROPFIND', want: 200 },
  { method: 'get', want: 400 },
  { method: 'post', want: 400 },
  { method: 'Post', want: 400 },
  { method: 'delete', want: 400 },
  { method: 'connecT', want: 400 },
  { method: 'G@T', want: 400 },
  { method: 'G T', want: 400 },
]
const AUTHORITIES: readonly { readonly authority: string; readonly want: Want }[] = [
  { authority: 'a', want: 200 },
  { authority: 'A:8080', want: 200 },
  { authority: '[::1]:80', want: 200 },
  { authority: 'a.', want: 200 },
  { authority: 'user@a', want: 400 },
  { authority: 'a/b', want: 400 },
  { authority: 'a#b', want: 400 },
  { authority: 'a:', want: 200 },
  { authority: 'a:b', want: 400 },
  { authority: 'a:80:90', want: 400 },
  { authority: ':80', want: 400 },
  { authority: 'a:123456', want: 400 },
  { authority: '[::1', want: 400 },
  { authority: '::1', want: 400 },
  { authority: '[::1]x', want: 400 },
  { authority: 'a[::1]', want: 400 },
  { authority: '[]', want: 400 },
  { authority: 'a b', want: 400 },
  { authority: 'a\xfc', want: 400 },
  { authority: `${'a'.repeat(600)}`, want: 400 },
]

for (const codec of ['http1', 'http2'] as const) {
  test(`request targets over ${codec}`, async (t) => {
    const both = await Both.start(t, manager([route(forwardTo())]))
    for (const { path, method = 'GET', want, saw } of TARGETS) {
      const told = await both.ask(codec, { path, method })
      assert.equal(told.status, wanted(want, codec), `${method} ${JSON.stringify(path)}`)
      if (told.status === 200 && saw !== undefined) assert.equal(told.saw?.url, saw)
      if (told.status !== 200) assert.equal(told.saw, undefined)
    }
  })
  test(`methods over ${codec}: case-sensitive, and none that another reader might take for a standard one (RFC 9110 §9.1)`, async (t) => {
    const both = await Both.start(t, manager([route(forwardTo())]))
    for (const { method, want } of METHODS)
      assert.equal((await both.ask(codec, { method })).status, wanted(want, codec), method)
  })
  test(`authorities over ${codec}`, async (t) => {
    const both = await Both.start(t, manager([route(forwardTo())]))
    for (const { authority, want } of AUTHORITIES)
      assert.equal((await both.ask(codec, { authority })).status, wanted(want, codec), authority.slice(0, 20))
  })
}
test('a Host that is none is a 400 also beside a target that names another (RFC 9112 §3.2)', async (t) => {
  const both = await Both.start(t, manager([route(forwardTo())]))
  for (const [authority, want] of [
    ['b', 200],
    ['a b', 400],
    ['', 400],
    ['b@c', 400],
  ] as const)
    assert.equal((await both.ask('http1', { path: 'http://a/x', authority })).status, want, authority)
})
test('a field with whitespace around its value is refused over HTTP/2, and not dropped without a word (RFC 9113 §8.2.1)', async (t) => {
  const both = await Both.start(t, manager([route(forwardTo())]))
  for (const value of [' y', 'y ', '\ty', ' ']) {
    const told = await both.ask('http2', { fields: [['x-user', value]] })
    assert.deepEqual([told.status, told.saw], [400, undefined], JSON.stringify(value))
  }
  assert.equal(
    (
      await both.ask('http2', {
        fields: [
          ['x-user', 'a b'],
          ['x-none', ''],
        ],
      })
    ).status,
    200,
  )
})
