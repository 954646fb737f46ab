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
  run,
  type Running,
  startPinned,
  SUBJECT_CORE,
  untilListening,
} from '../measure.ts'
import { type NoRow, type PeerBench, type Row, type RunOptions } from '../bench.ts'
import { compareByTurns, type Contender, type Figures } from '../rounds.ts'
import { httpSubjects } from './subjects.ts'
import { HTTP_CASES, securesClients, speaksHttp2, type HttpCase, type HttpSubject } from './job.ts'
import { benchCertificates, type BenchCertificates } from '../certificates.ts'

const BODY_BYTES = 1024
const LARGE_BYTES = 64 * 1024
const CONNECTIONS = 32
const H2_CONNECTIONS = 4
const H2_STREAMS = 32
/** JIT, pools, TLS sessions; more than once, because the end of the connections makes V8 compile their code anew. */
const WARM_UP_SECONDS = [1, 2, 2]
const MAX_ROUNDS = 9
const LEAST_ROUND_SECONDS = 2

export const httpBench: PeerBench = {
  kind: 'peers',
  name: 'http',
  asks: `what does one HTTP request cost a proxy? ${BODY_BYTES} bytes of answer, ${CONNECTIONS} connections, one worker`,
  cases: {
    plain: 'wrk → subject → nginx',
    mtls: 'wrk → nginx (adds mTLS) → subject (mTLS required from the client and shown to the origin, both verified) → nginx',
    large: `plain, with ${LARGE_BYTES} bytes of answer`,
    inbound:
      'wrk → nginx (adds mTLS) → subject (mTLS required from the client) → nginx in clear, as an inbound sidecar',
    h2c: `h2load → subject → nginx, HTTP/2 in clear on both sides, ${H2_CONNECTIONS} connections of ${H2_STREAMS} streams`,
    h2cLarge: `the same with ${LARGE_BYTES} bytes of answer`,
  },
  usualCases: ['plain', 'mtls'],
  subjects: httpSubjects().map((s) => s.name),
  prints:
    'medians of rounds by turns: CPU microseconds of the proxy per request, requests per second, latency (p50, p99), RSS. copy is no peer but the floor on Node: it copies bytes',
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
    const rounds = Math.max(1, Math.min(MAX_ROUNDS, Math.floor(seconds / LEAST_ROUND_SECONDS)))
    for (const c of HTTP_CASES) {
      if (!cases.includes(c)) continue
      const all = httpSubjects(c, before).filter(({ name }) => subjects.includes(name) || name === 'before')
      yield* await compareByTurns(
        { bench: 'http', case: c, rounds, secondsPerRound: Math.round(seconds / rounds) },
        await Promise.all(all.map((subject) => contender(c, subject, { dir, certificates, originPort }))),
      )
    }
  } finally {
    fs.rmSync(dir, { recursive: true, force: true })
  }
}

type Setting = { readonly dir: string; readonly certificates: BenchCertificates; readonly originPort: number }

async function contender(c: HttpCase, { name, prepare }: HttpSubject, s: Setting): Promise<Contender> {
  const port = await freePort()
  const job = { case: c, port, ...s, originPort: s.originPort + ORIGIN[c], collectorPort: s.originPort }
  return {
    name,
    find: () => prepare(job),
    async begin() {
      await using held = new AsyncDisposableStack()
      const { command, args } = prepare(job)
      const proxy = held.use(startPinned(SUBJECT_CORE, command, args))
      await untilListening(port, proxy)
      const clientPort = securesClients(c) ? await freePort() : port
      if (securesClients(c))
        await untilListening(
          clientPort,
          held.use(await startNginx(s.dir, `front-${name}`, frontConfig(clientPort, port, s.certificates))),
        )
      for (const seconds of WARM_UP_SECONDS) await load(c, clientPort, seconds)
      const all = held.move()
      return {
        round: (seconds) => measured(c, proxy, clientPort, seconds),
        [Symbol.asyncDispose]: () => all.disposeAsync(),
      }
    },
  }
}

function load(c: HttpCase, port: number, seconds: number): Promise<string> {
  const isLarge = c === 'large' || c === 'h2cLarge'
  const url = `http://127.0.0.1:${port}/${isLarge ? 'large' : ''}`
  return speaksHttp2(c)
    ? run(LOAD_CORE, findDebianProgram('h2load'), [
        '-t1',
        `-c${H2_CONNECTIONS}`,
        `-m${H2_STREAMS}`,
        `-D${seconds}`,
        url,
      ])
    : run(LOAD_CORE, findDebianProgram('wrk'), [
        '-t1',
        `-c${CONNECTIONS}`,
        `-d${seconds}s`,
        '--latency',
        '-H',
        'Host: bench.test',
        url,
      ])
}

async function measured(c: HttpCase, proxy: Running, port: number, seconds: number): Promise<Figures> {
  const before = cpuNs(proxy.pid)
  const text = await load(c, port, seconds)
  const cpu = cpuNs(proxy.pid) - before
  const requests = Number((speaksHttp2(c) ? /, (\d+) succeeded/ : /(\d+) requests in/).exec(text)?.[1])
  const failed = /Non-2xx or 3xx responses: (\d+)|Socket errors: (.*)|[1-9]\d* failed|[1-9]\d* errored/.exec(text)
  if (failed) throw new Error(`under load: ${failed[0]}\n${proxy.output()}`)
  return {
    cpuUs: cpu / 1000 / requests,
    perSecond: requests / seconds,
    p50Ms: latency(text, '50%'),
    p99Ms: latency(text, '99%'),
    rssMiB: rssMiB(proxy.pid),
  }
}

function latency(text: string, at: string): number | null {
  const [, value, unit] = new RegExp(`${at}\\s+([\\d.]+)(us|ms|s)`).exec(text) ?? []
  return value === undefined ? null : Number(value) * { us: 0.001, ms: 1, s: 1000 }[unit as 'us' | 'ms' | 's']
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

/** Which of the origin's ports. */
const ORIGIN: Readonly<Record<HttpCase, number>> = {
  plain: 0,
  large: 0,
  inbound: 0,
  mtls: 1,
  h2c: 2,
  h2cLarge: 2,
}

const originConfig = (port: number, dir: string, c: BenchCertificates): string => `
  server { listen 127.0.0.1:${port} backlog=1024; root ${dir}; location = /large { } location / { default_type text/plain; return 200 '${'x'.repeat(BODY_BYTES)}'; } }
  server { listen 127.0.0.1:${port + 1} ssl backlog=1024; ssl_certificate ${c.origin.chain}; ssl_certificate_key ${c.origin.key}; ssl_client_certificate ${c.roots}; ssl_verify_client on;
    location / { default_type text/plain; return 200 '${'x'.repeat(BODY_BYTES)}'; } }
  server { listen 127.0.0.1:${port + 2} http2 backlog=1024; root ${dir}; location = / { default_type text/plain; return 200 '${'x'.repeat(BODY_BYTES)}'; } }`

const frontConfig = (port: number, to: number, c: BenchCertificates): string => `
  upstream subject { server 127.0.0.1:${to}; keepalive 64; keepalive_requests 1000000000; }
  server { listen 127.0.0.1:${port} backlog=1024; location / { proxy_pass https://subject; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host bench.test;
    proxy_ssl_certificate ${c.client.chain}; proxy_ssl_certificate_key ${c.client.key}; proxy_ssl_verify off; proxy_ssl_session_reuse on; } }`
