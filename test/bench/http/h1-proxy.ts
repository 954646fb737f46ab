/**
 * CPU of the HTTP/1.1 data path per request over real sockets, plain, counted in Istio's metrics, with mTLS on both sides
 * and to an endpoint of HTTP/2 in clear, without listener and control plane: client (this process) → proxy → origin, three processes. Run:
 * npm run bench -- h1-proxy, or node test/bench/http/h1-proxy.ts [seconds] [connections] [case]. One line of JSON per
 * case.
 */
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import http2 from 'node:http2'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import tls from 'node:tls'
import type { Duplex } from 'node:stream'
import { systemClock, systemRandom } from '../../../core/os/clock.ts'
import { Current } from '../../../core/current.ts'
import { silentLog } from '../../../core/log.ts'
import { Metrics } from '../../../core/metrics.ts'
import { systemNetwork, type NetStream } from '../../../core/os/network.ts'
import { parseSpiffeId, type Identity } from '../../../model/identity.ts'
import type { FilterChain, Listener } from '../../../model/listener.ts'
import type { DownstreamTls, UpstreamTls } from '../../../model/tls.ts'
import type { Tables } from '../../../model/tables.ts'
import { DEFAULT_LIMITS, type Context } from '../../../protocols/context.ts'
import type { DownstreamTlsFacts } from '../../../protocols/connection.ts'
import { serveHttp1 } from '../../../protocols/http/server/h1-server.ts'
import { TlsTerminator } from '../../../protocols/tls/server.ts'
import { createUpstreams } from '../../../protocols/upstream/upstreams.ts'
import { cluster, endpoint, manager, tablesOf } from '../../protocols/http/harness.ts'
import { benchCertificates, BENCH_TRUST_DOMAIN, type BenchCertificates } from '../certificates.ts'

type Setup = {
  readonly mtls: boolean
  readonly h2c?: boolean
  /** With the filters for Istio's metrics. */
  readonly counted?: boolean
  readonly certificates: BenchCertificates
  readonly originPort: number
}
const read = (file: string): string => fs.readFileSync(file, 'utf8')
const BODY = 'x'.repeat(1024)
const ANSWER = Buffer.from(
  `HTTP/1.1 200 OK\r\nServer: origin\r\nDate: Tue, 14 Nov 2023 22:13:20 GMT\r\nContent-Type: text/plain\r\nContent-Length: ${BODY.length}\r\nConnection: keep-alive\r\nETag: "1"\r\n\r\n${BODY}`,
)

async function origin({ mtls, h2c, certificates: c }: Setup): Promise<number> {
  if (h2c) {
    const server = http2
      .createServer((_request, response) => {
        response.writeHead(200, {
          server: 'origin',
          date: 'Tue, 14 Nov 2023 22:13:20 GMT',
          'content-type': 'text/plain',
          'content-length': String(BODY.length),
          etag: '"1"',
        })
        response.end(BODY)
      })
      .listen(0, '127.0.0.1')
    await once(server, 'listening')
    return (server.address() as net.AddressInfo).port
  }
  const serve = (socket: Duplex): void => {
    socket
      .on('data', () => {
        socket.write(ANSWER)
      })
      .on('error', () => {})
  }
  const server = mtls
    ? tls.createServer(
        {
          cert: read(c.origin.chain),
          key: read(c.origin.key),
          ca: read(c.roots),
          requestCert: true,
          rejectUnauthorized: true,
        },
        serve,
      )
    : net.createServer({ noDelay: true }, serve)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as net.AddressInfo).port
}

const readIdentity = (c: BenchCertificates): Identity => ({
  spiffeId: parseSpiffeId(`spiffe://${BENCH_TRUST_DOMAIN}/ns/bench/sa/proxy`)!,
  keyPem: read(c.proxy.key),
  chainPem: read(c.proxy.chain),
  rootsPem: read(c.roots),
  serial: '1',
  notBeforeMs: 0,
  notAfterMs: 9e15,
})

const TLS = {
  certificate: { from: 'workload' },
  alpnProtocols: [],
  minVersion: 'TLSv1.2',
  maxVersion: 'TLSv1.3',
  cipherSuites: [],
  validation: { roots: { from: 'workload' }, sans: [] },
} as const

const DOWNSTREAM_TLS: DownstreamTls = { ...TLS, requireClientCertificate: true }

const CHAIN = {
  name: 'c',
  match: {} as FilterChain['match'],
  tls: undefined,
  policies: [],
  codec: {
    kind: 'http',
    http: manager(undefined, {
      forwardClientCert: 'append-forward',
      requestId: 'keep-or-make',
      useRemoteAddress: true,
      clientCertDetails: { subject: true, uri: true, dns: true, cert: false, chain: false },
      filters: [
        {
          kind: 'rbac',
          name: 'rbac',
          policy: {
            action: 'allow',
            rules: [{ name: 'all', permissions: [{ kind: 'any' }], principals: [{ kind: 'any' }] }],
            shadow: undefined,
          },
        },
      ],
    }),
  },
} satisfies FilterChain

const COUNTED: FilterChain = {
  ...CHAIN,
  codec: {
    kind: 'http',
    http: {
      ...CHAIN.codec.http,
      stats: { hostFallback: false, dropped: new Set(), tags: new Map(), expressions: [] },
      exchange: { clientBy: ['headers'], serverByHeaders: false, tellsServer: undefined, tellsClient: true },
    },
  },
}

