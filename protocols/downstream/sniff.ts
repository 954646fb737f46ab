/**
 * What a connection's first bytes say: TLS with server name and ALPN, HTTP/1, HTTP/2, MQTT, or nothing known.
 * `classify` is pure; `sniff` reads just enough from a stream to ask it and puts every byte back.
 */
import type { Duplex } from 'node:stream'
import type { Clock, Timer } from '../../core/os/clock.ts'
import { MeshError } from '../../core/errors.ts'
import { guard } from '../../core/defects/guard.ts'
import { STANDARD_METHODS } from '../http/codec/h1-target.ts'
import { MAX_CLIENT_HELLO_BYTES, parseClientHello } from './client-hello.ts'
import type { Abortable } from '../../core/runtime/notice.ts'
import type { Hold, Holder } from '../waiting.ts'

/** What the listener's chains can tell apart; the less they ask for, the fewer bytes are waited for. */
export type Interest = { readonly tls: boolean; readonly http: boolean; readonly mqtt: boolean }

export type Sniffed = {
  readonly protocol: 'tls' | 'http1' | 'http2' | 'mqtt' | 'opaque'
  readonly transport: 'tls' | 'raw_buffer'
  readonly serverName: string
  /**
   * TLS: what the client offers, in its order. Plain text: Envoy's names for what was seen (`http/1.0`, `http/1.1`,
   * `h2c`), `mqtt`, or none.
   */
  readonly alpn: readonly string[]
}
export const OPAQUE: Sniffed = { protocol: 'opaque', transport: 'raw_buffer', serverName: '', alpn: [] }

/** A longer request line with a known method counts as HTTP/1.1, and the codec answers it. */
const MAX_REQUEST_LINE_BYTES = 8 * 1024
/** Nothing above is looked at; with this many bytes `classify` has always decided. */
export const MAX_SNIFF_BYTES = MAX_CLIENT_HELLO_BYTES

/**
 * @returns `more` while the bytes so far are the beginning of several things; `too-large` for an endless ClientHello.
 * Never throws.
 */
export function classify(bytes: Uint8Array, interest: Interest): Sniffed | 'more' | 'too-large' {
  if (bytes.length === 0) return interest.tls || interest.http || interest.mqtt ? 'more' : OPAQUE
  const kinds = [
    interest.tls && asTls(bytes),
    interest.http && asHttp2(bytes),
    interest.http && asHttp1(bytes),
    interest.mqtt && asMqtt(bytes),
  ]
  const known = kinds.find((k) => typeof k === 'object' || k === 'too-large')
  if (known) return known
  return kinds.includes('more') ? 'more' : OPAQUE
}

export type SniffOptions = {
  readonly interest: Interest
  readonly clock: Clock
  readonly timeoutMs: number
  /** Envoy continue_on_listener_filters_timeout. */
  readonly onTimeout: 'continue' | 'close'
  /** When it aborts, a client that has not said a word is not waited for any longer. */
  readonly draining: Abortable
  /** Counts what waits for the rest of a first message; left out: nobody does. */
  readonly hold?: CountFirstBytes
}
export type CountFirstBytes = (giveUp: Holder['giveUp']) => Hold

/**
 * Resolves with the verdict, `silent` when the time is over and the listener goes on without one (some protocols let
 * the server speak first), or `ended` when the client closed without a byte or the agent drains and it has sent none.
 * Every byte read is back in the stream. Rejects with MESH_SNIFF_TIMEOUT, MESH_CLIENT_GONE or MESH_MALFORMED_INPUT
 * (endless ClientHello).
 */
export function sniff(stream: Duplex, o: SniffOptions): Promise<Sniffed | 'silent' | 'ended'> {
  const atOnce = classify(NO_BYTES, o.interest)
  if (typeof atOnce === 'object') return Promise.resolve(atOnce)
  return new Promise((resolve, reject) => {
    new Sniffer(stream, o, resolve, reject).begin()
  })
}

class Sniffer {
  readonly #stream: Duplex
  readonly #o: SniffOptions
  readonly #resolve: (verdict: Sniffed | 'silent' | 'ended') => void
  readonly #reject: (error: MeshError) => void
  readonly #timer: Timer
  #seen: Buffer = NO_BYTES
  #hold: Hold | undefined

  constructor(
    stream: Duplex,
    o: SniffOptions,
    resolve: (verdict: Sniffed | 'silent' | 'ended') => void,
    reject: (error: MeshError) => void,
  ) {
    this.#stream = stream
    this.#o = o
    this.#resolve = resolve
    this.#reject = reject
    this.#timer = o.clock.after(o.timeoutMs, () => this.#onTimeout())
  }

