/** Active health checks: what a host is asked, and which hosts then get requests. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import http from 'node:http'
import http2 from 'node:http2'
import net from 'node:net'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import type { JsonObject } from '@bufbuild/protobuf'
import { frameGrpc } from '../../../../protocols/protobuf/message.ts'
import type { Finally } from '../../programs.ts'
import { clusterTo, httpTo, startBoth, type, type Ports } from './both.ts'

/** By the last part of a server's address: what it says to a check. */
const ANSWERS: Readonly<Record<string, (ask: string) => string>> = {
  '1': () => '200 OK\r\n',
  '2': () => '503 No\r\n',
  // 3 says nothing.
  '4': () => '200 OK\r\nx-envoy-degraded: true\r\n',
  '5': () => '503 No\r\nx-envoy-immediate-health-check-fail: true\r\n',
  '6': () => '204 None\r\n',
  '7': () => '200 OK\r\nx-envoy-upstream-healthchecked-cluster: payments-v1\r\n',
  '8': (ask) => (ask.startsWith('HEAD') ? '200 OK\r\n' : '404 No\r\n'),
  '9': () => '302 There\r\nlocation: /\r\n',
}
const TIMES = {
  timeout: '0.5s',
  interval: '1s',
  no_traffic_interval: '1s',
  unhealthy_threshold: 2,
  healthy_threshold: 2,
}
const http1 = (more: JsonObject = {}, check: JsonObject = {}): JsonObject => ({
  ...TIMES,
  http_health_check: { path: '/check', ...more },
  ...check,
})
const panic = (value: number, more: JsonObject = {}): JsonObject => ({
  common_lb_config: { healthy_panic_threshold: { value }, ...more },
})
type Case = { readonly hosts: string; readonly check: JsonObject; readonly cluster?: JsonObject }
const CASES: Readonly<Record<string, Case>> = {
  plain: { hosts: '12346789', check: http1() },
  'no-panic-no-host': { hosts: '23', check: http1() },
  panic: { hosts: '123', check: http1(), cluster: panic(50) },
  'panic-less-excluded': { hosts: '15', check: http1(), cluster: panic(60) },
  'panic-with-unhealthy': { hosts: '12', check: http1(), cluster: panic(60) },
  'all-excluded': { hosts: '5', check: http1(), cluster: panic(50) },
  expected: { hosts: '12689', check: http1({ expected_statuses: [{ start: 201, end: 303 }] }) },
  method: { hosts: '128', check: http1({ method: 'HEAD' }) },
  service: { hosts: '127', check: http1({ service_name_matcher: { prefix: 'payments' } }) },
  receive: { hosts: '12', check: http1({ receive: [{ text: '626f' }, { text: '79' }] }) },
  'receive-other': { hosts: '12', check: http1({ receive: [{ text: '79' }, { text: '626f' }] }) },
  headers: {
    hosts: '1',
    check: http1({
      host: 'probe.test',
      path: '/check?of=headers',
      request_headers_to_add: [
        { header: { key: 'X-Probe', value: 'a' } },
        { header: { key: 'user-agent', value: 'probe' }, append_action: 'OVERWRITE_IF_EXISTS_OR_ADD' },
      ],
    }),
  },
  'headers-less': { hosts: '1', check: http1({ path: '/check?of=less', request_headers_to_remove: ['user-agent'] }) },
  'only-degraded': { hosts: '24', check: http1() },
  tcp: { hosts: '12', check: { ...TIMES, tcp_health_check: {} } },
  'tcp-receive': {
    hosts: '123',
    check: {
      ...TIMES,
      // GET /check?of=tcp HTTP/1.1, and of the answer "200".
      tcp_health_check: {
        send: { text: Buffer.from('GET /check?of=tcp HTTP/1.1\r\nhost: a\r\n\r\n').toString('hex') },
        receive: [{ text: Buffer.from('200').toString('hex') }],
      },
    },
  },
}