async function proxy({ mtls, h2c, counted, certificates: c, originPort }: Setup): Promise<number> {
  const identity = readIdentity(c)
  const up: UpstreamTls = { ...TLS, sni: c.originName, autoSni: false }
  const made = cluster(
    [endpoint('127.0.0.1', originPort)],
    mtls ? { transport: { kind: 'tls', tls: up } } : h2c ? { protocol: 'http2' } : {},
  )
  const ctx: Context = {
    clock: systemClock,
    random: systemRandom,
    network: systemNetwork,
    log: silentLog,
    metrics: new Metrics(),
    tables: new Current<Tables>(tablesOf([made])),
    identity: { current: () => identity, watch: () => ({ [Symbol.dispose]: () => {} }) },
    limits: DEFAULT_LIMITS,
  }
  const upstreams = createUpstreams(ctx)
  const terminator = new TlsTerminator(ctx.clock, ctx.identity)
  const never = new AbortController().signal
  const { port } = await systemNetwork.listen({ host: '127.0.0.1', port: 0 }, (accepted) => {
    void handle(accepted)
  })
  return port

  async function handle({ stream: raw, local, remote }: NetStream): Promise<void> {
    let stream = raw
    let facts: DownstreamTlsFacts | undefined
    if (mtls)
      ({ stream, facts } = await terminator.terminate(raw, { tls: DOWNSTREAM_TLS, handshakeMs: 5000, signal: never }))
    const { error } = await serveHttp1(
      {
        id: '1',
        local,
        remote,
        originalDst: undefined,
        startedMs: 0,
        startedWallMs: 0,
        listener: { name: 'l', direction: 'inbound' } as Listener,
        chain: counted ? COUNTED : CHAIN,
        stream,
        tls: facts,
        offered: { transport: 'raw_buffer', serverName: '', alpn: [] },
        draining: never,
        aborted: never,
        receivedBytes: 0,
        sentBytes: 0,
        cluster: '-',
      },
      ctx,
      upstreams,
    )
    if (error && error.code !== 'MESH_CLIENT_GONE') process.stderr.write(`${error.code}: ${error.message}\n`)
  }
}

async function child(
  role: 'origin' | 'proxy',
  setup: Setup,
): Promise<{ process: ChildProcess; port: number; cpuUs: () => Promise<number> }> {
  const made = fork(import.meta.filename, [role, JSON.stringify(setup)], { execArgv: ['--max-semi-space-size=4'] })
  const [first] = (await once(made, 'message')) as [{ port: number }]
  return {
    process: made,
    port: first.port,
    async cpuUs() {
      made.send('cpu')
      const [m] = (await once(made, 'message')) as [{ cpuUs: number }]
      return m.cpuUs
    },
  }
}

async function load(
  port: number,
  { mtls, certificates: c }: Setup,
  connections: number,
  seconds: number,
): Promise<number> {
  let done = 0
  let stop = false
  await Promise.all(
    Array.from({ length: connections }, async () => {
      const socket = mtls
        ? tls.connect({
            port,
            host: '127.0.0.1',
            cert: read(c.client.chain),
            key: read(c.client.key),
            ca: read(c.roots),
            checkServerIdentity: () => undefined,
          })
        : net.connect({ port, host: '127.0.0.1', noDelay: true })
      await once(socket, mtls ? 'secureConnect' : 'connect')
      let missing = 0
      const ask = (): void => {
        if (stop) socket.destroy()
        else
          socket.write(
            'GET /api/v1/things/4711 HTTP/1.1\r\nHost: bench.test\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n',
          )
      }
      socket.on('data', (d: Buffer) => {
        if (missing === 0) {
          const end = d.indexOf('\r\n\r\n')
          if (!d.subarray(0, 15).toString().startsWith('HTTP/1.1 200 OK')) throw new Error(d.toString())
          missing = end + 4 + BODY.length
        }
        missing -= d.length
        if (missing === 0) {
          done++
          ask()
        }
      })
      ask()
      await once(socket, 'close')
    }).concat(
      new Promise<void>((resolve) => {
        setTimeout(() => {
          stop = true
          resolve()
        }, seconds * 1000)
      }),
    ),
  )
  return done
}

async function main(seconds: number, connections: number, only: string | undefined): Promise<void> {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'h1-proxy-'))
  const certificates = benchCertificates(dir)
  for (const { name, mtls, h2c = false, counted = false } of [
    { name: 'plain', mtls: false },
    { name: 'counted', mtls: false, counted: true },
    { name: 'mtls', mtls: true },
    { name: 'h2c', mtls: false, h2c: true },
  ]) {
    if (only !== undefined && only !== name) continue
    const far = await child('origin', { mtls, h2c, certificates, originPort: 0 })
    const near = await child('proxy', { mtls, h2c, counted, certificates, originPort: far.port })
    await load(near.port, { mtls, certificates, originPort: 0 }, connections, 2)
    const before = await near.cpuUs()
    const requests = await load(near.port, { mtls, certificates, originPort: 0 }, connections, seconds)
    const cpu = (await near.cpuUs()) - before
    console.log(
      JSON.stringify({
        bench: 'h1-proxy',
        case: name,
        cpuUs: Number((cpu / requests).toFixed(1)),
        perSecond: Math.round(requests / seconds),
      }),
    )
    near.process.kill()
    far.process.kill()
  }
  fs.rmSync(dir, { recursive: true })
}

const [role, setup] = process.argv.slice(2)
if (role === 'origin' || role === 'proxy') {
  const port = await (role === 'origin' ? origin : proxy)(JSON.parse(setup!) as Setup)
  process.send!({ port })
  process.on('message', () => {
    const { user, system } = process.cpuUsage()
    process.send!({ cpuUs: user + system })
  })
} else await main(Number(role ?? 5), Number(setup ?? 32), process.argv[4])