  begin(): void {
    const stream = this.#stream
    const { draining } = this.#o
    stream.on('readable', this.#onReadable).once('end', this.#onEnd).once('close', this.#onClose)
    draining.addEventListener('abort', this.#onDraining)
    if (stream.destroyed) {
      this.#onClose()
      return
    }
    this.#onReadable()
    if (draining.aborted) this.#onDraining()
  }

  readonly #fail = (error: MeshError): void => {
    this.#finish()
    this.#reject(error)
  }
  readonly #onReadable = guard('network', this.#fail, () => {
    this.#readAll()
    const seen = this.#seen
    if (seen.length === 0) return
    const verdict = classify(seen.length > MAX_SNIFF_BYTES ? seen.subarray(0, MAX_SNIFF_BYTES) : seen, this.#o.interest)
    if (verdict === 'more') {
      this.#hold ??= this.#o.hold?.(this.#fail)
      this.#hold?.set(seen.length)
      return
    }
    if (verdict === 'too-large')
      this.#fail(
        new MeshError('MESH_MALFORMED_INPUT', `the TLS ClientHello is longer than ${MAX_CLIENT_HELLO_BYTES} bytes`),
      )
    else this.#settle(verdict)
  })
  #readAll(): void {
    const stream = this.#stream
    for (let chunk = stream.read() as Buffer | null; chunk; chunk = stream.read() as Buffer | null)
      this.#seen = this.#seen.length === 0 ? chunk : Buffer.concat([this.#seen, chunk])
  }

  readonly #onEnd = guard('network', this.#fail, () => {
    if (this.#seen.length === 0) this.#settle('ended')
    else this.#fail(new MeshError('MESH_CLIENT_GONE', 'the client closed in the middle of its first message'))
  })
  readonly #onClose = guard('network', this.#fail, () =>
    this.#fail(new MeshError('MESH_CLIENT_GONE', 'the client reset the connection before it had said anything')),
  )
  readonly #onDraining = guard('network', this.#fail, () => {
    if (this.#seen.length === 0) this.#settle('ended')
  })
  #onTimeout(): void {
    const { onTimeout, timeoutMs } = this.#o
    if (onTimeout === 'continue') this.#settle('silent')
    else
      this.#fail(
        new MeshError('MESH_SNIFF_TIMEOUT', `the client did not say within ${timeoutMs} ms which protocol it speaks`),
      )
  }

  /** The bytes are put back for the next reader. */
  #settle(verdict: Sniffed | 'silent' | 'ended'): void {
    this.#finish()
    if (this.#seen.length > 0) this.#stream.unshift(this.#seen)
    this.#resolve(verdict)
  }
  #finish(): void {
    this.#timer.cancel()
    this.#hold?.set(0)
    this.#o.draining.removeEventListener('abort', this.#onDraining)
    this.#stream.off('readable', this.#onReadable).off('end', this.#onEnd).off('close', this.#onClose)
  }
}

const NO_BYTES = Buffer.alloc(0)
type Guess = Sniffed | 'more' | 'no'

function asTls(bytes: Uint8Array): Guess | 'too-large' {
  const hello = parseClientHello(bytes)
  switch (hello) {
    case 'short':
      return 'more'
    case 'malformed':
      return 'no'
    case 'too-large':
      return hello
    default:
      return { protocol: 'tls', transport: 'tls', ...hello }
  }
}

/** RFC 9113 §3.4. */
const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1')
function asHttp2(bytes: Uint8Array): Guess {
  const length = Math.min(bytes.length, PREFACE.length)
  for (let i = 0; i < length; i++) if (bytes[i] !== PREFACE[i]) return 'no'
  return length < PREFACE.length ? 'more' : { ...OPAQUE, protocol: 'http2', alpn: ['h2c'] }
}

const METHODS = [...STANDARD_METHODS].map((m) => `${m} `)
const LONGEST_METHOD = Math.max(...METHODS.map((m) => m.length))

/**
 * A known method, then a request line that ends with a version (RFC 9112 §3); empty lines before it are allowed (§2.2).
 */
function asHttp1(bytes: Uint8Array): Guess {
  let start = 0
  while (start < bytes.length && (bytes[start] === 13 || bytes[start] === 10)) start++
  if (start > 4) return 'no'
  const head = latin1(bytes.subarray(start, start + LONGEST_METHOD))
  const method = METHODS.find((m) => head.startsWith(m))
  if (!method) return METHODS.some((m) => m.startsWith(head)) ? 'more' : 'no'
  const end = bytes.indexOf(10, start)
  if (end < 0) return bytes.length - start > MAX_REQUEST_LINE_BYTES ? HTTP11 : 'more'
  const tail = /[ ]HTTP\/1\.([01])\r?$/.exec(latin1(bytes.subarray(Math.max(start, end - 12), end)))
  if (!tail) return 'no'
  return tail[1] === '0' ? { ...OPAQUE, protocol: 'http1', alpn: ['http/1.0'] } : HTTP11
}
const HTTP11: Sniffed = { ...OPAQUE, protocol: 'http1', alpn: ['http/1.1'] }

/**
 * CONNECT: type 1 with flags 0, remaining length, then the protocol name (MQTT 5.0 §3.1.1, §3.1.2.1; MQIsdp was 3.1's).
 */
function asMqtt(bytes: Uint8Array): Guess {
  if (bytes[0] !== 0x10) return 'no'
  let at = 1
  for (; at < 5; at++) {
    const byte = bytes[at]
    if (byte === undefined) return 'more'
    if (byte < 0x80) break
  }
  const guesses = MQTT_NAMES.map((name): Guess => {
    const have = Math.min(name.length, bytes.length - at - 1)
    for (let i = 0; i < have; i++) if (bytes[at + 1 + i] !== name[i]) return 'no'
    return have < name.length ? 'more' : { ...OPAQUE, protocol: 'mqtt', alpn: ['mqtt'] }
  })
  return guesses.find((g) => typeof g === 'object') ?? (guesses.includes('more') ? 'more' : 'no')
}
const MQTT_NAMES = ['\0\x04MQTT', '\0\x06MQIsdp'].map((n) => Buffer.from(n, 'latin1'))

const latin1 = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')
