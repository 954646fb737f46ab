/**
 * HTTP/1.1 messages from bytes (RFC 9112), for requests and for responses. Strict where two readers could see two
 * different messages: what nobody well-behaved sends is refused instead of repaired. Field values are read once into
 * latin1 strings; bodies are passed on as slices of what came in.
 */
import { MeshError } from '../../../core/errors.ts'
import { removeHeader, takeTrailers } from './field-table.ts'
import { ChunkedReader } from './h1-chunked.ts'
import { parseConnection } from './h1-connection.ts'
import type { OriginalNames } from './header-case.ts'
import { HeadScanner, type Fault, type HeadLimits } from './h1-head.ts'
import { readMinorVersion, readStatus } from './h1-start-line.ts'
import { findAuthorityProblem, findMethodProblem, parseRequestTarget } from './h1-target.ts'
import { readContentLength, UNKNOWN_LENGTH } from './framing.ts'

/** Called in this order: onHead, onBody…, onMessageEnd; for a response perhaps several onInformational before onHead. */
export interface ParserSink {
  /** The fields of the parser describe the message until the next one begins. */
  onHead(): void
  onInformational(): void
  onBody(chunk: Buffer): void
  /** Flat, lower case, without the fields that may not come so late; undefined = none. */
  onMessageEnd(trailers: string[] | undefined): void
}

const IDLE = 0
const HEAD = 1
const LENGTH = 2
const CHUNKED = 3
const TRAILERS = 4
const UNTIL_CLOSE = 5
const TUNNEL = 6
const STOPPED = 7

const CR = 13
const LF = 10
const SP = 32
const EMPTY = Buffer.alloc(0)
/** Before one response. */
const MAX_INFORMATIONAL = 16

export class H1Parser {
  /* What the last head said. */
  method = ''
  /** Requests: origin form or '*'; '' for CONNECT. */
  path = ''
  /** Requests: of the target where it names one, else of the Host field; '' for an HTTP/1.0 request with neither. */
  authority = ''
  status = 0
  minor: 0 | 1 = 1
  /** Without host, framing and hop-by-hop fields. */
  headers: string[] = []
  /** The content-length field; UNKNOWN_LENGTH = none. */
  contentLength = UNKNOWN_LENGTH
  /** Bytes of the body that follows; 0 = none, UNKNOWN_LENGTH = chunked or until the connection closes. */
  bodyLength = 0
  /** The sender keeps the connection open after this message. */
  keepAlive = true
  /** Lower case; undefined when not offered (or not listed in Connection, RFC 9110 §7.8). */
  upgrade: string | undefined
  expectContinue = false
  /** Whether names are also kept as they were written, and how others are written then. */
  keepsNames: OriginalNames['others'] | undefined
  names: OriginalNames | undefined

