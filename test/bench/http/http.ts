/**
 * What does one HTTP request cost each proxy? A 1 KiB answer, 32 connections, one worker each; over HTTP/2 4
 * connections of 32 streams. plain: wrk → subject → nginx. mtls: wrk → nginx (adds mTLS) → subject (mTLS in and out) →
 * nginx (mTLS). h2c: h2load → subject → nginx, HTTP/2 in clear on both sides. With mTLS the load's core may be busy
 * before the subject's is: compare CPU per request there and not requests per second.
 */
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { findDebianProgram } from '../../../tools/debian.ts'
import {
  cpuNs,
  freePort,
  LOAD_CORE,
  rssMiB,
  type Running,
  startPinned,
  SUBJECT_CORE,
  untilListening,
} from '../measure.ts'
import { MemoryCage } from '../../attack/memory-cage.ts'
import { type NoRow, type PeerBench, type Row, type RunOptions } from '../bench.ts'
import { compareByTurns, type Contender, type Figures } from '../rounds.ts'
import { httpSubjects } from './subjects.ts'
import {
  HTTP_CASES,
  knowsClients,
  LARGE_BYTES,
  settingsOf,
  STREAM_MESSAGES,
  IDLE_CONNECTIONS,
  type HttpCase,
  type HttpSubject,
} from './job.ts'
import { benchCertificates, type BenchCertificates } from '../certificates.ts'
import { applyLoad, connectIdle, settleIdle } from './load.ts'

const BODY_BYTES = 1024
const GRPC_ORIGIN = path.join(import.meta.dirname, 'grpc-origin.ts')
/** JIT, pools, TLS sessions; more than once, because the end of the connections makes V8 compile their code anew. */
const WARM_UP_SECONDS = [1, 2, 2]
const MAX_ROUNDS = 9
/** MemoryMax of deploy/edge/meshlet.service; 10,000 connections need more. */
const UNIT_MAX_BYTES = 256 * 1024 * 1024
const LEAST_ROUND_SECONDS = 2

export const httpBench: PeerBench = {
  kind: 'peers',
  name: 'http',
  asks: `what does one HTTP request cost a proxy? ${BODY_BYTES} bytes of answer, 32 connections, one worker`,
  cases: Object.fromEntries(Object.entries(HTTP_CASES).map(([name, { about }]) => [name, about])),
  usualCases: ['plain', 'mtls'],
  subjects: httpSubjects().map((s) => s.name),
  prints:
    'medians of rounds by turns: CPU microseconds of the proxy per request, requests per second, latency (p50, p99), RSS. meshlet has the memory that its unit gives it, where a control group can be made (as root). copy is no peer but the floor on Node: it copies bytes',
  options: ['seconds', 'only', 'before'],
  rows,
}

async function* rows({ cases, subjects, seconds, before }: RunOptions): AsyncIterable<Row | NoRow> {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'meshlet-bench-'))
  try {
    const certificates = benchCertificates(dir)
    const originPort = await freePort()
    fs.writeFileSync(path.join(dir, 'large'), 'x'.repeat(LARGE_BYTES))
    await using origin = await startNginx(dir, 'origin', originConfig(originPort, dir, certificates))
    await untilListening(originPort, origin)
    const grpc = { port: originPort + ORIGIN_PORTS.grpc, messages: STREAM_MESSAGES }
    await using grpcOrigin = startPinned(LOAD_CORE, process.execPath, [GRPC_ORIGIN, JSON.stringify(grpc)])
    await untilListening(grpc.port, grpcOrigin)
    const most = Math.max(1, Math.min(MAX_ROUNDS, Math.floor(seconds / LEAST_ROUND_SECONDS)))
    for (const c of Object.keys(HTTP_CASES) as HttpCase[]) {
      if (!cases.includes(c)) continue
      const rounds = settingsOf(c).load === 'idle' ? 1 : most
      const all = httpSubjects(c, before).filter(({ name }) => subjects.includes(name) || name === 'before')
      yield* await compareByTurns({ bench: 'http', case: c, rounds, secondsPerRound: Math.round(seconds / rounds) }, [
        ...all.map((subject) => contender(c, subject, { dir, certificates, originPort })),
        ...(settingsOf(c).load === 'steady' ? [direct(c, origin, { dir, certificates, originPort })] : []),
      ])
    }
  } finally {
    fs.rmSync(dir, { recursive: true, force: true })
  }
}

type Setting = { readonly dir: string; readonly certificates: BenchCertificates; readonly originPort: number }

function contender(c: HttpCase, { name, prepare }: HttpSubject, s: Setting): Contender {
  const jobAt = (port: number) => ({
    case: c,
    port,
    ...s,
    originPort: s.originPort + originOf(c),
    collectorPort: s.originPort,
  })
  return {
    name,
    find: async () => prepare(jobAt(await freePort())),
    async begin() {
      await using held = new AsyncDisposableStack()
      const port = await freePort()
      const { command, args } = prepare(jobAt(port))
      const isMeshlet = name === 'before' || name.startsWith('meshlet')
      const launcher =
        isMeshlet && settingsOf(c).load !== 'idle'
          ? held.use(new MemoryCage(`bench-${name}-${process.pid}`, UNIT_MAX_BYTES)).launcher
          : ['env']
      const proxy = held.use(startPinned(SUBJECT_CORE, launcher[0]!, [...launcher.slice(1), command, ...args]))
      await untilListening(port, proxy)
      const clientPort = knowsClients(c) ? await freePort() : port
      if (knowsClients(c))
        await untilListening(
          clientPort,
          held.use(await startNginx(s.dir, `front-${name}`, frontConfig(clientPort, port, s.certificates))),
        )
      const isIdle = settingsOf(c).load === 'idle'
      if (!isIdle) for (const seconds of WARM_UP_SECONDS) await applyLoad(c, { port: clientPort, seconds, dir: s.dir })
      const all = held.move()
      return {
        round: (seconds) =>
          isIdle ? measureIdle(proxy, clientPort) : measure(c, proxy, { port: clientPort, seconds, dir: s.dir }),
        [Symbol.asyncDispose]: () => all.disposeAsync(),
      }
    },
  }
}

