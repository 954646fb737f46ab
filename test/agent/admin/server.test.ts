import { test } from 'node:test'
import assert from 'node:assert/strict'
import http from 'node:http'
import net from 'node:net'
import os from 'node:os'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { startAdmin, type AdminPage } from '../../../agent/admin/server.ts'
import { systemClock } from '../../../core/os/clock.ts'
import { silentLog } from '../../../core/log.ts'
import { SimClock } from '../../helpers/sim-clock.ts'

const pages = new Map<string, AdminPage>([
  ['/live', { method: 'GET', help: 'alive', handle: () => ({ body: 'LIVE\n' }) }],
  ['/drain', { method: 'POST', help: 'drain', handle: () => ({ body: 'draining\n' }) }],
  [
    '/broken',
    {
      method: 'GET',
      help: 'throws',
      handle: () => {
        throw new Error('secret detail')
      },
    },
  ],
])

async function ask(
  port: number,
  path: string,
  options: { method?: string; host?: string } = {},
): Promise<{ status: number; body: string }> {
  const req = http.request({
    port,
    path,
    host: '127.0.0.1',
    method: options.method ?? 'GET',
    headers: options.host ? { host: options.host } : {},
  })
  req.end()
  const [res] = (await once(req, 'response')) as [http.IncomingMessage]
  const body = (await res.toArray()).map(String).join('')
  return { status: res.statusCode ?? 0, body }
}

test('pages answer their method only, unknown ones list what there is', async () => {
  await using admin = await startAdmin({ address: '127.0.0.1', port: 0 }, pages, silentLog)
  assert.deepEqual(await ask(admin.port, '/live'), { status: 200, body: 'LIVE\n' })
  assert.equal((await ask(admin.port, '/drain')).status, 405)
  assert.equal((await ask(admin.port, '/drain', { method: 'POST' })).status, 200)
  const missing = await ask(admin.port, '/x')
  assert.equal(missing.status, 404)
  assert.match(missing.body, /GET {2}\/live/)
})
test('a page for this machine alone: by a loopback address at both ends', async () => {
  const end: AdminPage = { method: 'POST', help: 'end', onlyLocal: true, handle: () => ({ body: 'OK\n' }) }
  await using admin = await startAdmin({ address: '0.0.0.0', port: 0 }, new Map([['/end', end]]), silentLog)
  const other = Object.values(os.networkInterfaces())
    .flatMap((all) => all ?? [])
    .find(({ family, internal }) => family === 'IPv4' && !internal)?.address
  const statusAt = async (host: string, localAddress?: string): Promise<number | undefined> => {
    const req = http.request({ port: admin.port, path: '/end', host, method: 'POST', localAddress })
    req.end()
    const [res] = (await once(req, 'response')) as [http.IncomingMessage]
    res.resume()
    return res.statusCode
  }
  assert.deepEqual([await statusAt('127.0.0.1'), await statusAt('127.0.0.1', '127.0.0.6')], [200, 200])
  if (other !== undefined)
    assert.deepEqual(
      [await statusAt(other), await statusAt(other, '127.0.0.6')],
      [403, 403],
      'as forwarded from elsewhere',
    )
})
test('a name that is not loopback is refused (DNS rebinding)', async () => {
  await using admin = await startAdmin({ address: '127.0.0.1', port: 0 }, pages, silentLog)
  assert.equal((await ask(admin.port, '/live', { host: 'attacker.example' })).status, 403)
  assert.equal((await ask(admin.port, '/live', { host: `localhost:${admin.port}` })).status, 200)
})
test('a page that throws tells the caller nothing of its inside', async () => {
  await using admin = await startAdmin({ address: '127.0.0.1', port: 0 }, pages, silentLog)
  const broken = await ask(admin.port, '/broken')
  assert.equal(broken.status, 500)
  assert.doesNotMatch(broken.body, /secret/)
})
test('a taken port is reported with its code', async () => {
  await using admin = await startAdmin({ address: '127.0.0.1', port: 0 }, pages, silentLog)
  await assert.rejects(startAdmin({ address: '127.0.0.1', port: admin.port }, pages, silentLog), {
    code: 'MESH_PORT_IN_USE',
  })
})
test('a target that is no path is answered with 400, and the port goes on', async () => {
  await using admin = await startAdmin({ address: '127.0.0.1', port: 0 }, pages, silentLog)
  for (const target of ['//', '//a:b', '///', '/%', '//[', '*', '/?%', 'http://[/', '//\\']) {
    const { status } = await ask(admin.port, target)
    assert.ok(status === 400 || status === 404, `${target}: ${status}`)
  }
  assert.equal((await ask(admin.port, '/live')).status, 200)
})

