/** Clients that stop, break or overdo at every stage of a connection. */
import http2 from 'node:http2'
import type { Duplex } from 'node:stream'
import type { Codec, FilterChain } from '../../../../model/listener.ts'
import type { RetryPolicy } from '../../../../model/route.ts'
import { DATA, frame, GOAWAY, headers, PREFACE, RST_STREAM, word, type Fields } from '../../../helpers/raw-h2.ts'
import { testCa } from '../../../helpers/test-ca.ts'
import { forwardTo, GET, manager, route } from '../../http/harness.ts'
import { MUTUAL } from '../../mutual-tls.ts'

const H2_GET: Fields = [
  [':method', 'GET'],
  [':scheme', 'http'],
  [':authority', 'a'],
  [':path', '/'],
]
const H2_CONNECT: Fields = [
  [':method', 'CONNECT'],
  [':authority', 'a:80'],
]
export const identity = testCa('mesh.test').issue('edge', 'gateway')
const RETRY: RetryPolicy = {
  on: new Set(['connect-failure', 'reset', '5xx'] as const),
  maxRetries: 2,
  perTryTimeoutMs: 20_000,
  statusCodes: new Set(),
  backoff: { baseMs: 25, capMs: 250 },
  avoidPreviousHosts: true,
  maxHostPicks: 3,
}
const http = manager([route(forwardTo({ retry: RETRY, timeoutMs: 50_000 }))], {
  codec: 'auto',
  upgrades: ['websocket'],
  requestTimeoutMs: 40_000,
})
const HTTP: Codec = { kind: 'http', http }
const TCP: Codec = { kind: 'tcp', tcp: { clusters: [{ name: 'origin', weight: 1 } as never], idleMs: 60_000 } }
export const SNIFFING = { sniff: { tls: true, http: true, timeoutMs: 0, onTimeout: 'close' as const } }

/** What a client does once it is connected. */
export const CLIENTS: Readonly<
  Record<string, { chain: Partial<FilterChain> & Pick<FilterChain, 'codec'>; speak(stream: Duplex): void }>
> = {
  silent: { chain: { codec: HTTP }, speak: () => {} },
  'half a ClientHello': {
    chain: { codec: HTTP, tls: MUTUAL },
    speak: (s) => {
      s.write(Buffer.from([22, 3, 1, 2, 0, 1]))
    },
  },
  'no TLS where TLS is asked for': {
    chain: { codec: HTTP, tls: MUTUAL },
    speak: (s) => {
      s.write('\x16\x03\x01\x00\x02hi')
    },
  },
  'half a request head': {
    chain: { codec: HTTP },
    speak: (s) => {
      s.write('GET / HTTP/1.1\r\nhost:')
    },
  },
  garbage: {
    chain: { codec: HTTP },
    speak: (s) => {
      s.write('\0\0\0\0\r\n\r\n')
    },
  },
  'a request': {
    chain: { codec: HTTP },
    speak: (s) => {
      s.write(GET)
    },
  },
  'pipelined requests': {
    chain: { codec: HTTP },
    speak: (s) => {
      s.write(GET.repeat(5))
    },
  },
  'half a body': {
    chain: { codec: HTTP },
    speak: (s) => {
      s.write('POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\nabc')
    },
  },
  'an upgrade': {
    chain: { codec: HTTP },
    speak: (s) => {
      s.write('GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n')
    },
  },
  CONNECT: {
    chain: { codec: { kind: 'http', http: { ...http, explicitProxy: true } } },
    speak: (s) => {
      s.write('CONNECT a:80 HTTP/1.1\r\nhost: a:80\r\n\r\n')
    },
  },
  'HTTP/2 requests': {
    chain: { codec: HTTP },
    speak: (s) => {
      const session = http2.connect('http://a', { createConnection: () => s }).on('error', () => {})
      for (let i = 0; i < 3; i++)
        session
          .request({ ':path': '/', ':method': i === 0 ? 'POST' : 'GET' }, { endStream: i > 0 })
          .on('error', () => {})
          .resume()
    },
  },
  'HTTP/2 requests that wait for their turn': {
    chain: { codec: HTTP },
    speak: (s) => {
      s.write(
        Buffer.concat([PREFACE, ...Array.from({ length: 40 }, (_, i) => headers(2 * i + 1, H2_GET, i % 2 === 0))]),
      )
    },
  },
  'an HTTP/2 tunnel': {
    chain: { codec: { kind: 'http', http: { ...http, explicitProxy: true } } },
    speak: (s) => {
      s.write(Buffer.concat([PREFACE, headers(1, H2_CONNECT, false), frame(DATA, 0, 1, Buffer.from('hello'))]))
    },
  },
  'an HTTP/2 tunnel that is half closed': {
    chain: { codec: { kind: 'http', http: { ...http, explicitProxy: true } } },
    speak: (s) => {
      s.write(Buffer.concat([PREFACE, headers(1, H2_CONNECT, true)]))
    },
  },
  'an HTTP/2 flood': {
    chain: { codec: HTTP },
    speak: (s) => {
      s.write(
        Buffer.concat([
          PREFACE,
          headers(1, H2_GET, false),
          ...Array.from({ length: 600 }, (_, i) =>
            Buffer.concat([headers(2 * i + 3, H2_GET, true), frame(RST_STREAM, 0, 2 * i + 3, word(8))]),
          ),
        ]),
      )
    },
  },
  'an HTTP/2 client that goes in the middle': {
    chain: { codec: HTTP },
    speak: (s) => {
      s.write(
        Buffer.concat([
          PREFACE,
          headers(1, H2_GET, true),
          headers(3, H2_GET, false),
          frame(GOAWAY, 0, 0, Buffer.alloc(8)),
        ]),
      )
    },
  },
  TCP: {
    chain: { codec: TCP },
    speak: (s) => {
      s.write('hello')
    },
  },
}
