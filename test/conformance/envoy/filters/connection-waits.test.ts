/**
 * Connections for which services are asked, over TCP and TLS: Envoy and meshlet do the same with a client that has said
 * all it has to say, that leaves, and when they drain meanwhile.
 */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import http2 from 'node:http2'
import net from 'node:net'
import tls from 'node:tls'
import type { JsonObject } from '@bufbuild/protobuf'
import { decode } from '../../../../control-sync/decode/decode.ts'
import { freePorts } from '../../../../tools/free-ports.ts'
import { sample } from '../../../helpers/control-plane/resources.ts'
import { portOf } from '../../../helpers/raw-h2.ts'
import { testCa } from '../../../helpers/test-ca.ts'
import { SocketOrigin, SocketRig } from '../../../protocols/downstream/socket-rig.ts'
import { cluster, endpoint } from '../../../protocols/http/harness.ts'
import { until } from '../../programs.ts'
import { startStaticEnvoy } from '../envoy.ts'
import { staticCluster } from '../../package/shipped.ts'
import {
  answerCount,
  authz,
  count,
  filter,
  global,
  HTTP2_CLUSTER,
  rate,
  rbac,
  say,
  type,
} from './connection-filters.ts'

const LONG = { timeout: '60s' }
const patient = (): JsonObject =>
  authz({ grpc_service: { envoy_grpc: { cluster_name: 'auth' }, ...LONG }, failure_mode_allow: false })
const CHAINS: Readonly<Record<string, readonly JsonObject[]>> = {
  asked: [patient()],
  counted: [global(LONG)],
  'a policy, asked': [rbac('ALLOW'), patient()],
  'asked, a policy': [patient(), rbac('ALLOW')],
  'asked, a policy that refuses': [patient(), rbac('DENY')],
  'one place, asked': [count(1), patient()],
  'all of them': [rate(9), global(LONG), count(1), rbac('ALLOW'), patient()],
}
const CASES = Object.keys(CHAINS).flatMap((name) => [false, true].map((isSecure) => ({ name, isSecure })))
type Case = (typeof CASES)[number]

const { keyPem, chainPem } = testCa().issue('default', 'server', { dnsNames: ['localhost'] })
const SECURE = {
  transport_socket: {
    name: 'envoy.transport_sockets.tls',
    typed_config: {
      '@type': type('extensions.transport_sockets.tls.v3.DownstreamTlsContext'),
      common_tls_context: {
        tls_certificates: [{ certificate_chain: { inline_string: chainPem }, private_key: { inline_string: keyPem } }],
      },
    },
  },
}
const listenerOf = ({ name, isSecure }: Case, port: number): JsonObject => ({
  '@type': type('config.listener.v3.Listener'),
  name: `${name} ${isSecure}`,
  traffic_direction: 'INBOUND',
  address: { socket_address: { address: '127.0.0.1', port_value: port } },
  filter_chains: [
    {
      filters: [...CHAINS[name]!, filter('tcp_proxy', 'TcpProxy', { cluster: 'origin' })],
      ...(isSecure && SECURE),
    },
  ],
})

