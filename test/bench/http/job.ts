/** What a subject is, and is asked to be. */
import type { BenchCertificates } from '../certificates.ts'

type Load = 'requests' | 'large' | 'connections' | 'steady' | 'idle' | 'grpc' | 'grpcStream'
export type HttpCaseSettings = {
  readonly about: string
  readonly load: Load
  /** `mtls`: clients show a certificate. */
  readonly clients: 'clear' | 'tls' | 'mtls'
  readonly origin: 'clear' | 'mtls'
  readonly http2: boolean
}

export const LARGE_BYTES = 64 * 1024
export const H2_CONNECTIONS = 4
export const H2_STREAMS = 32
export const IDLE_CONNECTIONS = 10_000
export const IDLE_SETTLE_MS = 20_000
export const STEADY_PER_SECOND = 1_000
export const STREAM_MESSAGES = 100

const clear = { clients: 'clear', origin: 'clear', http2: false } as const
const h2c = { clients: 'clear', origin: 'clear', http2: true } as const
export const HTTP_CASES = {
  plain: { ...clear, load: 'requests', about: 'wrk → subject → nginx' },
  large: { ...clear, load: 'large', about: `plain, with ${LARGE_BYTES} bytes of answer` },
  mtls: {
    load: 'requests',
    clients: 'mtls',
    origin: 'mtls',
    http2: false,
    about:
      'wrk → nginx (adds mTLS) → subject (mTLS required from the client and shown to the origin, both verified) → nginx',
  },
  inbound: {
    ...clear,
    load: 'requests',
    clients: 'mtls',
    about: 'wrk → nginx (adds mTLS) → subject (mTLS required from the client) → nginx in clear, as an inbound sidecar',
  },
  h2c: {
    ...h2c,
    load: 'requests',
    about: `h2load → subject → nginx, HTTP/2 in clear on both sides, ${H2_CONNECTIONS} connections of ${H2_STREAMS} streams`,
  },
  h2cLarge: { ...h2c, load: 'large', about: `the same with ${LARGE_BYTES} bytes of answer` },
  h2: {
    load: 'requests',
    clients: 'tls',
    origin: 'mtls',
    http2: true,
    about: 'h2load → subject → nginx, HTTP/2 over TLS from the client, over mTLS to the origin',
  },
  grpc: { ...h2c, load: 'grpc', about: 'h2c with unary gRPC calls of 100 bytes both ways, to a server on Node' },
  grpcStream: {
    ...h2c,
    load: 'grpcStream',
    about: `the same, each answered by a stream of ${STREAM_MESSAGES} messages; CPU is per message, per second are messages`,
  },
  connections: { ...clear, load: 'connections', about: 'plain, with a new connection for each request' },
  steady: {
    ...clear,
    load: 'steady',
    about: `h2load sends ${STEADY_PER_SECOND} requests of HTTP/1.1 a second, whatever comes back; direct is the way without a proxy`,
  },
  idle10k: {
    ...clear,
    load: 'idle',
    about: `${IDLE_CONNECTIONS} connections with one request each, ${IDLE_SETTLE_MS / 1_000} s later; CPU is per connection, per second are connections`,
  },
} as const satisfies Readonly<Record<string, HttpCaseSettings>>
export type HttpCase = keyof typeof HTTP_CASES

export type HttpJob = {
  readonly case: HttpCase
  readonly port: number
  readonly originPort: number
  /** Takes spans, in clear. */
  readonly collectorPort: number
  readonly dir: string
  readonly certificates: BenchCertificates
}

export const settingsOf = (c: HttpCase): HttpCaseSettings => HTTP_CASES[c]
export const securesClients = (c: HttpCase): boolean => settingsOf(c).clients !== 'clear'
export const knowsClients = (c: HttpCase): boolean => settingsOf(c).clients === 'mtls'
export const securesOrigin = (c: HttpCase): boolean => settingsOf(c).origin === 'mtls'
export const speaksHttp2 = (c: HttpCase): boolean => settingsOf(c).http2

export type HttpSubject = {
  readonly name: string
  /** Throws where it cannot be had. */
  prepare(job: HttpJob): { readonly command: string; readonly args: readonly string[] }
}
