/** Copies of requests for other clusters (request_mirror_policies), over real sockets of simulated endpoints. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { MirrorPolicy } from '../../../model/route.ts'
import { nameShadow } from '../../../protocols/http/mirrors.ts'
import { cluster, endpoint, forwardTo, GET, Harness, manager, OK, ORIGIN, route, type Origin } from './harness.ts'

const SHADOW = { host: '10.1.0.2', port: 8081 }
const mirror = (more: Partial<MirrorPolicy> = {}): MirrorPolicy => ({
  cluster: { name: 'shadow' },
  fraction: 1,
  keepsHost: false,
  ...more,
})
const POST = 'POST /p HTTP/1.1\r\nhost: a.test:80\r\ncontent-length: 3\r\n\r\nabc'

async function start(limits = {}): Promise<{ readonly h: Harness; readonly origin: Origin; readonly shadow: Origin }> {
  const breakers = { ...cluster().breakers, maxConnections: 1e3, maxPendingRequests: 1e3, maxRequests: 1e3 }
  const shadow = cluster([endpoint(SHADOW.host, SHADOW.port)], { name: 'shadow', breakers })
  const h = new Harness([cluster(), shadow], limits)
  return { h, origin: await h.origin(), shadow: await h.origin(SHADOW) }
}
const mirroring = (...mirrors: MirrorPolicy[]) => manager([route(forwardTo({ mirrors }))])
const counted = (h: Harness, result: string): number =>
  Number(new RegExp(`mesh_http_mirrored_total\\{result="${result}"\\} (\\d+)`).exec(h.metrics.text())?.[1])

for (const [authority, want] of [
  ['a.test', 'a.test-shadow'],
  ['a.test:8080', 'a.test-shadow:8080'],
  ['[::1]:80', '[::1]-shadow:80'],
  ['', '-shadow'],
] as const)
  test(`the copy of a request for ${authority} is for ${want}`, () => assert.equal(nameShadow(authority), want))

test('the copy has the head and body of the request, and its answer reaches nobody', async () => {
  const { h, origin, shadow } = await start()
  await using _ = h
  const client = h.connect(mirroring(mirror()))
  await client.send(POST)
  const [own, copy] = [await origin.last.take(), await shadow.last.take()]
  assert.equal(copy, own.replace('host: a.test:80', 'host: a.test-shadow:80'))
  assert.match(own, /\r\n\r\nabc$/)
  await shadow.answer('HTTP/1.1 500 No\r\ncontent-length: 2\r\n\r\nno')
  assert.equal(await client.take(), '')
  await origin.answer(OK)
  assert.match(await client.take(), /^HTTP\/1\.1 200 [^]*hi$/)
  assert.deepEqual([counted(h, 'sent'), counted(h, 'answered')], [1, 1])
})

test('disable_shadow_host_suffix_append keeps the host', async () => {
  const { h, origin, shadow } = await start()
  await using _ = h
  await h.connect(mirroring(mirror({ keepsHost: true }))).send(POST)
  assert.equal(await shadow.last.take(), await origin.last.take())
})

for (const { name, mirrors, fields = '', copies } of [
  { name: 'none of none', mirrors: [mirror({ fraction: 0 })], copies: 0 },
  { name: 'none for a cluster that is not there', mirrors: [mirror({ cluster: { name: 'gone' } })], copies: 0 },
  { name: 'one each', mirrors: [mirror(), mirror()], copies: 2 },
  { name: 'none without cluster_header', mirrors: [mirror({ cluster: { header: 'x-to' } })], copies: 0 },
  {
    name: 'one for the cluster of cluster_header',
    mirrors: [mirror({ cluster: { header: 'x-to' } })],
    fields: 'x-to: shadow\r\n',
    copies: 1,
  },
  {
    name: 'none of an upgrade',
    mirrors: [mirror()],
    fields: 'connection: upgrade\r\nupgrade: websocket\r\n',
    copies: 0,
  },
])
  test(`copies: ${name}`, async () => {
    const { h, shadow } = await start()
    await using _ = h
    const http = { ...mirroring(...mirrors), upgrades: ['websocket'] }
    await h.connect(http).send(GET.replace('\r\n\r\n', `\r\n${fields}\r\n`))
    assert.equal(shadow.connections.length, copies)
  })

test('the nearest level that has any counts: route, virtual host, table', async () => {
  for (const level of ['route', 'host', 'table'] as const) {
    const { h, shadow } = await start()
    await using _ = h
    const at = (l: typeof level): { mirrors?: MirrorPolicy[] } =>
      l === level ? { mirrors: [mirror()] } : l === 'table' ? { mirrors: [mirror({ cluster: { name: 'gone' } })] } : {}
    const http = manager([route(forwardTo(at('route')))], {}, at('host'))
    assert.ok(http.routes.from === 'inline')
    await h
      .connect({ ...http, routes: { from: 'inline', config: { ...http.routes.config, ...at('table') } } })
      .send(GET)
    assert.equal(shadow.connections.length, 1, level)
  }
})

test('a request goes to its endpoint while the copy still waits for the rest', async () => {
  const { h, origin, shadow } = await start()
  await using _ = h
  const client = h.connect(mirroring(mirror()))
  await client.send(POST.slice(0, -1))
  assert.match(await origin.last.take(), /ab$/)
  assert.equal(shadow.connections.length, 0)
  await client.send('c')
  assert.match(await shadow.last.take(), /abc$/)
})

test('a body above the bound, or one that never comes as a whole, is not copied', async () => {
  const { h, origin, shadow } = await start({ maxReplayBytes: 2 })
  await using _ = h
  const client = h.connect(mirroring(mirror()))
  await client.send(POST)
  await origin.answer(OK)
  await client.send(POST.slice(0, -2))
  client.stream.destroy()
  await origin.last.take()
  assert.equal(shadow.connections.length, 0)
  assert.deepEqual([counted(h, 'too-large'), counted(h, 'unfinished')], [1, 1])
})

test('a copy that nobody answers is given up after the time of its route, and the request hears nothing of it', async () => {
  const { h, origin, shadow } = await start()
  await using _ = h
  const client = h.connect(manager([route(forwardTo({ mirrors: [mirror()], timeoutMs: 2_000 }))]))
  await client.send(GET)
  await origin.answer(OK)
  await client.take()
  assert.equal(shadow.last.closed, false)
  await h.clock.advance(2_000)
  assert.equal(await client.take(), '')
  assert.equal(shadow.last.closed, true)
  assert.equal(counted(h, 'failed'), 1)
})

test('no more than 256 copies are under way', async () => {
  const { h, shadow } = await start()
  await using _ = h
  await h.connect(mirroring(...Array.from({ length: 257 }, () => mirror()))).send(GET)
  assert.equal(counted(h, 'too-many'), 1)
  assert.equal(shadow.connections.length, 256)
})

test('an endpoint that is not there changes nothing', async () => {
  await using h = new Harness([cluster(), cluster([endpoint(SHADOW.host, SHADOW.port)], { name: 'shadow' })])
  const origin = await h.origin(ORIGIN)
  const client = h.connect(mirroring(mirror()))
  await client.send(GET)
  await origin.answer(OK)
  assert.match(await client.take(), /^HTTP\/1\.1 200 /)
  assert.equal(counted(h, 'failed'), 1)
})

test('a copy counts against the memory budget until it is over', async () => {
  const { h, origin, shadow } = await start()
  await using _ = h
  const waiting = (): number => Number(/^mesh_stream_waiting_bytes (\d+)/m.exec(h.metrics.text())?.[1])
  await h.connect(mirroring(mirror(), mirror())).send(POST)
  await origin.answer(OK)
  assert.equal(waiting(), 2 * 3)
  await shadow.answer(OK)
  assert.equal(waiting(), 3)
})