/** Answers when it is told to. */
class Service {
  #waiting: (() => void)[] = []
  #isOpen = false
  port = 0
  async listen(t: TestContext): Promise<void> {
    const server = http2.createServer()
    server.on('session', (session) => t.after(() => session.destroy()))
    server.on('stream', (stream: http2.ServerHttp2Stream, headers) => {
      stream.on('error', () => {})
      stream.resume()
      this.#waiting.push(() => {
        if (stream.destroyed) return
        if (String(headers[':path']).includes('ratelimit')) answerCount(stream, 1)
        else say(stream, 0)
      })
      if (this.#isOpen) this.open()
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    t.after(() => server.close())
    this.port = portOf(server)
  }
  get waiting(): number {
    return this.#waiting.length
  }
  /** Whoever waits, and whoever comes, gets an answer. */
  open(): void {
    this.#isOpen = true
    for (const answer of this.#waiting.splice(0)) answer()
  }
  close(): void {
    this.#isOpen = false
    this.#waiting = []
  }
}

class Client {
  readonly socket: net.Socket
  text = ''
  how: 'open' | 'ended' | 'closed' = 'open'
  constructor(port: number, isSecure: boolean) {
    const where = { port, host: '127.0.0.1', allowHalfOpen: true }
    this.socket = isSecure ? tls.connect({ ...where, rejectUnauthorized: false }) : net.connect(where)
    this.socket
      .on('error', () => {})
      .on('data', (chunk: Buffer) => (this.text += chunk.toString()))
      .on('end', () => (this.how = 'ended'))
      .on('close', () => (this.how = this.how === 'ended' ? 'ended' : 'closed'))
  }
}

type Way = { readonly port: number; readonly isSecure: boolean; readonly service: Service }
/** @returns what came back to whom */
async function halfClosed({ port, isSecure, service }: Way): Promise<unknown> {
  const client = new Client(port, isSecure)
  client.socket.end('hello')
  await until('it is asked about', () => service.waiting > 0 || client.how !== 'open')
  service.open()
  await until('all is over', () => client.how !== 'open')
  client.socket.destroy()
  service.close()
  return [client.text]
}
async function leaves({ port, isSecure, service }: Way): Promise<unknown> {
  const first = new Client(port, isSecure)
  first.socket.write('hello')
  await until('it is asked about', () => service.waiting > 0 || first.how !== 'open')
  first.socket.destroy()
  service.close()
  service.open()
  const told: string[] = []
  // Of one place, the one that was left.
  for (let i = 0; i < 2; i++) {
    const next = new Client(port, isSecure)
    next.socket.write('x')
    await until('it is decided', () => next.text !== '' || next.how !== 'open')
    told.push(next.text)
    next.socket.destroy()
    await until('it has left', () => next.socket.closed)
  }
  service.close()
  return told
}
async function drained({ port, isSecure, service }: Way, drain: () => unknown): Promise<unknown> {
  const client = new Client(port, isSecure)
  client.socket.write('hello')
  await until('it is asked about', () => service.waiting > 0)
  await drain()
  service.open()
  await until('it is decided', () => client.text !== '' || client.how !== 'open')
  const before = client.text
  client.socket.end('more')
  await until('all is over', () => client.how !== 'open')
  service.close()
  client.socket.destroy()
  return [before, client.text]
}

test('what becomes of connections while services are asked about them', { timeout: 180_000 }, async (t) => {
  using origin = await SocketOrigin.listen((socket) => socket.pipe(socket))
  const service = new Service()
  await service.listen(t)
  const [free, admin, ...ports] = await freePorts(CASES.length + 2)
  const clusters = [staticCluster('origin', origin.port), staticCluster('auth', service.port, HTTP2_CLUSTER)]
  const nobodyAsks: JsonObject = {
    ...listenerOf({ name: 'asked', isSecure: false }, free!),
    name: 'free',
    filter_chains: [{ filters: [filter('tcp_proxy', 'TcpProxy', { cluster: 'origin' })] }],
  }
  const listeners = [nobodyAsks, ...CASES.map((one, i) => listenerOf(one, ports[i]!))]
  const address = { socket_address: { address: '127.0.0.1', port_value: admin } }
  await startStaticEnvoy(t, { listeners, clusters, admin: { address } }, free!)
  const ours = [
    origin.cluster(),
    cluster([endpoint('127.0.0.1', service.port)], { name: 'auth', protocol: 'http2' as const }),
  ]
  const open = (one: Case): Promise<SocketRig> => {
    const decoded = decode('listener', sample(listenerOf(one, 80)).bytes)
    assert.ok(decoded.ok)
    assert.deepEqual([decoded.blocked, decoded.ignored], [[], []], one.name)
    return SocketRig.open(decoded.value.filterChains[0]!, { clusters: ours })
  }
  for (const play of [halfClosed, leaves])
    for (const [i, one] of CASES.entries()) {
      // Of a client that leaves before its handshake Envoy does not always do the same with those behind it.
      if (play === leaves && one.name === 'all of them' && one.isSecure) continue
      const theirs = await play({ port: ports[i]!, isSecure: one.isSecure, service })
      await using rig = await open(one)
      assert.deepEqual(
        await play({ port: rig.port, isSecure: one.isSecure, service }),
        theirs,
        `${play.name}: ${one.name} ${one.isSecure ? 'over TLS' : ''}`,
      )
    }
  const drainEnvoy = async (): Promise<void> => {
    const answer = await fetch(`http://127.0.0.1:${admin}/drain_listeners`, {
      method: 'POST',
      headers: { connection: 'close' },
    })
    assert.equal(answer.status, 200)
  }
  const theirs = await drained({ port: ports[0]!, isSecure: false, service }, drainEnvoy)
  assert.deepEqual(theirs, ['hello', 'hellomore'])
  for (const one of CASES.filter(({ name }) => !name.includes('refuses'))) {
    const rig = await open(one)
    let over: Promise<unknown> | undefined
    const mine = await drained({ port: rig.port, isSecure: one.isSecure, service }, async () => {
      over = rig.path.drain()
      await rig.clock.advance(1_000)
    })
    assert.deepEqual(mine, theirs, `${one.name} ${one.isSecure ? 'over TLS' : ''}`)
    assert.equal(await over, 'drained')
    await rig[Symbol.asyncDispose]()
  }
})