/** The answer to bytes as they are; '' when the connection was closed without one. */
async function raw(port: number, bytes: string): Promise<string> {
  const socket = net.connect(port, '127.0.0.1')
  socket.on('error', () => {})
  socket.write(bytes, 'latin1')
  const parts: Buffer[] = []
  socket.on('data', (part: Buffer) => {
    parts.push(part)
  })
  await Promise.race([once(socket, 'close'), sleep(150)])
  socket.destroy()
  return Buffer.concat(parts).toString('latin1')
}
const head = (method: string, path: string, ...headers: string[]): string =>
  [`${method} ${path} HTTP/1.1`, ...headers, 'Connection: close', '', ''].join('\r\n')
const statusOf = (answer: string): number => Number(/^HTTP\/1\.1 (\d+)/.exec(answer)?.[1] ?? 0)

for (const { name, headers, post, get } of [
  { name: 'a program', headers: [], post: 200, get: 200 },
  { name: 'its own page', headers: ['Origin: http://HOST', 'Sec-Fetch-Site: same-origin'], post: 200, get: 200 },
  { name: 'an address that somebody typed', headers: ['Sec-Fetch-Site: none'], post: 200, get: 200 },
  {
    name: 'a foreign page',
    headers: ['Origin: http://evil.example', 'Sec-Fetch-Site: cross-site'],
    post: 403,
    get: 403,
  },
  { name: 'a foreign page in an old browser', headers: ['Origin: http://evil.example'], post: 403, get: 403 },
  {
    name: 'a foreign page whose browser sends no Origin',
    headers: ['Sec-Fetch-Site: cross-site'],
    post: 403,
    get: 403,
  },
  {
    name: 'a page of another port here',
    headers: ['Origin: http://127.0.0.1:3000', 'Sec-Fetch-Site: same-site'],
    post: 403,
    get: 403,
  },
  {
    name: 'a page of another port here in an old browser',
    headers: ['Origin: http://127.0.0.1:3000'],
    post: 403,
    get: 403,
  },
  { name: 'a page without an origin', headers: ['Origin: null'], post: 403, get: 403 },
  { name: 'an empty origin', headers: ['Origin: '], post: 403, get: 403 },
  { name: 'two origins', headers: ['Origin: http://HOST', 'Origin: http://evil.example'], post: 403, get: 403 },
  { name: 'an unknown word', headers: ['Sec-Fetch-Site: nobody'], post: 403, get: 403 },
]) {
  test(`admin: ${name}: POST ${post}, GET ${get}`, async () => {
    await using admin = await startAdmin({ address: '127.0.0.1', port: 0 }, pages, silentLog)
    const host = `127.0.0.1:${admin.port}`
    const ask = async (method: string, path: string): Promise<number> =>
      statusOf(
        await raw(admin.port, head(method, path, `Host: ${host}`, ...headers.map((h) => h.replace('HOST', host)))),
      )
    assert.deepEqual([await ask('POST', '/drain'), await ask('GET', '/live')], [post, get])
  })
}

for (const { host, want } of [
  { host: 'localhost', want: 200 },
  { host: 'LOCALHOST.:1', want: 200 },
  { host: '[::1]:15000', want: 200 },
  { host: '127.0.0.1', want: 200 },
  { host: '10.0.0.7:15000', want: 200 },
  { host: 'agent.localhost', want: 200 },
  { host: 'localhost.evil.example', want: 403 },
  { host: '127.0.0.1.evil.example', want: 403 },
  { host: '127.0.0.1@evil.example', want: 403 },
  { host: 'evil.example:127', want: 403 },
  { host: '', want: 403 },
  { host: 'a b', want: 403 },
  { host: '127.0.0.1, evil.example', want: 403 },
])
  test(`admin: Host "${host}": ${want}`, async () => {
    await using admin = await startAdmin({ address: '127.0.0.1', port: 0 }, pages, silentLog)
    assert.equal(statusOf(await raw(admin.port, head('GET', '/live', `Host: ${host}`))), want)
  })