  readonly #requests: boolean
  readonly #limits: HeadLimits
  readonly #sink: ParserSink
  readonly #scanner: HeadScanner
  readonly #chunked: ChunkedReader
  #state = IDLE
  /** Bytes of a head that is not complete, in a buffer with room to grow. */
  #pending = EMPTY
  #pendingLength = 0
  #left = 0
  #skippedEmptyLine = false
  #informational = 0
  #host: string | undefined
  #connection: string | undefined
  #requestMethod = 'GET'
  readonly #onFault = (fault: Fault, what: string): never => this.#fail(fault, what)
  readonly #onChunk = (chunk: Buffer): boolean => {
    this.#sink.onBody(chunk)
    return this.#state !== STOPPED
  }

  constructor(kind: 'request' | 'response', limits: HeadLimits, sink: ParserSink) {
    this.#requests = kind === 'request'
    this.#limits = limits
    this.#sink = sink
    this.#scanner = new HeadScanner(limits, this.#onFault)
    this.#chunked = new ChunkedReader(this.#onFault)
  }

  /** True between messages: no byte of the next one has come. */
  get idle(): boolean {
    return this.#state === IDLE
  }
  /** True while the head is not complete. */
  get inHead(): boolean {
    return this.#state === HEAD
  }

  /** The next message begins. @param requestMethod responses: of the request that is answered */
  begin(requestMethod = 'GET'): void {
    this.#requestMethod = requestMethod
    this.#state = IDLE
    this.#skippedEmptyLine = false
    this.#informational = 0
  }

  /** No more events, whatever comes. */
  stop(): void {
    this.#state = STOPPED
  }

  /**
   * Reads up to the end of one message.
   * @returns index after the last byte that belongs to it; the rest belongs to the next message or to the tunnel
   * @throws requests: MESH_MALFORMED_INPUT, MESH_HEADERS_TOO_LARGE, MESH_UNSUPPORTED; responses: MESH_UPSTREAM_PROTOCOL
   */
  execute(bytes: Buffer): number {
    let at = 0
    while (at < bytes.length) {
      switch (this.#state) {
        case IDLE: {
          const first = this.#beginHead(bytes, at)
          if (first === undefined) return bytes.length
          at = first
          break
        }
        case HEAD:
        case TRAILERS:
          at = this.#block(bytes, at)
          break
        case LENGTH: {
          const end = Math.min(bytes.length, at + this.#left)
          this.#left -= end - at
          const chunk = at === 0 && end === bytes.length ? bytes : bytes.subarray(at, end)
          at = end
          this.#sink.onBody(chunk)
          if (this.#left === 0) this.#end(undefined)
          break
        }
        case CHUNKED: {
          const read = this.#chunked.read(bytes, at, this.#onChunk)
          at = read.at
          if (read.last) {
            this.#state = TRAILERS
            this.#pendingLength = 0
            this.#scanner.begin('trailers')
          }
          break
        }
        case UNTIL_CLOSE:
          this.#sink.onBody(at === 0 ? bytes : bytes.subarray(at))
          return bytes.length
        default:
          return at
      }
      // A message has ended: what follows waits for begin().
      if (this.#state === IDLE && at > 0) return at
    }
    return at
  }

  /**
   * The sender has closed its side.
   * @returns true when that is a good end: between messages, or of a body that lasts until then (then onMessageEnd is
   * told)
   */
  finish(): boolean {
    if (this.#state === UNTIL_CLOSE) {
      this.#end(undefined)
      return true
    }
    return this.#state === IDLE || this.#state === TUNNEL || this.#state === STOPPED
  }

  /**
   * RFC 9112 §2.2: one empty line before a request line is passed over.
   * @returns where the head starts; undefined = not yet known
   */
  #beginHead(bytes: Buffer, from: number): number | undefined {
    let at = from
    if (this.#requests) {
      // A CR seen alone at the end of the last bytes is remembered as a pending length of 1.
      if (this.#pendingLength === 1 || (bytes[at] === CR && !this.#skippedEmptyLine)) {
        if (this.#pendingLength === 0) at++
        this.#pendingLength = 1
        if (at === bytes.length) return undefined
        if (bytes[at] !== LF) this.#fail('malformed', 'CR without LF before a request line (RFC 9112 §2.2)')
        this.#pendingLength = 0
        this.#skippedEmptyLine = true
        if (++at === bytes.length) return undefined
      }
    }
    this.#state = HEAD
    this.#pendingLength = 0
    this.#scanner.begin('head')
    return at
  }

  /** A header or trailer block. @returns index after the bytes used */
  #block(bytes: Buffer, from: number): number {
    const max = this.#limits.maxHeaderBytes
    const before = this.#pendingLength
    const end = Math.min(bytes.length, from + max - before)
    let block = bytes
    let base = from
    if (before > 0) {
      block = this.#append(bytes, from, end)
      base = 0
    }
    const complete = this.#scanner.scan(block, base, before > 0 ? before + end - from : end)
    if (!complete) {
      if (end - from + before === max) this.#fail('too-large', `the fields are longer than ${max} bytes`)
      if (before === 0) this.#append(bytes, from, end)
      return end
    }
    const { length } = this.#scanner
    const text = block.toString('latin1', base, base + length)
    this.#pendingLength = 0
    if (this.#pending.length > 4096) this.#pending = EMPTY
    if (this.#state === TRAILERS) this.#endWithTrailers(text)
    else this.#head(text)
    return from + length - before
  }

  #append(bytes: Buffer, from: number, end: number): Buffer {
    const length = this.#pendingLength + end - from
    if (length > this.#pending.length) {
      const grown = Buffer.allocUnsafe(Math.max(512, length * 2))
      this.#pending.copy(grown, 0, 0, this.#pendingLength)
      this.#pending = grown
    }
    bytes.copy(this.#pending, this.#pendingLength, from, end)
    this.#pendingLength = length
    return this.#pending
  }

  #head(text: string): void {
    this.contentLength = UNKNOWN_LENGTH
    this.upgrade = undefined
    this.expectContinue = false
    this.#host = undefined
    this.#connection = undefined
    this.names = this.keepsNames && { byName: this.#scanner.names(text), others: this.keepsNames }
    const line = text.slice(0, this.#scanner.startLineEnd)
    if (this.#requests) this.#requestLine(line)
    else this.#statusLine(line)
    const chunked = this.#fields(text)
    if (this.#connection !== undefined) this.#connectionOptions(this.#connection)
    else {
      this.keepAlive = this.minor === 1
      this.upgrade = undefined
    }
    if (this.#requests) this.#requestFraming(chunked)
    else this.#responseFraming(chunked)
  }

  /** @returns whether the body is chunked */
  #fields(text: string): boolean {
    const all: string[] = []
    this.#scanner.fields(text, all)
    let chunked = false
    let to = 0
    for (let i = 0; i < all.length; i += 2) {
      const name = all[i]!
      const value = all[i + 1]!
      switch (name) {
        case 'content-length':
          if (this.contentLength !== UNKNOWN_LENGTH)
            this.#fail('malformed', 'several Content-Length fields (RFC 9112 §6.3)')
          this.contentLength = readContentLength(value)
          if (this.contentLength < 0) this.#fail('malformed', 'Content-Length is not a number (RFC 9112 §6.3)')
          continue
        case 'transfer-encoding':
          if (chunked || value.toLowerCase() !== 'chunked')
            this.#fail(
              chunked || value === '' ? 'malformed' : 'unsupported',
              'a transfer coding other than one "chunked" (RFC 9112 §6.1)',
            )
          chunked = true
          continue
        case 'host':
          if (!this.#requests) break
          if (this.#host !== undefined) this.#fail('malformed', 'several Host fields (RFC 9112 §3.2)')
          this.#host = value
          continue
        case 'connection':
          this.#connection = this.#connection === undefined ? value : `${this.#connection},${value}`
          continue
        case 'upgrade':
          this.upgrade = this.upgrade === undefined ? value.toLowerCase() : `${this.upgrade},${value.toLowerCase()}`
          continue
        case 'expect':
          if (!this.#requests || value.toLowerCase() !== '100-continue') break
          this.expectContinue = true
          continue
        // Hop-by-hop (RFC 9110 §7.6.1).
        case 'keep-alive':
        case 'proxy-connection':
        case 'te':
        case 'http2-settings':
          continue
        default:
      }
      all[to++] = name
      all[to++] = value
    }
    // A new length would leave compiled code; there are few to take off.
    while (all.length > to) all.pop()
    this.headers = all
    // RFC 9112 §6.1 permits to refuse this, and both sides of a proxy must agree on it.
    if (chunked && this.contentLength !== UNKNOWN_LENGTH)
      this.#fail('malformed', 'both Transfer-Encoding and Content-Length (RFC 9112 §6.1)')
    if (chunked && this.minor === 0) this.#fail('malformed', 'Transfer-Encoding in an HTTP/1.0 message (RFC 9112 §6.1)')
    return chunked
  }

  #connectionOptions(list: string): void {
    const isPersistent = this.minor === 1
    if (list === 'keep-alive') {
      this.keepAlive = isPersistent || !this.#requests
      this.upgrade = undefined
      return
    }
    const { close, keepAlive, upgrade, fields } = parseConnection(list, this.#onFault)
    for (const name of fields) removeHeader(this.headers, name)
    // RFC 9112 §9.3: `close` counts before everything else. A connection of an HTTP/1.0 client serves one request.
    this.keepAlive = !close && (isPersistent || (keepAlive && !this.#requests))
    // RFC 9110 §7.8: not of an HTTP/1.0 request.
    if (!upgrade || this.minor === 0) this.upgrade = undefined
  }

  #requestLine(line: string): void {
    const first = line.indexOf(' ')
    let last = line.length - 1
    // The version is short, and lastIndexOf would leave compiled code.
    while (last > first && line.charCodeAt(last) !== SP) last--
    if (first < 1 || last === first || last === line.length - 1)
      this.#fail('malformed', 'the request line is not method, target, version (RFC 9112 §3)')
    this.method = first === 3 && line.startsWith('GET') ? 'GET' : line.slice(0, first)
    const problem = findMethodProblem(this.method)
    if (problem !== undefined) this.#fail('malformed', problem)
    this.minor = readMinorVersion(line, last + 1, this.#onFault)
    const target = parseRequestTarget(this.method, line.slice(first + 1, last))
    if (typeof target === 'string') this.#fail('malformed', target)
    this.path = target.path
    this.authority = target.authority
  }

  #statusLine(line: string): void {
    this.minor = readMinorVersion(line.length > 8 ? line.slice(0, line.indexOf(' ')) : line, 0, this.#onFault)
    this.status = readStatus(line, this.#onFault)
  }

  #requestFraming(chunked: boolean): void {
    if (this.#host === undefined) {
      if (this.minor === 1) this.#fail('malformed', 'no Host field (RFC 9112 §3.2)')
    } else {
      // Also beside a target that names another, which then counts (RFC 9112 §3.2.2). That of CONNECT is nobody's to
      // route by.
      const problem = findAuthorityProblem(this.#host)
      if (problem !== undefined) this.#fail('malformed', problem)
      if (this.authority === '') this.authority = this.#host
    }
    if (this.method === 'CONNECT') {
      if (chunked || this.contentLength > 0) this.#fail('malformed', 'a CONNECT request with a body')
      this.bodyLength = 0
      this.#state = TUNNEL
    } else if (chunked) this.#chunkedBodyFollows()
    else this.#bodyFollows(Math.max(0, this.contentLength))
    this.#sink.onHead()
    if (this.bodyLength === 0) this.#endWithoutBody()
  }

  #responseFraming(chunked: boolean): void {
    const { status } = this
    if (status === 101) {
      this.bodyLength = 0
      this.#state = TUNNEL
      this.#sink.onHead()
      return
    }
    if (status < 200) {
      if (++this.#informational > MAX_INFORMATIONAL)
        this.#fail('too-large', `more than ${MAX_INFORMATIONAL} informational responses`)
      this.#sink.onInformational()
      if (this.#state !== STOPPED) {
        this.#state = HEAD
        this.#scanner.begin('head')
      }
      return
    }
    if (this.#requestMethod === 'HEAD' || status === 204 || status === 304) this.#bodyFollows(0)
    else if (chunked) this.#chunkedBodyFollows()
    else if (this.contentLength >= 0) this.#bodyFollows(this.contentLength)
    else {
      this.bodyLength = UNKNOWN_LENGTH
      this.#state = UNTIL_CLOSE
      this.keepAlive = false
    }
    this.#sink.onHead()
    if (this.bodyLength === 0) this.#endWithoutBody()
  }

  #bodyFollows(length: number): void {
    this.bodyLength = length
    this.#left = length
    this.#state = LENGTH
  }
  #chunkedBodyFollows(): void {
    this.bodyLength = UNKNOWN_LENGTH
    this.#state = CHUNKED
    this.#chunked.begin()
  }

  #endWithoutBody(): void {
    if (this.#state === STOPPED) return
    if (this.#state === TUNNEL) this.#sink.onMessageEnd(undefined)
    else this.#end(undefined)
  }

  #endWithTrailers(text: string): void {
    const all: string[] = []
    this.#scanner.fields(text, all)
    this.#end(takeTrailers(all))
  }

  #end(trailers: string[] | undefined): void {
    if (this.#state === STOPPED) return
    this.#state = IDLE
    this.#sink.onMessageEnd(trailers)
  }

  #fail(fault: Fault, what: string): never {
    this.#state = STOPPED
    if (!this.#requests) throw new MeshError('MESH_UPSTREAM_PROTOCOL', `the endpoint's HTTP/1.1 response: ${what}`)
    throw new MeshError(
      fault === 'malformed'
        ? 'MESH_MALFORMED_INPUT'
        : fault === 'too-large'
          ? 'MESH_HEADERS_TOO_LARGE'
          : 'MESH_UNSUPPORTED',
      what,
    )
  }
}
