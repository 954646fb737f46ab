/** Filters of connections in front of a TCP proxy: Envoy and meshlet let the same ones through. */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import http2 from 'node:http2'
import net from 'node:net'
import type { JsonObject } from '@bufbuild/protobuf'
import { decode } from '../../../../control-sync/decode/decode.ts'
import { readMessage } from '../../../../protocols/protobuf/message.ts'
import { freePorts } from '../../../../tools/free-ports.ts'
import { sample } from '../../../helpers/control-plane/resources.ts'
import { portOf } from '../../../helpers/raw-h2.ts'
import { SocketOrigin, SocketRig } from '../../../protocols/downstream/socket-rig.ts'
import { cluster, endpoint } from '../../../protocols/http/harness.ts'
import { startStaticEnvoy } from '../envoy.ts'
import {
  answerCount,
  authz,
  count,
  DENIES,
  filter,
  global,
  HTTP2_CLUSTER,
  IF_MATCHED,
  OFF,
  rate,
  rbac,
  say,
  shadow,
  type,
} from './connection-filters.ts'
import { staticCluster } from '../../package/shipped.ts'

type Row = {
  readonly name: string
  readonly filters: readonly JsonObject[]
  /** What is done, one after the other: `open` stays, `close` ends the first that is open. */
  readonly steps: readonly ('open' | 'close')[]
  readonly answer?: (stream: http2.ServerHttp2Stream, path: string) => void
}
const OPEN3 = ['open', 'open', 'open'] as const

const FAILED: NonNullable<Row['answer']> = (s) =>
  s.respond({ ':status': 200, 'grpc-status': '14' }, { endStream: true })
const ROWS: readonly Row[] = [
  { name: 'two tokens', filters: [rate(2)], steps: OPEN3 },
  { name: 'tokens, switched off', filters: [rate(1, OFF)], steps: OPEN3 },
  { name: 'one key, one bucket', filters: [rate(3, { share_key: 'k' }), rate(3, { share_key: 'k' })], steps: OPEN3 },
  { name: 'two open', filters: [count(2)], steps: ['open', 'open', 'open', 'close', 'open', 'open'] },
  { name: 'count, switched off', filters: [count(1, OFF)], steps: OPEN3 },
  { name: 'a delay', filters: [count(1, { delay: '0.2s' })], steps: ['open', 'open', 'close', 'open'] },
  { name: 'both', filters: [count(2), rate(3)], steps: ['open', 'open', 'open', 'close', 'open', 'open'] },
  { name: 'allowed', filters: [authz()], steps: ['open'], answer: (s) => say(s, 0) },
  { name: 'denied', filters: [authz()], steps: ['open'], answer: (s) => say(s, 7) },
  { name: 'no answer', filters: [authz()], steps: ['open'], answer: () => {} },
  { name: 'no answer, may pass', filters: [authz({ failure_mode_allow: true })], steps: ['open'], answer: () => {} },
  {
    name: 'an error',
    filters: [authz()],
    steps: ['open'],
    answer: (s) => s.respond({ ':status': 200, 'grpc-status': '14' }, { endStream: true }),
  },
  {
    name: 'an error, may pass',
    filters: [authz({ failure_mode_allow: true })],
    steps: ['open'],
    answer: (s) => s.respond({ ':status': 503 }, { endStream: true }),
  },
  { name: 'nobody to ask', filters: [authz({}, 'down')], steps: ['open'] },
  { name: 'nobody to ask, may pass', filters: [authz({ failure_mode_allow: true }, 'down')], steps: ['open'] },
  { name: 'counted', filters: [global()], steps: ['open', 'open'], answer: (s) => answerCount(s, 1) },
  { name: 'too many', filters: [global()], steps: ['open', 'open'], answer: (s) => answerCount(s, 2) },
  ...[{}, DENIES].flatMap((more) => {
    const how = more === DENIES ? 'refused' : 'passes'
    return [
      { name: `no count, ${how}`, filters: [global(more)], steps: ['open'] as const, answer: () => {} },
      { name: `a failed count, ${how}`, filters: [global(more)], steps: ['open'] as const, answer: FAILED },
      { name: `nobody who counts, ${how}`, filters: [global(more, 'down')], steps: ['open'] as const },
    ]
  }),
  {
    name: 'what a connection is counted by',
    filters: [
      global({
        descriptors: [
          { entries: [{ key: 'ip', value: '%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%' }, { key: 'empty' }] },
          { entries: [{ key: 'text', value: 'a %% b %DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%:x' }] },
          { entries: [{ key: 'name', value: '%REQUESTED_SERVER_NAME%' }] },
        ],
      }),
    ],
    steps: ['open'],
    answer: (s) => answerCount(s, 1),
  },
  {
    name: 'a bucket before the count',
    filters: [rate(1), global()],
    steps: OPEN3,
    answer: (s) => answerCount(s, 1),
  },
  {
    name: 'a bucket behind the count',
    filters: [global(), rate(1)],
    steps: OPEN3,
    answer: (s) => answerCount(s, 1),
  },
  {
    name: 'too many take no place',
    filters: [count(1), global()],
    steps: ['open', 'open'],
    answer: (s) => answerCount(s, 2),
  },
  {
    name: 'a policy that lets pass',
    filters: [rbac('ALLOW'), count(1), rate(9)],
    steps: ['open', 'open', 'close', 'open'],
  },
  { name: 'who a policy refuses takes no place', filters: [count(1), rbac('DENY')], steps: ['open', 'open'] },
  { name: 'who a policy refuses took a token', filters: [rbac('DENY'), rate(1), rate(1)], steps: ['open', 'open'] },
  { name: 'who a policy refuses is not asked about', filters: [rbac('DENY'), authz()], steps: ['open'] },
  { name: 'a service in front of a policy that refuses', filters: [authz(), rbac('DENY')], steps: ['open'] },
  {
    name: 'who a service in front of a policy refuses',
    filters: [authz(), rbac('ALLOW')],
    steps: ['open'],
    answer: (s) => say(s, 7),
  },
  { name: 'a policy between two services', filters: [authz(), rbac('DENY'), authz()], steps: ['open'] },
  { name: 'a service that a policy enables', filters: [shadow(), authz(IF_MATCHED)], steps: ['open'] },
  {
    name: 'all of them, and one place',
    filters: [rate(9), global(), count(1), rbac('ALLOW'), authz()],
    steps: ['open', 'open', 'close', 'open'],
    answer: (s, path) => (path.includes('ratelimit') ? answerCount(s, 1) : say(s, 0)),
  },
  {
    name: 'who the service refuses takes no place',
    filters: [count(1), rbac('ALLOW'), authz()],
    steps: ['open', 'open'],
    answer: (s) => say(s, 7),
  },
  {
    name: 'who asks first',
    filters: [authz(), global(), count(9)],
    steps: ['open'],
    answer: (s) => answerCount(s, 2),
  },
]