test('odd requests are answered with 4xx or closed, and the port goes on', async () => {
  await using admin = await startAdmin({ address: '127.0.0.1', port: 0 }, pages, silentLog)
  const H = 'Host: 127.0.0.1'
  for (const { bytes, want } of [
    { bytes: 'GET // HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n', want: [400, 404] },
    { bytes: head('GET', 'http://evil.example/live', H), want: [400] },
    { bytes: head('OPTIONS', '*', H), want: [400] },
    { bytes: head('GET', '/live', H, 'Host: localhost'), want: [400, 403] },
    { bytes: 'GET /live HTTP/1.1\r\n\r\n', want: [400] },
    { bytes: 'GET /live HTTP/1.0\r\n\r\n', want: [403] },
    { bytes: 'GET /live\r\n\r\n', want: [400, 403] },
    { bytes: head('CONNECT', '127.0.0.1:1', H), want: [0, 400, 405] },
    { bytes: head('BREW', '/live', H), want: [400] },
    { bytes: head('PUT', '/live', H), want: [405] },
    { bytes: head('TRACE', '/live', H), want: [405] },
    { bytes: head('GET', '/live', H, 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA'), want: [200, 400] },
    { bytes: 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', want: [0, 400, 505] },
    { bytes: head('GET', `/${'x'.repeat(9_000)}`, H), want: [431] },
    { bytes: head('GET', '/live', H, `X: ${'x'.repeat(9_000)}`), want: [431] },
    { bytes: head('GET', '/live', H, ...Array.from({ length: 3_000 }, () => 'a:')), want: [200, 431] },
    { bytes: `${head('POST', '/drain', H, 'Content-Length: 999999999')}x`, want: [200] },
    { bytes: `${head('POST', '/drain', H, 'Transfer-Encoding: chunked')}zz\r\n`, want: [200, 400] },
    { bytes: head('POST', '/drain', H, 'Content-Length: 1', 'Transfer-Encoding: chunked'), want: [400] },
    { bytes: head('POST', '/drain', H, 'Expect: 100-continue', 'Content-Length: 5'), want: [0, 200] },
    { bytes: head('GET', '/live', H, 'Expect: nonsense'), want: [417] },
    { bytes: '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', want: [0, 400] },
    { bytes: '\0\0\0\0\r\n\r\n', want: [400] },
    { bytes: head('GET', '/live?%', H), want: [200] },
    { bytes: head('GET', '/live#x', H), want: [200, 400, 404] },
    { bytes: head('GET', '/../live', H), want: [200, 404] },
    { bytes: head('GET', '/%6c%69ve', H), want: [404] },
    { bytes: 'GET /live HTTP/1.1\nHost: 127.0.0.1\n\n', want: [200, 400] },
  ]) {
    const answer = await raw(admin.port, bytes)
    assert.ok(
      want.includes(statusOf(answer.replace('HTTP/1.1 100 Continue\r\n\r\n', ''))),
      `${JSON.stringify(bytes.slice(0, 60))}: ${JSON.stringify(answer.slice(0, 60))}`,
    )
  }
  assert.equal((await ask(admin.port, '/live')).status, 200)
})

const bounds = { maxConnections: 3, quietMs: 10_000, maxUnreadBytes: 1_000_000 }
test('with all connections taken the one that was quiet longest makes room', async () => {
  await using admin = await startAdmin({ address: '127.0.0.1', port: 0 }, pages, silentLog, systemClock, bounds)
  const idle = await Promise.all(
    [1, 2, 3, 4, 5].map(async () => {
      const socket = net.connect(admin.port, '127.0.0.1').on('error', () => {})
      await once(socket, 'connect')
      return socket
    }),
  )
  for (let i = 0; i < 10; i++) assert.equal((await ask(admin.port, '/live')).status, 200)
  await until(() => idle.filter((s) => s.destroyed).length >= 3)
  for (const socket of idle) socket.destroy()
})

test('a head that does not come, or comes byte by byte, and an answer that is not taken end the connection after quietMs', async () => {
  const clock = new SimClock()
  const large = new Map<string, AdminPage>([
    ['/large', { method: 'GET', help: '', handle: () => ({ body: 'x'.repeat(50_000_000) }) }],
  ])
  await using admin = await startAdmin({ address: '127.0.0.1', port: 0 }, large, silentLog, clock, bounds)
  for (const first of ['', 'GET /large HT', head('GET', '/large', 'Host: 127.0.0.1')]) {
    const socket = net
      .connect(admin.port, '127.0.0.1')
      .on('error', () => {})
      .pause()
    await once(socket, 'connect')
    socket.write(first)
    await sleep(50)
    await clock.advance(9_000)
    if (first.endsWith('HT')) socket.write('T')
    await sleep(20)
    assert.equal(socket.destroyed, false)
    await clock.advance(1_000)
    socket.resume()
    await once(socket, 'close')
  }
})

test('answers that nobody reads are bounded: what comes on top is told 503, and there is room again once they are gone', async () => {
  let made = 0
  const large = new Map<string, AdminPage>([
    [
      '/large',
      {
        method: 'GET',
        help: '',
        handle: () => {
          made++
          return { body: 'x'.repeat(20_000_000) }
        },
      },
    ],
    ['/live', pages.get('/live')!],
  ])
  await using admin = await startAdmin({ address: '127.0.0.1', port: 0 }, large, silentLog, systemClock, bounds)
  const greedy = net
    .connect(admin.port, '127.0.0.1')
    .on('error', () => {})
    .pause()
  await once(greedy, 'connect')
  greedy.write('GET /large HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n'.repeat(50))
  await until(() => made > 0)
  await until(async () => (await ask(admin.port, '/live')).status === 503)
  assert.ok(made <= 2, `${made} large answers were made`)
  greedy.destroy()
  await until(async () => (await ask(admin.port, '/live')).status === 200)
})

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await sleep(5)
}
