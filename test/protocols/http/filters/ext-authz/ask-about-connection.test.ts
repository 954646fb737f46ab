/** A service is asked about TCP connections, on real sockets. */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import http2 from 'node:http2'
import { duplexPair } from 'node:stream'
import { Current } from '../../../../../core/current.ts'
import { MeshError } from '../../../../../core/errors.ts'
import type { Cluster } from '../../../../../model/cluster.ts'
import type { Tables } from '../../../../../model/tables.ts'
import { askAboutConnection } from '../../../../../protocols/http/filters/ext-authz/ask-about-connection.ts'
import type { CallEvents, HttpUpstreams } from '../../../../../protocols/http/message.ts'
import { connectionInClear, realContext } from '../../../parts.ts'
import type { ConnectionAuthz } from '../../../../../model/http/ext-authz.ts'
import type { Policy } from '../../../../../model/policy.ts'
import { NO_HEADER_CHANGES } from '../../../../../model/route.ts'
import { findBytes, MessageWriter, readMessage, readText } from '../../../../../protocols/protobuf/message.ts'
import { portOf } from '../../../../helpers/raw-h2.ts'
import { cluster, endpoint, manager, tablesOf } from '../../harness.ts'
import { SocketOrigin, SocketRig } from '../../../downstream/socket-rig.ts'

type Answer = (stream: http2.ServerHttp2Stream) => void
/** @param code of google.rpc.Status in the CheckResponse */
const say =
  (code: number, more: Buffer = Buffer.alloc(0)): Answer =>
  (stream) => {
    const message = Buffer.concat([new MessageWriter().message(1, new MessageWriter().integer(1, code)).finish(), more])
    const frame = Buffer.alloc(5)
    frame.writeUInt32BE(message.length, 1)
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }))
    stream.end(Buffer.concat([frame, message]))
  }

async function start(
  t: TestContext,
  answer: Answer,
  more: Partial<ConnectionAuthz> = {},
  policies: readonly Policy[] = [],
  policiesBefore?: readonly number[],
): Promise<{ rig: SocketRig; origin: SocketOrigin; asked: { body: Buffer; stream: http2.ServerHttp2Stream }[] }> {
  const asked: { body: Buffer; stream: http2.ServerHttp2Stream }[] = []
  const service = http2.createServer()
  service.on('stream', (stream: http2.ServerHttp2Stream) => {
    stream.on('error', () => {})
    const chunks: Buffer[] = []
    stream.on('data', (chunk: Buffer) => chunks.push(chunk))
    stream.on('end', () => {
      asked.push({ body: Buffer.concat(chunks).subarray(5), stream })
      answer(stream)
    })
  })
  service.on('session', (session) => t.after(() => session.destroy()))
  service.listen(0, '127.0.0.1')
  await once(service, 'listening')
  const origin = await SocketOrigin.listen()
  const authz: ConnectionAuthz = {
    statPrefix: 's',
    service: { kind: 'grpc', cluster: 'auth', authority: 'auth', timeoutMs: 1_000, headers: ['x-a', 'b'] },
    failureAllows: false,
    enabledBy: undefined,
    sendsServerName: false,
    sendsCertificate: false,
    ...more,
  }
  const auth = cluster([endpoint('127.0.0.1', portOf(service))], { name: 'auth', protocol: 'http2' })
  const tcp = { clusters: [{ name: 'origin', weight: 1, headers: NO_HEADER_CHANGES }], idleMs: undefined }
  const rig = await SocketRig.open(
    { authz: [authz], policies, ...(policiesBefore && { policiesBefore }), codec: { kind: 'tcp', tcp } },
    { clusters: [origin.cluster(), auth] },
  )
  t.after(async () => {
    await rig[Symbol.asyncDispose]()
    origin[Symbol.dispose]()
    service.close()
  })
  return { rig, origin, asked }
}

test('who may pass passes, who may not is closed before the endpoint hears of it', async (t) => {
  const good = await start(t, say(0))
  assert.equal(await good.rig.passes(good.origin), true)
  const source = findBytes(readMessage(findBytes(readMessage(good.asked[0]!.body)!, 1)!)!, 1)!
  assert.equal(readText(readMessage(findBytes(readMessage(findBytes(readMessage(source)!, 1)!)!, 1)!)!, 2), '127.0.0.1')
  const bad = await start(t, say(7))
  assert.equal(await bad.rig.passes(bad.origin), false)
  assert.equal(bad.rig.hasFailed('MESH_EXT_AUTHZ_DENIED'), true)
})

for (const [name, answer] of [
  ['never answers', () => {}],
  ['closes the stream', (stream) => stream.close(2)],
  ['answers with 503', (stream) => stream.respond({ ':status': 503 }, { endStream: true })],
  [
    'answers with another grpc-status',
    (stream) => stream.respond({ ':status': 200, 'grpc-status': '14' }, { endStream: true }),
  ],
  [
    'answers with what is no message',
    (stream) => {
      stream.respond({ ':status': 200, 'grpc-status': '0' })
      stream.end('no message')
    },
  ],
  [
    'answers without end',
    (stream) => {
      stream.respond({ ':status': 200 })
      stream.write(Buffer.alloc(200_000))
    },
  ],
] as readonly (readonly [string, Answer])[])
  for (const failureAllows of [false, true])
    test(`a service that ${name}: ${failureAllows ? 'the connection passes' : 'the connection is closed'}`, async (t) => {
      const held = await start(t, answer, { failureAllows })
      assert.equal(await held.rig.passes(held.origin, 50), failureAllows)
      assert.match(held.rig.metrics.text(), /mesh_connection_ext_authz_total\{result="error"\} 1/)
    })

