import { test } from 'node:test'
import assert from 'node:assert/strict'
import http2 from 'node:http2'
import tls from 'node:tls'
import type { Duplex } from 'node:stream'
import type { RunCommand } from '../../../core/os/command.ts'
import type { ReadinessProbe } from '../../../model/readiness-probe.ts'
import { probeOf } from '../../../agent/workload-health/probe.ts'
import { settle } from '../../helpers/sim-clock.ts'
import { SimNetwork } from '../../helpers/sim-network.ts'
import { testCa } from '../../helpers/test-ca.ts'

const noCommand: RunCommand = () => assert.fail('no command was named')
const probe = (
  method: Partial<ReadinessProbe>,
  network = new SimNetwork(),
  run = noCommand,
): ReturnType<typeof probeOf> =>
  probeOf(
    {
      initialDelaySeconds: 0,
      timeoutSeconds: 1,
      periodSeconds: 1,
      successThreshold: 1,
      failureThreshold: 1,
      ...method,
    },
    { network, run },
  )
const httpGet = (over: Partial<NonNullable<ReadinessProbe['httpGet']>> = {}): Partial<ReadinessProbe> => ({
  httpGet: { path: '/healthz', port: 80, scheme: 'HTTP', httpHeaders: [], ...over },
})
/** What speaks against it; undefined when it works. */
const asked = async (
  p: ReturnType<typeof probeOf>,
  signal = new AbortController().signal,
): Promise<string | undefined> => {
  try {
    await p.ask(signal)
    return undefined
  } catch (thrown) {
    return (thrown as Error).message
  }
}
/** @returns what was received, once the probe is over */
async function serving(
  port: number,
  onStream: (stream: Duplex) => void,
): Promise<{ network: SimNetwork; closed: () => boolean }> {
  const network = new SimNetwork()
  let last: Duplex | undefined
  await network.listen({ host: '127.0.0.1', port }, ({ stream }) => {
    last = stream
    onStream(stream)
  })
  return { network, closed: () => last?.destroyed ?? false }
}
const saying =
  (answer: string, requests: string[] = []) =>
  (stream: Duplex): void => {
    stream.on('data', (chunk: Buffer) => {
      requests.push(chunk.toString('latin1'))
      stream.write(answer)
    })
  }

for (const { status, want } of [
  { status: 200, want: undefined },
  { status: 399, want: undefined },
  { status: 400, want: 'the status is 400' },
  { status: 503, want: 'the status is 503' },
  { status: 199, want: 'the connection was closed before an answer' },
]) {
  test(`HTTP: the status ${status}`, async () => {
    const { network, closed } = await serving(80, (stream) => {
      stream.on('data', () => stream.end(`HTTP/1.1 ${status} x\r\n\r\n`))
    })
    assert.equal(await asked(probe(httpGet(), network)), want)
    await settle()
    assert.equal(closed(), true)
  })
}

test('HTTP: what is asked', async () => {
  const requests: string[] = []
  const { network } = await serving(80, saying('HTTP/1.0 204\r\n\r\n', requests))
  assert.equal(await asked(probe(httpGet({ path: '/a?b=c' }), network)), undefined)
  assert.equal(
    await asked(
      probe(
        httpGet({
          httpHeaders: [
            { name: 'host', value: 'app' },
            { name: 'User-Agent', value: 'me' },
            { name: 'X', value: '1' },
            { name: 'X', value: '2' },
          ],
        }),
        network,
      ),
    ),
    undefined,
  )
  assert.deepEqual(requests, [
    'GET /a?b=c HTTP/1.1\r\nHost: 127.0.0.1:80\r\nUser-Agent: meshlet-probe\r\nConnection: close\r\n\r\n',
    'GET /healthz HTTP/1.1\r\nhost: app\r\nUser-Agent: me\r\nX: 1\r\nX: 2\r\nConnection: close\r\n\r\n',
  ])
})

test('HTTP: an interim answer, byte by byte, is not the answer', async () => {
  const { network } = await serving(80, (stream) => {
    stream.once('data', () => {
      for (const byte of 'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 500 No\r\n') stream.write(byte)
    })
  })
  assert.equal(await asked(probe(httpGet(), network)), 'the status is 500')
})

for (const { name, answer, want } of [
  { name: 'no HTTP', answer: 'SSH-2.0-OpenSSH\r\n', want: 'the answer is no HTTP/1.1' },
  { name: 'HTTP/2 settings', answer: '\0\0\x12\x04\n', want: 'the answer is no HTTP/1.1' },
  { name: 'a line without an end', answer: 'x'.repeat(17 * 1024), want: 'the answer has no end of its head' },
  {
    name: 'interim heads without end',
    answer: `HTTP/1.1 103 x\r\n${'a: b\r\n'.repeat(3_000)}`,
    want: 'the answer has no end of its head',
  },
])
  test(`HTTP: ${name}`, async () =>
    assert.equal(await asked(probe(httpGet(), (await serving(80, saying(answer))).network)), want))

