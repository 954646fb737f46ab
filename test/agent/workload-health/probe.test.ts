import { test } from 'node:test'
import assert from 'node:assert/strict'
import tls from 'node:tls'
import type { Duplex } from 'node:stream'
import type { RunCommand } from '../../../core/os/command.ts'
import type { ReadinessProbe } from '../../../model/readiness-probe.ts'
import { createProbe } from '../../../agent/workload-health/probe.ts'
import { settle } from '../../helpers/sim-clock.ts'
import { SimNetwork } from '../../helpers/sim-network.ts'
import { testCa } from '../../helpers/test-ca.ts'

const noCommand: RunCommand = () => assert.fail('no command was named')
const probe = (
  method: Partial<ReadinessProbe>,
  network = new SimNetwork(),
  run = noCommand,
): ReturnType<typeof createProbe> =>
  createProbe(
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
  p: ReturnType<typeof createProbe>,
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
