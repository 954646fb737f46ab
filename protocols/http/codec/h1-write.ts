/**
 * HTTP/1.1 messages to bytes: heads as latin1 text, bodies as they come or in chunks, gathered so that one write
 * carries what is at hand.
 */
import type { Duplex } from 'node:stream'

/** Beyond this, buffers are handed to the socket one by one instead of being copied together. */
const MAX_JOIN_BYTES = 32 * 1024
/** Unless they are small on average: each that waits in a socket takes hundreds of bytes. */
const SMALL_BYTES = 512

/** Collects pieces of a message for one write. */
export class Gather {
  readonly #stream: Duplex
  /** The first `#count` are waiting; the list itself is used again for every write. */
  readonly #pieces: (string | Buffer)[] = []
  #count = 0
  #bytes = 0
  /** The body of the message at hand goes in chunks. */
  chunked = false

  constructor(stream: Duplex) {
    this.#stream = stream
  }

  get empty(): boolean {
    return this.#count === 0
  }

  /** @param text latin1; whatever else it holds is replaced */
  text(text: string): void {
    this.#pieces[this.#count++] = text
    this.#bytes += text.length
  }

  body(chunk: Buffer): void {
    if (chunk.length === 0) return
    if (this.chunked) this.text(`${chunk.length.toString(16)}\r\n`)
    this.#pieces[this.#count++] = chunk
    this.#bytes += chunk.length
    if (this.chunked) this.text('\r\n')
  }

  end(trailers: readonly string[] | undefined): void {
    if (!this.chunked) return
    this.chunked = false
    this.text(trailers ? `0\r\n${formatFieldLines(trailers)}\r\n` : '0\r\n\r\n')
  }

  /** @returns bytes put on the wire */
  flush(): number {
    const count = this.#count
    if (count === 0) return 0
    const bytes = this.#bytes
    // Before the writes: they may come back here by way of an event.
    const pieces =
      count === 1
        ? undefined
        : bytes <= MAX_JOIN_BYTES || bytes < count * SMALL_BYTES
          ? joined(this.#pieces, count, bytes)
          : this.#pieces.slice(0, count)
    const first = this.#pieces[0]!
    for (let i = 0; i < count; i++) this.#pieces[i] = ''
    this.#count = 0
    this.#bytes = 0
    if (pieces === undefined) {
      if (typeof first === 'string') this.#stream.write(first, 'latin1')
      else this.#stream.write(first)
    } else if (Buffer.isBuffer(pieces)) {
      this.#stream.write(pieces)
    } else {
      this.#stream.cork()
      for (const piece of pieces) this.#stream.write(typeof piece === 'string' ? Buffer.from(piece, 'latin1') : piece)
      this.#stream.uncork()
    }
    return bytes
  }
}

function joined(pieces: readonly (string | Buffer)[], count: number, bytes: number): Buffer {
  const all = Buffer.allocUnsafe(bytes)
  let at = 0
  for (let i = 0; i < count; i++) {
    const piece = pieces[i]!
    at += typeof piece === 'string' ? all.write(piece, at, 'latin1') : piece.copy(all, at)
  }
  return all
}

/**
 * Values must be latin1 text (asFieldValue): written byte by byte, U+010A would become LF and start a line of its own.
 */
export function formatFieldLines(headers: readonly string[]): string {
  let text = ''
  for (let i = 0; i < headers.length; i += 2) text += `${headers[i]!}: ${headers[i + 1]!}\r\n`
  return text
}

export function formatRequestHead(
  method: string,
  path: string,
  authority: string,
  headers: readonly string[],
  framing: string,
): string {
  return `${method} ${path} HTTP/1.1\r\nhost: ${authority}\r\n${formatFieldLines(headers)}${framing}\r\n`
}

export function formatResponseHead(status: number, headers: readonly string[], framing: string): string {
  return `${statusLine(status)}${formatFieldLines(headers)}${framing}\r\n`
}

const REASONS: Readonly<Record<number, string>> = {
  100: 'Continue',
  101: 'Switching Protocols',
  102: 'Processing',
  103: 'Early Hints',
  200: 'OK',
  201: 'Created',
  202: 'Accepted',
  203: 'Non-Authoritative Information',
  204: 'No Content',
  205: 'Reset Content',
  206: 'Partial Content',
  207: 'Multi-Status',
  300: 'Multiple Choices',
  301: 'Moved Permanently',
  302: 'Found',
  303: 'See Other',
  304: 'Not Modified',
  307: 'Temporary Redirect',
  308: 'Permanent Redirect',
  400: 'Bad Request',
  401: 'Unauthorized',
  402: 'Payment Required',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  406: 'Not Acceptable',
  407: 'Proxy Authentication Required',
  408: 'Request Timeout',
  409: 'Conflict',
  410: 'Gone',
  411: 'Length Required',
  412: 'Precondition Failed',
  413: 'Content Too Large',
  414: 'URI Too Long',
  415: 'Unsupported Media Type',
  416: 'Range Not Satisfiable',
  417: 'Expectation Failed',
  421: 'Misdirected Request',
  422: 'Unprocessable Content',
  425: 'Too Early',
  426: 'Upgrade Required',
  428: 'Precondition Required',
  429: 'Too Many Requests',
  431: 'Request Header Fields Too Large',
  500: 'Internal Server Error',
  501: 'Not Implemented',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
  505: 'HTTP Version Not Supported',
  507: 'Insufficient Storage',
  511: 'Network Authentication Required',
}
const lines = new Map(
  Object.entries(REASONS).map(([status, reason]) => [Number(status), `HTTP/1.1 ${status} ${reason}\r\n`]),
)
/** RFC 9112 §4: an empty reason keeps its space. */
function statusLine(status: number): string {
  return lines.get(status) ?? `HTTP/1.1 ${status} \r\n`
}