test('HTTPS: any certificate will do, the name goes as SNI', async () => {
  const ca = testCa()
  const { chainPem, keyPem } = ca.issue('edge', 'app')
  const names: (string | false | null)[] = []
  const network = new SimNetwork()
  const server = tls.createServer({ cert: chainPem, key: keyPem }, (socket) => {
    names.push(socket.servername)
    socket.on('error', () => {})
    socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\n\r\n'))
  })
  for (const host of ['127.0.0.1', 'app.local'])
    await network.listen({ host, port: 443 }, ({ stream }) => {
      server.emit('connection', stream)
    })
  assert.equal(await asked(probe(httpGet({ port: 443, scheme: 'HTTPS' }), network)), undefined)
  assert.equal(await asked(probe(httpGet({ port: 443, scheme: 'HTTPS', host: 'app.local' }), network)), undefined)
  assert.deepEqual(names, [false, 'app.local'])
})

test('TCP: a connection is enough, and is closed again', async () => {
  const { network, closed } = await serving(5_432, () => {})
  assert.equal(await asked(probe({ tcpSocket: { port: 5_432 } }, network)), undefined)
  await settle()
  assert.equal(closed(), true)
  assert.match((await asked(probe({ tcpSocket: { port: 5_433 } }, network))) ?? '', /ECONNREFUSED 127\.0\.0\.1:5433/)
  assert.match(
    (await asked(probe({ tcpSocket: { port: 1, host: 'fd00::1' } }, network))) ?? '',
    /ECONNREFUSED fd00::1:1/,
  )
})

test('a question that is given up leaves nothing open', async () => {
  for (const method of [httpGet(), httpGet({ scheme: 'HTTPS' }), { grpc: { port: 80, service: '' } }]) {
    const { network, closed } = await serving(80, () => {})
    const giveUp = new AbortController()
    const result = asked(probe(method, network), giveUp.signal)
    await new Promise((resolve) => {
      setImmediate(resolve)
    })
    giveUp.abort(new Error('too late'))
    assert.equal(await result, 'too late')
    await settle()
    assert.equal(closed(), true)
  }
})

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
const grpc = { grpc: { port: 9_000, service: '' } }

test('gRPC: the service is named as the protocol says', async () => {
  const server = await grpcServer({ body: Buffer.from([8, 1]) })
  const long = 's'.repeat(300)
  for (const service of ['', 'a.B', long])
    assert.equal(await asked(probe({ grpc: { port: 9_000, service } }, server.network)), undefined)
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
  test(`gRPC: ${name}`, async () => assert.equal(await asked(probe(grpc, (await grpcServer(answer)).network)), want))

test('gRPC: a port that speaks something else, or closes', async () => {
  assert.notEqual(
    await asked(probe(grpc, (await serving(9_000, saying('HTTP/1.1 400 Bad Request\r\n\r\n'))).network)),
    undefined,
  )
  assert.equal(
    await asked(
      probe(
        grpc,
        (
          await serving(9_000, (stream) => {
            stream.end()
          })
        ).network,
      ),
    ),
    'the connection was closed before an answer',
  )
})

test('exec: the exit code, and what it said', async () => {
  const run =
    (code: number | undefined, output: string): RunCommand =>
    async (argv) => {
      assert.deepEqual(argv, ['/bin/check', '-q'])
      return { code, output }
    }
  const exec = { exec: { command: ['/bin/check', '-q'] } }
  assert.equal(await asked(probe(exec, undefined, run(0, 'fine'))), undefined)
  assert.equal(await asked(probe(exec, undefined, run(3, ' no\n disk \n'))), '/bin/check ended with 3: no disk')
  assert.equal(await asked(probe(exec, undefined, run(undefined, ''))), '/bin/check was ended by a signal')
})

test('a probe says in words what it asks', () => {
  assert.deepEqual(
    [
      httpGet(),
      httpGet({ scheme: 'HTTPS', host: 'fd00::1' }),
      { tcpSocket: { port: 1 } },
      { grpc: { port: 2, service: 's' } },
      { exec: { command: ['/bin/check', 'secret'] } },
    ].map((m) => probe(m).what),
    [
      'http://127.0.0.1:80/healthz',
      'https://[fd00::1]:80/healthz',
      'tcp 127.0.0.1:1',
      'grpc 127.0.0.1:2 s',
      'command /bin/check',
    ],
  )
})
