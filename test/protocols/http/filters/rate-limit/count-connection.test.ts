/** A service counts TCP connections, on real sockets. Beside Envoy: test/conformance/envoy/filters/connections.test.ts. */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import http2 from 'node:http2'
import type { ConnectionCounter, ConnectionLimit } from '../../../../../model/http/connection-limit.ts'
import { NO_HEADER_CHANGES } from '../../../../../model/route.ts'
import { portOf } from '../../../../helpers/raw-h2.ts'
import { SocketOrigin, SocketRig } from '../../../downstream/socket-rig.ts'
import { cluster, endpoint } from '../../harness.ts'

type Answer = (stream: http2.ServerHttp2Stream) => void
/** @param code of the RateLimitResponse */
const say =
  (code: number): Answer =>
  (stream) => {
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }))
    stream.end(Buffer.from([0, 0, 0, 0, 2, 8, code]))
  }
const COUNTER: ConnectionCounter = {
  kind: 'service',
  statPrefix: 's',
  domain: 'd',
  service: { kind: 'grpc', cluster: 'limits', authority: 'l', timeoutMs: 1_000, headers: [] },
  descriptors: [[['ip', '%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%']], [['name', '%REQUESTED_SERVER_NAME%']]],
  failureDenies: false,
}
const PLACE: ConnectionLimit = { kind: 'count', statPrefix: 'places', max: 1, delayMs: 0 }

type Started = { readonly rig: SocketRig; readonly origin: SocketOrigin; readonly asked: Buffer[] }
async function start(t: TestContext, answer: Answer, limits: readonly ConnectionLimit[]): Promise<Started> {
  const asked: Buffer[] = []
  const service = http2.createServer()
  service.on('session', (session) => t.after(() => session.destroy()))
  service.on('stream', (stream: http2.ServerHttp2Stream) => {
    stream.on('error', () => {})
    const chunks: Buffer[] = []
    stream.on('data', (chunk: Buffer) => chunks.push(chunk))
    stream.on('end', () => {
      asked.push(Buffer.concat(chunks).subarray(5))
      answer(stream)
    })
  })
  service.listen(0, '127.0.0.1')
  await once(service, 'listening')
  const origin = await SocketOrigin.listen()
  const counts = cluster([endpoint('127.0.0.1', portOf(service))], { name: 'limits', protocol: 'http2' })
  const tcp = { clusters: [{ name: 'origin', weight: 1, headers: NO_HEADER_CHANGES }], idleMs: undefined }
  const rig = await SocketRig.open({ limits, codec: { kind: 'tcp', tcp } }, { clusters: [origin.cluster(), counts] })
  t.after(async () => {
    await rig[Symbol.asyncDispose]()
    origin[Symbol.dispose]()
    service.close()
  })
  return { rig, origin, asked }
}

const counted = (rig: SocketRig, result: string): boolean =>
  rig.metrics.text().includes(`mesh_rate_limit_total{prefix="s",result="${result}"} 1`)

test('who is not too much passes, and was counted by what its descriptors say', async (t) => {
  const held = await start(t, say(1), [COUNTER])
  assert.equal(await held.rig.passes(held.origin), true)
  assert.equal(
    held.asked.map((body) => body.toString('latin1')).join(),
    '\n\x01d\x12\x11\n\x0f\n\x02ip\x12\x09127.0.0.1\x12\x0b\n\x09\n\x04name\x12\x01-',
  )
  assert.equal(counted(held.rig, 'ok'), true)
})

test('one that is too much is closed before the endpoint hears of it', async (t) => {
  const held = await start(t, say(2), [COUNTER])
  assert.equal(await held.rig.passes(held.origin), false)
  assert.equal(held.rig.hasFailed('MESH_RATE_LIMITED'), true)
  assert.equal(counted(held.rig, 'refused'), true)
})

for (const [what, answer] of [
  ['never answers', () => {}],
  ['says nothing', say(0)],
  ['answers with 503', (stream) => stream.respond({ ':status': 503 }, { endStream: true })],
  ['closes the stream', (stream) => stream.close(2)],
] as readonly (readonly [string, Answer])[])
  test(`a service that ${what}: passes, or is refused where failure_mode_deny says so`, async (t) => {
    const open = await start(t, answer, [COUNTER])
    assert.equal(await open.rig.passes(open.origin, 100), true)
    assert.equal(counted(open.rig, 'unknown'), true)
    const shut = await start(t, answer, [{ ...COUNTER, failureDenies: true }])
    assert.equal(await shut.rig.passes(shut.origin, 100), false)
    assert.equal(shut.rig.hasFailed('MESH_RATE_LIMIT_UNAVAILABLE'), true)
    assert.equal(counted(shut.rig, 'refused'), true)
  })

test('a connection that is reset while it is counted gives its place back, and the question ends', async (t) => {
  let answer: Answer = () => {}
  let isOver = false
  const held = await start(
    t,
    (stream) => {
      stream.on('close', () => (isOver = true))
      answer(stream)
    },
    [PLACE, COUNTER],
  )
  const socket = await held.rig.dial()
  await held.rig.until('it is asked', () => held.asked.length === 1)
  socket.resetAndDestroy()
  await held.rig.until('nobody asks any more', () => isOver)
  await held.rig.until('it is over', () => /mesh_connections_open 0/.test(held.rig.metrics.text()))
  answer = say(1)
  assert.equal(await held.rig.passes(held.origin), true)
  assert.equal(held.asked.length, 2)
})

test('one that is refused takes no place, and who finds no place is not counted', async (t) => {
  let code = 2
  const held = await start(t, (stream) => say(code)(stream), [PLACE, COUNTER])
  assert.equal(await held.rig.passes(held.origin), false)
  code = 1
  assert.equal(await held.rig.passes(held.origin), true)
  assert.equal(await held.rig.passes(held.origin), false)
  assert.equal(held.asked.length, 2)
})
