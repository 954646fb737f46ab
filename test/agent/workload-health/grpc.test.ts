import { test } from 'node:test'
import assert from 'node:assert/strict'
import http2 from 'node:http2'
import type { Duplex } from 'node:stream'
import { askGrpc } from '../../../agent/workload-health/grpc.ts'
import { settle } from '../../helpers/sim-clock.ts'
import { SimNetwork } from '../../helpers/sim-network.ts'

const PORT = 9_000
/** What speaks against the workload; undefined: nothing does. */
async function said(
  network: SimNetwork,
  service = '',
  signal = new AbortController().signal,
): Promise<string | undefined> {
  try {
    await askGrpc(service, { host: '127.0.0.1', port: PORT }, network, signal)
    return undefined
  } catch (thrown) {
    return (thrown as Error).message
  }
}
/** Something that is no gRPC server. */
async function port(onStream: (stream: Duplex) => void): Promise<SimNetwork> {
  const network = new SimNetwork()
  await network.listen({ host: '127.0.0.1', port: PORT }, ({ stream }) => onStream(stream))
  return network
}

/** grpc.health.v1.Health in node:http2. `body`: HealthCheckResponse. */
async function grpcServer(answer: {
  status?: number
  grpcStatus?: string
  body?: Buffer
  trailersOnly?: boolean
}): Promise<{ network: SimNetwork; asked: Buffer[]; paths: unknown[] }> {
  const asked: Buffer[] = []
  const paths: unknown[] = []
  const server = http2.createServer()
  server.on('stream', (stream: http2.ServerHttp2Stream, headers) => {
    paths.push(headers[':path'])
    const got: Buffer[] = []
    stream.on('error', () => {})
    stream.on('data', (c: Buffer) => {
      got.push(c)
    })
    stream.on('end', () => {
      asked.push(Buffer.concat(got))
      if (answer.trailersOnly) {
        stream.respond({ ':status': 200, 'grpc-status': answer.grpcStatus }, { endStream: true })
        return
      }
      stream.respond({ ':status': answer.status ?? 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': answer.grpcStatus ?? '0' }))
      const body = answer.body ?? Buffer.alloc(0)
      const frame = Buffer.alloc(5)
      frame.writeUInt32BE(body.length, 1)
      stream.end(Buffer.concat([frame, body]))
    })
  })
  const network = new SimNetwork()
  await network.listen({ host: '127.0.0.1', port: 9_000 }, ({ stream }) => {
    server.emit('connection', stream)
  })
  return { network, asked, paths }
}

test('the service is named as the protocol says', async () => {
  const server = await grpcServer({ body: Buffer.from([8, 1]) })
  const long = 's'.repeat(300)
  for (const service of ['', 'a.B', long]) assert.equal(await said(server.network, service), undefined)
  assert.deepEqual(server.asked, [
    Buffer.from([0, 0, 0, 0, 0]),
    Buffer.from([0, 0, 0, 0, 5, 0x0a, 3, ...Buffer.from('a.B')]),
    Buffer.concat([Buffer.from([0, 0, 0, 1, 47, 0x0a, 0xac, 2]), Buffer.from(long)]),
  ])
  assert.deepEqual(server.paths[0], '/grpc.health.v1.Health/Check')
})

for (const { name, answer, want } of [
  { name: 'NOT_SERVING', answer: { body: Buffer.from([8, 2]) }, want: 'it says NOT_SERVING' },
  { name: 'an empty answer', answer: { body: Buffer.alloc(0) }, want: 'it says UNKNOWN' },
  { name: 'a status that nobody knows', answer: { body: Buffer.from([8, 77]) }, want: 'it says 77' },
  {
    name: 'no such service',
    answer: { grpcStatus: '12', trailersOnly: true },
    want: 'the port does not serve grpc.health.v1.Health',
  },
  { name: 'not found', answer: { grpcStatus: '5' }, want: 'the gRPC status is 5' },
  { name: 'an HTTP error', answer: { status: 404 }, want: 'the HTTP status is 404' },
  { name: 'too much', answer: { body: Buffer.alloc(5_000) }, want: 'the answer is too long' },
])
  test(`the answer is ${name}`, async () => assert.equal(await said((await grpcServer(answer)).network), want))

test('a port that speaks something else, closes, or is not open', async () => {
  const http1 = await port((stream) => {
    stream.on('data', () => stream.write('HTTP/1.1 400 Bad Request\r\n\r\n'))
  })
  assert.notEqual(await said(http1), undefined)
  const closing = await port((stream) => {
    stream.end()
  })
  assert.equal(await said(closing), 'the connection was closed before an answer')
  assert.match(String(await said(new SimNetwork())), /ECONNREFUSED/)
})

test('a question that is given up ends with the reason, and leaves no connection open', async () => {
  let open: Duplex | undefined
  const network = await port((stream) => {
    open = stream
  })
  const giveUp = new AbortController()
  const asked = said(network, '', giveUp.signal)
  await settle()
  giveUp.abort(new Error('too late'))
  assert.equal(await asked, 'too late')
  await settle()
  assert.equal(open?.destroyed, true)
})

test('the connection is closed after the answer, and a second question is asked on a new one', async () => {
  const server = await grpcServer({ body: Buffer.from([8, 1]) })
  assert.deepEqual([await said(server.network), await said(server.network)], [undefined, undefined])
  assert.equal(server.asked.length, 2)
})
