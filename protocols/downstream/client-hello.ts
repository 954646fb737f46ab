/**
 * Reads server name and ALPN out of a TLS ClientHello (RFC 8446 §4.1.2, RFC 6066 §3, RFC 7301 §3.1). No I/O, no throw,
 * any cut.
 */

/**
 * A hello may span records; more bytes than this on the wire are refused (Envoy's tls_inspector has the same bound).
 */
export const MAX_CLIENT_HELLO_BYTES = 16 * 1024

export type ClientHello = { readonly serverName: string; readonly alpn: readonly string[] }

/**
 * @param bytes the connection's first bytes
 * @returns the hello (server name in lower case, '' without one; ALPN in the client's order); `short`: more bytes are
 * needed;
 *   `too-large`: it does not end within MAX_CLIENT_HELLO_BYTES; `malformed`: no ClientHello
 */
export function parseClientHello(bytes: Uint8Array): ClientHello | 'short' | 'too-large' | 'malformed' {
  const gathered = handshakeBytes(bytes)
  if (gathered === 'malformed') return 'malformed'
  const { body, ended } = gathered
  if (body.length >= 1 && body[0] !== CLIENT_HELLO) return 'malformed'
  const more = bytes.length >= MAX_CLIENT_HELLO_BYTES ? 'too-large' : 'short'
  if (body.length < 4) return ended ? 'malformed' : more
  const length = (body[1]! << 16) | (body[2]! << 8) | body[3]!
  if (length > MAX_CLIENT_HELLO_BYTES) return 'too-large'
  if (body.length < 4 + length) return more
  return helloOf(new Reader(body.subarray(4, 4 + length)))
}

const HANDSHAKE_RECORD = 22
const CLIENT_HELLO = 1
const SERVER_NAME = 0
const ALPN = 16
/** RFC 8446 §5.1. */
const MAX_RECORD_BYTES = 1 << 14

/**
 * The handshake bytes of the leading records; `ended` is never true for a whole prefix of a stream, since another
 * record may follow.
 */
function handshakeBytes(bytes: Uint8Array): { body: Uint8Array; ended: boolean } | 'malformed' {
  const parts: Uint8Array[] = []
  for (let at = 0; at < bytes.length;) {
    if (bytes[at] !== HANDSHAKE_RECORD)
      return at === 0 || parts.length === 0 ? 'malformed' : { body: joined(parts), ended: true }
    if (bytes[at + 1] !== undefined && bytes[at + 1] !== 3) return 'malformed'
    if (at + 5 > bytes.length) break
    const length = (bytes[at + 3]! << 8) | bytes[at + 4]!
    if (length === 0 || length > MAX_RECORD_BYTES) return 'malformed'
    parts.push(bytes.subarray(at + 5, at + 5 + length))
    at += 5 + length
  }
  return { body: joined(parts), ended: false }
}

function helloOf(r: Reader): ClientHello | 'malformed' {
  r.skip(2 + 32) // legacy_version, random
  r.skip(r.uint8()) // legacy_session_id
  r.skip(r.uint16()) // cipher_suites
  r.skip(r.uint8()) // legacy_compression_methods
  let serverName = ''
  let alpn: string[] = []
  if (!r.atEnd) {
    const extensions = r.sub(r.uint16())
    while (!extensions.atEnd && !extensions.failed) {
      const type = extensions.uint16()
      const content = extensions.sub(extensions.uint16())
      if (type === SERVER_NAME) serverName = serverNameOf(content)
      else if (type === ALPN) alpn = protocolsOf(content)
      if (content.failed) return 'malformed'
    }
    if (extensions.failed) return 'malformed'
  }
  return r.failed ? 'malformed' : { serverName, alpn }
}

/** The first host_name; a name that no host can have counts as malformed, since it would be matched and logged. */
function serverNameOf(r: Reader): string {
  const list = r.sub(r.uint16())
  while (!list.atEnd && !list.failed) {
    const type = list.uint8()
    const name = list.text(list.uint16())
    if (type !== 0) continue
    if (!/^[\x21-\x7e]{1,255}$/.test(name)) r.failed = true
    return name.toLowerCase()
  }
  r.failed ||= list.failed
  return ''
}

function protocolsOf(r: Reader): string[] {
  const list = r.sub(r.uint16())
  const protocols: string[] = []
  while (!list.atEnd && !list.failed) {
    const name = list.text(list.uint8())
    if (name === '') list.failed = true
    protocols.push(name)
  }
  r.failed ||= list.failed
  return protocols
}

/** Reading past the end gives zeros and sets `failed`, so that callers check once. */
class Reader {
  readonly #bytes: Uint8Array
  #at = 0
  failed = false
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }
  get atEnd(): boolean {
    return this.#at >= this.#bytes.length
  }
  skip(count: number): void {
    this.#take(count)
  }
  uint8(): number {
    return this.#take(1)[0] ?? 0
  }
  uint16(): number {
    const two = this.#take(2)
    return ((two[0] ?? 0) << 8) | (two[1] ?? 0)
  }
  text(count: number): string {
    return String.fromCharCode(...this.#take(count))
  }
  sub(count: number): Reader {
    const inner = new Reader(this.#take(count))
    inner.failed = this.failed
    return inner
  }
  #take(count: number): Uint8Array {
    if (this.failed || this.#at + count > this.#bytes.length) {
      this.failed = true
      return new Uint8Array(0)
    }
    return this.#bytes.subarray(this.#at, (this.#at += count))
  }
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  return parts.length === 1 ? parts[0]! : Buffer.concat(parts)
}
