/** Chance in words: choices, odd texts, and the parts that heads and frames are made of. */
import type { Random } from '../../../core/os/clock.ts'

export class Dice {
  readonly #random: Random
  constructor(random: Random) {
    this.#random = random
  }
  /** A whole number in [0, n). */
  upTo(n: number): number {
    return Math.floor(this.#random.float() * n)
  }
  one<T>(of: readonly T[]): T {
    return of[this.upTo(of.length)]!
  }
  /** True with this chance, 0..1. */
  hits(chance: number): boolean {
    return this.#random.float() < chance
  }
  times<T>(most: number, make: (i: number) => T): T[] {
    return Array.from({ length: this.upTo(most + 1) }, (_, i) => make(i))
  }
  bytes(most: number): Buffer {
    return Buffer.from(this.times(most, () => this.upTo(256)))
  }
  text(most: number): string {
    return this.bytes(most).toString('latin1')
  }
}

export const NAMES = [
  'x-a',
  'cookie',
  'user-agent',
  'content-type',
  'etag',
  'date',
  'location',
  'connection',
  'keep-alive',
  'http2-settings',
  'te',
  'trailer',
  'upgrade',
  'transfer-encoding',
  'content-length',
  'host',
  'expect',
  'x-forwarded-client-cert',
  'x_forwarded_client_cert',
  'x-forwarded-for',
  'x-envoy-retry-on',
  'grpc-timeout',
  'content-encoding',
  'accept-encoding',
  'accept-encoding',
  'content-type',
  'age',
  'set-cookie',
  'x-request-id',
  'proxy-connection',
  'authorization',
  ':path',
  ':status',
  'X-A',
  'x a',
  '',
  'x-é',
]
export const VALUES = [
  '',
  'a',
  'close',
  'keep-alive',
  'trailers',
  'chunked',
  'gzip',
  'text/plain',
  'text/html',
  'application/grpc-web-text',
  'application/grpc-web',
  'http://a/odd/b',
  '0',
  '5',
  '-1',
  '99999999999',
  'a, b',
  '100-continue',
  'websocket',
  'h2c',
  'x'.repeat(200),
  'é',
  '"',
  ' ',
  '\t',
  'a\0b',
  'a\rb',
]
export const PATHS = [
  '/',
  '/%',
  '/a%2fb',
  '/../x',
  '//x',
  '/a;b',
  '*',
  '/\u00e9',
  '/a b',
  'http://a/',
  '/private',
  '/./private',
  '/%70rivate',
  '',
]
export const METHODS = ['GET', 'POST', 'HEAD', 'PUT', 'OPTIONS', 'DELETE', 'CONNECT', 'TRACE', 'PRI', 'get', 'X-Y', '']

/**
 * The mark of a conversation: only its own bytes may have it. With a character that client ids, nonces and request ids
 * made by chance do not have.
 */
export const mark = (id: number): string => `mk~${id}~k`
export function marksIn(text: string): Set<number> {
  return new Set([...text.matchAll(/mk~(\d+)~k/g)].map((m) => Number(m[1])))
}