/** Servers of all addresses: `asked` has the heads of all checks. */
async function startHosts(t: Finally): Promise<{ readonly port: number; readonly asked: Set<string> }> {
  const asked = new Set<string>()
  const server = net.createServer((socket) => {
    const name = socket.localAddress!.split('.').at(-1)!
    socket.on('error', () => {})
    let head = ''
    socket.on('data', (chunk) => {
      head += chunk.toString('latin1')
      if (!head.endsWith('\r\n\r\n')) return
      const request = head
      head = ''
      const isCheck = /^\w+ \/check/.test(request)
      if (isCheck) asked.add(request)
      const says = isCheck ? ANSWERS[name]?.(request) : '200 OK\r\n'
      if (says === undefined) return
      const body = isCheck ? (request.startsWith('HEAD') || says.startsWith('204') ? '' : 'body') : name
      socket.write(`HTTP/1.1 ${says}${says.startsWith('204') ? '' : `content-length: ${body.length}\r\n`}\r\n${body}`)
    })
  })
  server.listen(0, '0.0.0.0')
  await once(server, 'listening')
  t.after(() => void server.close())
  return { port: (server.address() as AddressInfo).port, asked }
}

function ask(port: number, path = '/'): Promise<string> {
  return new Promise((resolve, reject) => {
    http
      .get({ port, host: '127.0.0.1', path, headers: { host: 'a' }, agent: false }, (response) => {
        let body = ''
        response.on('data', (chunk: Buffer) => {
          body += chunk.toString()
        })
        response.on('end', () => resolve(response.statusCode === 200 ? body : String(response.statusCode)))
      })
      .on('error', reject)
  })
}
/** Who answers, of some requests; again where a busy machine has kept a check waiting. */
async function served(port: number, wanted?: string): Promise<string> {
  for (let tries = 0; ; tries++) {
    const by = new Set<string>()
    for (let i = 0; i < 40; i++) by.add(await ask(port))
    const found = [...by].sort().join(' ')
    if (wanted === undefined || found === wanted || tries === 5) return found
    await new Promise((resolve) => {
      setTimeout(resolve, 1_000)
    })
  }
}

test('hosts that fail their health check get nothing, as with Envoy', { timeout: 180_000 }, async (t) => {
  const { port, asked } = await startHosts(t)
  const clusters = Object.entries(CASES).map(([name, { hosts, check, cluster = panic(0) }]) =>
    clusterTo(
      name,
      hosts.split('').map((host) => [`127.0.4.${host}`, port] as const),
      { health_checks: [check], ...cluster },
    ),
  )
  const ports = await startBoth(t, clusters, Object.fromEntries(Object.keys(CASES).map((name) => [name, httpTo(name)])))
  for (const [name, { ours, theirs }] of Object.entries(ports)) {
    const their = await served(theirs)
    t.diagnostic(`${name}: ${their}`)
    assert.equal(await served(ours, their), their, name)
  }
  // Both ask in the same bytes: one head for each cluster that asks over HTTP, and the one of tcp-receive.
  const heads = [...asked].sort()
  const over = Object.values(CASES).filter(({ check }) => 'http_health_check' in check).length
  assert.equal(heads.length, over + 1, heads.join('\n'))
})