test('a cluster that is not there refuses', async (t) => {
  const held = await start(t, say(0), {
    service: { kind: 'grpc', cluster: 'none', authority: 'a', timeoutMs: 1_000, headers: [] },
  })
  assert.equal(await held.rig.passes(held.origin), false)
  assert.equal(held.rig.hasFailed('MESH_EXT_AUTHZ_UNAVAILABLE'), true)
})

test('a client that leaves is not asked about any longer, and a late answer changes nothing', async (t) => {
  const held = await start(t, () => {})
  const socket = await held.rig.dial()
  await held.rig.until('it is asked', () => held.asked.length === 1)
  const { stream } = held.asked[0]!
  socket.resetAndDestroy()
  await held.rig.until('the question is withdrawn', () => stream.destroyed)
  await held.rig.until('the connection is over', () => /mesh_connections_open 0/.test(held.rig.metrics.text()))
  assert.equal(held.origin.sockets.length, 0)
})

const CUSTOM: Policy = {
  action: 'log',
  rules: [],
  shadow: {
    action: 'deny',
    prefix: 'istio_ext_authz_',
    rules: [{ name: 'istio-ext-authz-x', permissions: [{ kind: 'any' }], principals: [{ kind: 'any' }] }],
  },
}
test('with CUSTOM rules only connections that they match are asked about', async (t) => {
  const enabledBy = {
    filter: 'envoy.filters.network.rbac',
    path: ['istio_ext_authz_shadow_effective_policy_id'],
    value: { kind: 'string', match: { kind: 'prefix', value: 'istio-ext-authz', ignoreCase: false } },
    invert: false,
  } as const
  const matched = await start(t, say(7), { enabledBy }, [CUSTOM])
  assert.equal(await matched.rig.passes(matched.origin), false)
  const other = await start(t, say(7), { enabledBy }, [{ ...CUSTOM, shadow: { ...CUSTOM.shadow!, rules: [] } }])
  assert.equal(await other.rig.passes(other.origin), true)
  assert.equal(other.asked.length, 0)
})

const NOBODY: Policy = { action: 'allow', rules: [], shadow: undefined }
test('a policy behind the service is asked when the service has agreed', async (t) => {
  const held = await start(t, say(0), {}, [NOBODY], [0])
  assert.equal(await held.rig.passes(held.origin), false)
  assert.equal(held.rig.hasFailed('MESH_PEER_NOT_ALLOWED'), true)
  assert.equal(held.asked.length, 1)
  const before = await start(t, say(0), {}, [NOBODY])
  assert.equal(await before.rig.passes(before.origin), false)
  assert.equal(before.asked.length, 0)
})

test('a policy that a push brings while the service is asked ends the connection', async (t) => {
  const held = await start(t, () => {})
  const socket = await held.rig.dial()
  await held.rig.until('it is asked', () => held.asked.length === 1)
  const [live] = held.rig.tables.get().listeners.values()
  held.rig.use({ ...live!.defaultFilterChain!, policies: [NOBODY] }, { clusters: [held.origin.cluster()] })
  say(0)(held.asked[0]!.stream)
  await held.rig.until('it is over', () => socket.closed || /mesh_connections_open 0/.test(held.rig.metrics.text()), 10)
  assert.equal(held.rig.hasFailed('MESH_PEER_NOT_ALLOWED'), true)
  assert.equal(held.origin.sockets.length, 0)
})

test('connections that nobody was asked about are ended when a push wants it', async (t) => {
  const held = await start(t, say(0))
  const tcp = { clusters: [{ name: 'origin', weight: 1, headers: NO_HEADER_CHANGES }], idleMs: undefined }
  const { rig } = held
  const [clusters] = [[held.origin.cluster()]]
  rig.use({ codec: { kind: 'tcp', tcp } }, { clusters })
  assert.equal(await held.rig.passes(held.origin), true)
  const authz = { ...AUTHZ_OF_PUSH }
  rig.use({ authz: [authz], codec: { kind: 'tcp', tcp } }, { clusters })
  await rig.until('it is over', () => /mesh_connections_open 0/.test(rig.metrics.text()), 1_000)
})
const AUTHZ_OF_PUSH: ConnectionAuthz = {
  statPrefix: 's',
  service: { kind: 'grpc', cluster: 'auth', authority: 'auth', timeoutMs: 1_000, headers: [] },
  failureAllows: false,
  enabledBy: undefined,
  sendsServerName: false,
  sendsCertificate: false,
}

test('it is asked anew where the cluster was replaced, or a pooled connection had been closed, and then no more', async () => {
  const auth = cluster([], { name: 'auth' })
  const ctx = realContext({ tables: new Current<Tables>(tablesOf([auth])) })
  const [stream] = duplexPair()
  const conn = connectionInClear(stream, manager())
  const asked: boolean[] = []
  const reset = new MeshError('MESH_UPSTREAM_RESET', 'it is closed')
  const ends: ((events: CallEvents) => void)[] = [
    (events) => events.onCallMoved(),
    (events) => events.onCallFailed(reset, 'all', true),
    (events) => events.onCallFailed(reset, 'all', true),
  ]
  const upstreams = {
    startCall: (_: Cluster, { fresh }: { fresh: boolean }, events: CallEvents) => {
      queueMicrotask(() => ends[asked.push(fresh) - 1]!(events))
    },
  } as unknown as HttpUpstreams
  const refusal = await askAboutConnection(conn, AUTHZ_OF_PUSH, ctx, upstreams)
  assert.deepEqual([refusal?.code, asked], ['MESH_EXT_AUTHZ_UNAVAILABLE', [false, false, true]])
  stream.destroy()
})
