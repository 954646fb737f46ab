/** What a policy is asked about is what the endpoint gets, over HTTP/1 and HTTP/2 alike. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { HttpConnectionManager } from '../../../../model/listener.ts'
import type { HeaderMatch, StringMatch } from '../../../../model/matcher.ts'
import type { Permission, Policy } from '../../../../model/policy.ts'
import type { HeaderAdd, VirtualHost } from '../../../../model/route.ts'
import { Both, type Ask } from '../both.ts'
import { forwardTo, GET, Harness, manager, route } from '../harness.ts'

const exact = (value: string, ignoreCase = false): StringMatch => ({ kind: 'exact', value, ignoreCase })
const header = (name: string, match: StringMatch): Permission => ({
  kind: 'header',
  header: { name, test: { kind: 'string', match }, invert: false, missingAsEmpty: false } satisfies HeaderMatch,
})
const deny = (of: Permission): HttpConnectionManager['filters'] => [
  {
    kind: 'rbac',
    name: 'r',
    policy: {
      action: 'deny',
      rules: [{ name: 'p', permissions: [of], principals: [{ kind: 'any' }] }],
      shadow: undefined,
    } satisfies Policy,
  },
]
const utf8 = (text: string): string => Buffer.from(text).toString('latin1')

for (const { name, of, ask, want, more = {} } of [
  {
    name: 'a value that is not ASCII',
    of: header('x-user', exact('jürgen')),
    ask: { fields: [['x-user', utf8('jürgen')]] },
    want: 403,
  },
  {
    name: 'another value that is not ASCII',
    of: header('x-user', exact('jürgen')),
    ask: { fields: [['x-user', utf8('jörgen')]] },
    want: 200,
  },
  {
    name: 'the second of two lines',
    of: header('x-bad', exact('1')),
    ask: {
      fields: [
        ['x-bad', '0'],
        ['x-bad', '1'],
      ],
    },
    want: 403,
  },
  {
    name: 'the same line twice',
    of: header('x-bad', exact('1')),
    ask: {
      fields: [
        ['x-bad', '1'],
        ['x-bad', '1'],
      ],
    },
    want: 403,
  },
  {
    name: 'a method in other letters',
    of: header(':method', exact('POST')),
    ask: { method: 'post', body: 'x' },
    want: 400,
  },
  { name: 'the method', of: header(':method', exact('POST')), ask: { method: 'POST', body: 'x' }, want: 403 },
  {
    name: 'a path that is not ASCII',
    of: { kind: 'path', match: exact('/grün') },
    ask: { path: utf8('/grün') },
    want: 400,
  },
  {
    name: 'a host with a port, not stripped',
    of: header(':authority', exact('a')),
    ask: { authority: 'a:8080' },
    want: 200,
  },
  {
    name: 'strip_any_host_port',
    of: header(':authority', exact('a')),
    ask: { authority: 'a:8080' },
    want: 403,
    more: { stripHostPort: 'any' },
  },
  {
    name: 'strip_any_host_port, a port without digits',
    of: header(':authority', exact('a')),
    ask: { authority: 'a:' },
    want: 403,
    more: { stripHostPort: 'any' },
  },
  {
    name: 'strip_any_host_port, a port that is none',
    of: header(':authority', exact('a')),
    ask: { authority: 'a:b' },
    want: 400,
    more: { stripHostPort: 'any' },
  },
  {
    name: 'strip_any_host_port, `host` in the rule',
    of: header('host', exact('a')),
    ask: { authority: 'a:8080' },
    want: 403,
    more: { stripHostPort: 'any' },
  },
  {
    name: 'strip_matching_host_port at another port',
    of: header(':authority', exact('a')),
    ask: { authority: 'a:1' },
    want: 200,
    more: { stripHostPort: 'matching' },
  },
  {
    name: 'strip_trailing_host_dot',
    of: header(':authority', exact('a')),
    ask: { authority: 'a.' },
    want: 403,
    more: { stripHostDot: true },
  },
  {
    name: 'strip_trailing_host_dot beside a port',
    of: header(':authority', exact('a:1')),
    ask: { authority: 'a.:1' },
    want: 403,
    more: { stripHostDot: true },
  },
  {
    name: 'both',
    of: header(':authority', exact('a')),
    ask: { authority: 'a.:1' },
    want: 403,
    more: { stripHostDot: true, stripHostPort: 'any' },
  },
  {
    name: 'an underscore, dropped',
    of: header('x_bad', exact('1')),
    ask: { fields: [['x_bad', '1']] },
    want: 200,
    more: { underscores: 'drop' },
  },
  {
    name: 'an underscore, refused',
    of: header('x-bad', exact('1')),
    ask: { fields: [['x_bad', '1']] },
    want: 400,
    more: { underscores: 'refuse' },
  },
  {
    name: ':scheme of a request whose TLS ended before us',
    of: header(':scheme', exact('https')),
    ask: { fields: [['x-forwarded-proto', 'https']] },
    want: 403,
  },
] satisfies { name: string; of: Permission; ask: Ask; want: number; more?: Partial<HttpConnectionManager> }[]) {
  for (const codec of ['http1', 'http2'] as const) {
    test(`DENY over ${codec}: ${name}`, async (t) => {
      const both = await Both.start(t, manager([route(forwardTo())], { filters: deny(of), ...more }))
      const told = await both.ask(codec, ask)
      assert.equal(told.status, want)
      assert.equal(told.saw !== undefined, want === 200)
      if (more.underscores) assert.equal(told.saw?.headers['x_bad'], undefined)
    })
  }
}
for (const codec of ['http1', 'http2'] as const) {
  test(`strip_matching_host_port over ${codec}: the port that the client came to, and what the endpoint gets`, async (t) => {
    const both = await Both.start(t, manager([route(forwardTo())], { stripHostPort: 'matching' }))
    assert.equal((await both.ask(codec, { authority: `a:${both.ports[codec]}` })).saw?.headers.host, 'a')
    assert.equal((await both.ask(codec, { authority: 'a:1' })).saw?.headers.host, 'a:1')
  })
  const tls = (
    more: Partial<HttpConnectionManager> = {},
    host: Partial<VirtualHost> = { requireTls: true },
  ): HttpConnectionManager => manager([route(forwardTo())], more, host)
  test(`require_tls over ${codec}: 301 to https with path and query, without the port of http; passed where TLS ended before us`, async (t) => {
    const both = await Both.start(t, tls())
    for (const method of ['GET', 'POST']) {
      const told = await both.ask(codec, {
        method,
        path: '/x?y',
        authority: 'a:80',
        ...(method === 'POST' ? { body: 'x' } : {}),
      })
      assert.deepEqual([told.status, told.headers['location'], told.saw], [301, 'https://a/x?y', undefined])
    }
    assert.equal((await both.ask(codec, { fields: [['x-forwarded-proto', 'https']] })).status, 200)
  })
  test(`internal_only_headers over ${codec}: nobody from outside brings them, to policies as little as to the endpoint`, async (t) => {
    const base = manager([route(forwardTo())], { filters: deny(header('x-internal', exact('1'))) })
    assert.ok(base.routes.from === 'inline')
    const both = await Both.start(t, {
      ...base,
      routes: { from: 'inline', config: { ...base.routes.config, internalOnly: ['x-internal'] } },
    })
    const told = await both.ask(codec, {
      fields: [
        ['x-internal', '1'],
        ['x-other', '1'],
      ],
    })
    assert.deepEqual(
      [told.status, told.saw?.headers['x-internal'], told.saw?.headers['x-other']],
      [200, undefined, '1'],
    )
  })
  test(`what the configuration takes or writes comes under no name that reads alike over ${codec}`, async (t) => {
    const add = (name: string, how: 'overwrite' | 'append'): HeaderAdd => ({ name, value: 'ours', how })
    const changes = {
      remove: ['x-gone'],
      add: [add('x-set', 'overwrite'), add('x_both', 'overwrite'), add('x-free', 'append')],
    }
    const base = manager([route(forwardTo(), { headers: { request: changes, response: { remove: [], add: [] } } })])
    assert.ok(base.routes.from === 'inline')
    const routes = { from: 'inline', config: { ...base.routes.config, internalOnly: ['x-internal'] } } as const
    const both = await Both.start(t, { ...base, routes })
    const names = ['x_internal', 'x.internal', 'x_gone', 'x_set', 'x.set', 'x_both', 'x-both', 'x_free', 'x_other']
    const { saw } = await both.ask(codec, { fields: names.map((name) => [name, 'root'] as const) })
    assert.deepEqual(
      names.flatMap((name) => (saw?.headers[name] === undefined ? [] : `${name}: ${String(saw.headers[name])}`)),
      ['x_both: ours', 'x_free: root', 'x_other: root'],
    )
    assert.deepEqual([saw?.headers['x-set'], saw?.headers['x-free']], ['ours', 'ours'])
  })
  test(`skip_xff_append and append_x_forwarded_port over ${codec}`, async (t) => {
    const both = await Both.start(
      t,
      manager([route(forwardTo())], { useRemoteAddress: true, skipXffAppend: true, appendForwardedPort: true }),
    )
    const { saw } = await both.ask(codec, {
      fields: [
        ['x-forwarded-for', '192.0.2.1'],
        ['x-forwarded-port', '1'],
      ],
    })
    assert.deepEqual(
      [saw?.headers['x-forwarded-for'], saw?.headers['x-forwarded-port']],
      ['192.0.2.1', String(both.ports[codec])],
    )
    both.current = manager([route(forwardTo())], { useRemoteAddress: true })
    assert.equal(
      (await both.ask(codec, { fields: [['x-forwarded-for', '192.0.2.1']] })).saw?.headers['x-forwarded-for'],
      '192.0.2.1,127.0.0.1',
    )
  })
  test(`require_tls over ${codec}: what a stranger says about https is not believed by an edge listener`, async (t) => {
    const both = await Both.start(t, tls({ useRemoteAddress: true }))
    assert.equal((await both.ask(codec, { fields: [['x-forwarded-proto', 'https']] })).status, 301)
  })
  test(`require_tls over ${codec}: who stands before us says https, and not HTTPS`, async (t) => {
    const both = await Both.start(t, tls({}))
    assert.deepEqual(
      [
        (await both.ask(codec, { fields: [['x-forwarded-proto', 'https']] })).status,
        (await both.ask(codec, { fields: [['x-forwarded-proto', 'HTTPS']] })).status,
      ],
      [200, 301],
    )
  })
  test(`response_headers_to_add is for answers of our own, too, over ${codec}`, async (t) => {
    const says = {
      request: { remove: [], add: [] },
      response: { remove: [], add: [{ name: 'r', value: '1', how: 'append' as const }] },
    }
    const both = await Both.start(
      t,
      manager([route(forwardTo(), { headers: says })], { filters: deny({ kind: 'any' }) }),
    )
    assert.deepEqual([(await both.ask(codec)).status, (await both.ask(codec)).headers['r']], [403, '1'])
    const redirected = await Both.start(t, manager([route(forwardTo(), { headers: says })], {}, { requireTls: true }))
    assert.deepEqual(
      [(await redirected.ask(codec)).status, (await redirected.ask(codec)).headers['r']],
      [301, undefined],
    )
  })
  test(`append_x_forwarded_port over ${codec}, where nobody has said it`, async (t) => {
    const both = await Both.start(t, manager([route(forwardTo())], { appendForwardedPort: true }))
    const port = async (fields: [string, string][]): Promise<unknown> =>
      (await both.ask(codec, { fields })).saw?.headers['x-forwarded-port']
    assert.deepEqual([await port([]), await port([['x-forwarded-port', '99']])], [String(both.ports[codec]), '99'])
  })
  test(`require_tls over ${codec}: policies come first`, async (t) => {
    const both = await Both.start(t, tls({ filters: deny({ kind: 'any' }) }))
    assert.equal((await both.ask(codec)).status, 403)
  })
  test(`a redirect over ${codec} keeps the scheme that the client used`, async (t) => {
    const both = await Both.start(
      t,
      manager([
        route({
          kind: 'redirect',
          status: 301,
          scheme: undefined,
          host: undefined,
          port: undefined,
          path: { kind: 'full', value: '/p' },
          stripQuery: false,
        }),
      ]),
    )
    const location = async (proto?: string): Promise<string | undefined> =>
      (await both.ask(codec, { path: '/x', fields: proto === undefined ? [] : [['x-forwarded-proto', proto]] }))
        .headers['location']
    assert.deepEqual(
      [await location(), await location('https'), await location('HTTPS'), await location('ftp')],
      ['http://a/p', 'https://a/p', 'https://a/p', 'http://a/p'],
    )
  })
}

for (const [name, value] of [
  ['upgrade', 'websocket'],
  ['connection', 'upgrade'],
] as const) {
  test(`fields of an upgrade are seen by policies and routes: ${name}`, async () => {
    await using h = new Harness()
    const origin = await h.origin()
    const ask = 'GET / HTTP/1.1\r\nhost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n'
    const refused = h.connect(
      manager([route()], { upgrades: ['websocket'], filters: deny(header(name, exact(value))) }),
    )
    await refused.send(ask)
    assert.match(await refused.take(), /^HTTP\/1\.1 403 /)
    const only = route(forwardTo(), {
      match: {
        ...route().match,
        headers: [{ name, test: { kind: 'string', match: exact(value) }, invert: false, missingAsEmpty: false }],
      },
    })
    const routed = h.connect(manager([only], { upgrades: ['websocket'] }))
    await routed.send(ask)
    assert.match(await origin.last.take(), /upgrade: websocket/)
    const plain = h.connect(manager([only], { upgrades: ['websocket'] }))
    await plain.send(GET)
    assert.match(await plain.take(), /^HTTP\/1\.1 404 /)
  })
}
for (const codec of ['http1', 'http2'] as const) {
  test(`the length of a body is seen by policies over ${codec}`, async (t) => {
    const both = await Both.start(
      t,
      manager([route(forwardTo())], { filters: deny(header('content-length', exact('2'))) }),
    )
    const ask = async (body: string): Promise<number> =>
      (
        await both.ask(codec, {
          method: 'POST',
          body,
          ...(codec === 'http2' ? { fields: [['content-length', String(body.length)]] as const } : {}),
        })
      ).status
    assert.deepEqual([await ask('x'), await ask('xx')], [200, 403])
  })
}

test('a chunked body is seen by policies and routes, and one of a known length is not chunked', async () => {
  await using h = new Harness()
  const origin = await h.origin()
  const http = manager([route()], { filters: deny(header('transfer-encoding', exact('chunked'))) })
  const refused = h.connect(http)
  await refused.send('POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n')
  assert.match(await refused.take(), /^HTTP\/1\.1 403 /)
  assert.equal(origin.connections.length, 0)
  const passes = h.connect(http)
  await passes.send('POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx')
  assert.match(await origin.last.take(), /content-length: 1/)
})