const listenerOf = (row: Row, port: number): JsonObject => ({
  '@type': type('config.listener.v3.Listener'),
  name: row.name,
  traffic_direction: 'INBOUND',
  address: { socket_address: { address: '127.0.0.1', port_value: port } },
  filter_chains: [{ filters: [...row.filters, filter('tcp_proxy', 'TcpProxy', { cluster: 'origin' })] }],
})

/** What becomes of each connection: `echo`, or it is closed. */
async function play(port: number, row: Row): Promise<string[]> {
  const open: net.Socket[] = []
  const told: string[] = []
  for (const step of row.steps) {
    if (step === 'close') {
      const socket = open.shift()!
      const over = once(socket, 'close')
      socket.end()
      await over
      continue
    }
    const socket = net.connect(port, '127.0.0.1')
    socket.on('error', () => {})
    const answered = new Promise<string>((resolve) => {
      socket.once('data', () => resolve('echo')).once('close', () => resolve('closed'))
    })
    socket.write('x')
    told.push(await answered)
    if (told.at(-1) === 'echo') open.push(socket)
  }
  for (const socket of open) socket.destroy()
  return told
}

type Asked = { readonly path: string; readonly body: Buffer }
/** Of an authorization numbers of the fields of the question, as deep as they are messages that have a meaning here. */
function fieldsOf({ path, body }: Asked): unknown {
  if (path.includes('ratelimit')) return body.toString('latin1')
  const [attributes] = readMessage(body) ?? []
  const peers = readMessage(attributes!.bytes) ?? []
  return peers.map(({ no, bytes }) => [no, no <= 2 ? (readMessage(bytes) ?? []).map((f) => f.no) : []])
}

test('the same connections, the same ones pass', async (t: TestContext) => {
  using origin = await SocketOrigin.listen((socket) => socket.pipe(socket))
  const asked: Asked[] = []
  let answer: NonNullable<Row['answer']> = (s) => say(s, 0)
  const service = http2.createServer()
  service.on('session', (session) => t.after(() => session.destroy()))
  service.on('stream', (stream: http2.ServerHttp2Stream, headers) => {
    stream.on('error', () => {})
    const chunks: Buffer[] = []
    stream.on('data', (chunk: Buffer) => chunks.push(chunk))
    stream.on('end', () => {
      asked.push({ path: String(headers[':path']), body: Buffer.concat(chunks).subarray(5) })
      answer(stream, String(headers[':path']))
    })
  })
  service.listen(0, '127.0.0.1')
  await once(service, 'listening')
  t.after(() => service.close())
  const [down, ...ports] = await freePorts(ROWS.length + 1)
  const clusters = [
    staticCluster('origin', origin.port),
    staticCluster('auth', portOf(service), HTTP2_CLUSTER),
    staticCluster('down', down!, HTTP2_CLUSTER),
  ]
  // Nobody is asked about the connection that looks whether Envoy is there.
  const free = ROWS.findIndex(({ name }) => name === 'count, switched off')
  await startStaticEnvoy(t, { listeners: ROWS.map((row, i) => listenerOf(row, ports[i]!)), clusters }, ports[free]!)
  const ours = [
    origin.cluster(),
    cluster([endpoint('127.0.0.1', portOf(service))], { name: 'auth', protocol: 'http2' }),
    cluster([endpoint('127.0.0.1', down!)], { name: 'down', protocol: 'http2' }),
  ]
  for (const [i, row] of ROWS.entries()) {
    answer = row.answer ?? ((s) => say(s, 0))
    asked.length = 0
    const theirs = [await play(ports[i]!, row), asked.map(fieldsOf)]
    asked.length = 0
    const decoded = decode('listener', sample(listenerOf(row, 80)).bytes)
    assert.ok(decoded.ok)
    assert.deepEqual([decoded.blocked, decoded.ignored], [[], []], row.name)
    await using rig = await SocketRig.open(decoded.value.filterChains[0]!, { clusters: ours })
    const time = setInterval(() => void rig.clock.advance(10), 10)
    try {
      assert.deepEqual([await play(rig.port, row), asked.map(fieldsOf)], theirs, row.name)
    } finally {
      clearInterval(time)
    }
  }
})