test('a host that says so in an answer, and one that comes back', { timeout: 120_000 }, async (t) => {
  const state: Record<string, string> = {}
  const server = http.createServer((request, response) => {
    const name = request.socket.localAddress!
    if (request.url === '/check') {
      response.statusCode = state[name] === 'unwell' ? 503 : 200
      response.end()
      return
    }
    if (request.url === '/leave') response.setHeader('x-envoy-immediate-health-check-fail', 'true')
    if (request.url === '/leave') state[name] = 'unwell'
    response.end(name)
  })
  server.listen(0, '0.0.0.0')
  await once(server, 'listening')
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  const both = async (of: Record<string, JsonObject>): Promise<Readonly<Record<string, Ports>>> => {
    const filters = Object.fromEntries(Object.keys(of).map((name) => [name, httpTo(name)]))
    return startBoth(t, Object.values(of), filters)
  }
  const check = http1({}, { interval: '0.2s', no_traffic_interval: '0.2s' })
  const ports = await both({
    ours: clusterTo('ours', [['127.0.5.1', port]], { health_checks: [check], ...panic(0) }),
    theirs: clusterTo('theirs', [['127.0.5.2', port]], { health_checks: [check], ...panic(0) }),
  })
  for (const [name, address] of [
    ['ours', '127.0.5.1'],
    ['theirs', '127.0.5.2'],
  ] as const) {
    const to = ports[name]![name]
    state[address] = 'well'
    const becomes = async (wanted: string): Promise<void> => {
      for (let i = 0; i < 200; i++) {
        if ((await ask(to)) === wanted) return
        await new Promise((resolve) => {
          setTimeout(resolve, 20)
        })
      }
      assert.fail(`${name}: it never was ${wanted}`)
    }
    await becomes(address)
    assert.equal(await ask(to, '/leave'), address)
    await becomes('503')
    state[address] = 'well'
    await becomes(address)
  }
})

test('gRPC health services are asked as by Envoy', { timeout: 120_000 }, async (t) => {
  const asked = new Set<string>()
  const server = http2.createServer()
  server.on('stream', (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => {
    const address = String(stream.session!.socket.localAddress)
    stream.on('error', () => {})
    if (headers[':path'] !== '/grpc.health.v1.Health/Check') {
      stream.respond({ ':status': 200 })
      stream.end(address)
      return
    }
    const chunks: Buffer[] = []
    stream.on('data', (chunk: Buffer) => chunks.push(chunk))
    stream.on('end', () => {
      const { [':authority']: authority, [':scheme']: scheme, te, 'user-agent': agent, 'content-type': kind } = headers
      const own = Object.keys(headers).filter((name) => name.startsWith('x-'))
      asked.add(JSON.stringify([authority, scheme, te, agent, kind, own, Buffer.concat(chunks).toString('hex')]))
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
      const status = { '127.0.6.1': 1, '127.0.6.2': 2, '127.0.6.3': 3 }[address]
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': status === undefined ? '12' : '0' }))
      stream.end(status === undefined ? undefined : frameGrpc(Buffer.from([8, status])))
    })
  })
  server.listen(0, '0.0.0.0')
  await once(server, 'listening')
  t.after(() => void server.close())
  const { port } = server.address() as AddressInfo
  const hosts = ['127.0.6.1', '127.0.6.2', '127.0.6.3', '127.0.6.4'].map((host) => [host, port] as const)
  const h2 = {
    '@type': type('extensions.upstreams.http.v3.HttpProtocolOptions'),
    explicit_http_config: { http2_protocol_options: {} },
  }
  const clusterOf = (name: string, grpc_health_check: JsonObject): JsonObject =>
    clusterTo(name, hosts, {
      typed_extension_protocol_options: { 'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': h2 },
      health_checks: [{ ...TIMES, grpc_health_check }],
      ...panic(0),
    })
  const of = {
    server: clusterOf('server', {}),
    service: clusterOf('service', {
      service_name: 'shop.Orders',
      authority: 'orders.test',
      initial_metadata: [{ header: { key: 'x-probe', value: 'yes' } }],
    }),
  }
  const ports = await startBoth(
    t,
    Object.values(of),
    Object.fromEntries(Object.keys(of).map((name) => [name, httpTo(name)])),
  )
  for (const { ours, theirs } of Object.values(ports)) {
    assert.equal(await served(theirs), '127.0.6.1')
    assert.equal(await served(ours, '127.0.6.1'), '127.0.6.1')
  }
  assert.equal(asked.size, 2, [...asked].join('\n'))
})