/** The way without a proxy; its figures are the origin's. */
function direct(c: HttpCase, origin: Running, { dir, originPort: port }: Setting): Contender {
  return {
    name: 'direct',
    find: () => undefined,
    begin: async () => ({
      round: (seconds) => measure(c, origin, { port, seconds, dir }),
      [Symbol.asyncDispose]: async () => {},
    }),
  }
}

type Measured = { readonly port: number; readonly seconds: number; readonly dir: string }

async function measure(c: HttpCase, proxy: Running, p: Measured): Promise<Figures> {
  const before = cpuNs(proxy.pid)
  try {
    const { requests, p50Ms, p99Ms } = await applyLoad(c, p)
    const cpu = cpuNs(proxy.pid) - before
    return {
      cpuUs: cpu / 1000 / requests,
      perSecond: requests / p.seconds,
      p50Ms,
      p99Ms,
      rssMiB: rssMiB(proxy.pid),
    }
  } catch (cause) {
    throw new Error(`${(cause as Error).message}\n${proxy.output()}`, { cause })
  }
}

async function measureIdle(proxy: Running, port: number): Promise<Figures> {
  const before = cpuNs(proxy.pid)
  await using idle = await connectIdle(port)
  const cpu = cpuNs(proxy.pid) - before
  await settleIdle()
  return {
    cpuUs: cpu / 1000 / IDLE_CONNECTIONS,
    perSecond: IDLE_CONNECTIONS / idle.seconds,
    p50Ms: null,
    p99Ms: null,
    rssMiB: rssMiB(proxy.pid),
  }
}

async function startNginx(dir: string, name: string, http: string): Promise<ReturnType<typeof startPinned>> {
  const file = path.join(dir, `${name}.conf`)
  fs.writeFileSync(
    file,
    `user root; daemon off; worker_processes 1; pid ${dir}/${name}.pid; error_log stderr error; events { worker_connections 4096; }
http { access_log off; keepalive_requests 1000000000; client_body_temp_path ${dir}/tb; proxy_temp_path ${dir}/tp; fastcgi_temp_path ${dir}/tf; uwsgi_temp_path ${dir}/tu; scgi_temp_path ${dir}/ts;\n${http}\n}\n`,
  )
  return startPinned(LOAD_CORE, findDebianProgram('nginx'), ['-p', dir, '-c', file])
}

/** From the origin's first one. */
const ORIGIN_PORTS = { clear: 0, mtls: 1, h2c: 2, h2Mtls: 3, grpc: 4 } as const
function originOf(c: HttpCase): number {
  const { load, http2, origin } = settingsOf(c)
  if (load === 'grpc' || load === 'grpcStream') return ORIGIN_PORTS.grpc
  if (http2) return origin === 'mtls' ? ORIGIN_PORTS.h2Mtls : ORIGIN_PORTS.h2c
  return ORIGIN_PORTS[origin]
}

const originConfig = (port: number, dir: string, c: BenchCertificates): string => `
  server { listen 127.0.0.1:${port} backlog=1024; root ${dir}; location = /large { } location / { default_type text/plain; return 200 '${'x'.repeat(BODY_BYTES)}'; } }
  server { listen 127.0.0.1:${port + 1} ssl backlog=1024; ssl_certificate ${c.origin.chain}; ssl_certificate_key ${c.origin.key}; ssl_client_certificate ${c.roots}; ssl_verify_client on;
    location / { default_type text/plain; return 200 '${'x'.repeat(BODY_BYTES)}'; } }
  server { listen 127.0.0.1:${port + 3} ssl http2 backlog=1024; ssl_certificate ${c.origin.chain}; ssl_certificate_key ${c.origin.key}; ssl_client_certificate ${c.roots}; ssl_verify_client on;
    location / { default_type text/plain; return 200 '${'x'.repeat(BODY_BYTES)}'; } }
  server { listen 127.0.0.1:${port + 2} http2 backlog=1024; root ${dir}; location = / { default_type text/plain; return 200 '${'x'.repeat(BODY_BYTES)}'; } }`

const frontConfig = (port: number, to: number, c: BenchCertificates): string => `
  upstream subject { server 127.0.0.1:${to}; keepalive 64; keepalive_requests 1000000000; }
  server { listen 127.0.0.1:${port} backlog=1024; location / { proxy_pass https://subject; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host bench.test;
    proxy_ssl_certificate ${c.client.chain}; proxy_ssl_certificate_key ${c.client.key}; proxy_ssl_verify off; proxy_ssl_session_reuse on; } }`
