/**
 * gRPC-Web (grpc/doc/PROTOCOL-WEB.md): a browser's call becomes one of gRPC, and trailers come to it as the last frame
 * of the body; as text, all of it is base64.
 */
import { doNothing } from '../../../../core/defects/guard.ts'
import { MeshError } from '../../../../core/errors.ts'
import { UNKNOWN_LENGTH } from '../../codec/framing.ts'
import { deriveGrpcStatus, encodeMessage } from '../../exchange/reply/grpc-words.ts'
import type { Downstream, ResponseHead } from '../../message.ts'
import { findFirstValue, setHeader } from '../header-edit.ts'
import type { BodyFilter, BodySink } from './body-filter.ts'
import { Through } from './through.ts'

const TEXT: ReadonlySet<string> = new Set(['application/grpc-web-text', 'application/grpc-web-text+proto'])
const BINARY: ReadonlySet<string> = new Set(['application/grpc-web', 'application/grpc-web+proto'])
/** So much of a text that is no gRPC becomes the message (Envoy's MAX_BUFFERED_PLAINTEXT_LENGTH). */
const MAX_MESSAGE_BYTES = 16_384
/** Flag and length of a message. */
const FRAME_HEAD_BYTES = 5
const TRAILERS_FLAG = 0x80
/** The head is all of it. */
const END = true

/** @returns undefined: it is no call of gRPC-Web. Fields are changed in place. */
export function createGrpcWeb(headers: string[]): BodyFilter | undefined {
  const type = findFirstValue(headers, 'content-type') ?? ''
  const isTextRequest = TEXT.has(type)
  if (!isTextRequest && !BINARY.has(type)) return undefined
  setHeader(headers, 'content-type', 'application/grpc')
  if (findFirstValue(headers, 'grpc-accept-encoding') === undefined) headers.push('grpc-accept-encoding', 'identity')
  return { kind: 'grpc-web', isTextRequest, isTextAnswer: TEXT.has(findFirstValue(headers, 'accept') ?? '') }
}

/** The text of a request, decoded. What is padded may be followed by more: some clients encode each message by itself. */
export class Base64Body implements BodySink {
  readonly #next: BodySink
  readonly #broken: (error: MeshError) => void
  /** Less than four characters. */
  #rest = ''
  #isBroken = false

  constructor(next: BodySink, broken: (error: MeshError) => void) {
    this.#next = next
    this.#broken = broken
  }
  data(chunk: Buffer): void {
    if (this.#isBroken) return
    const text = this.#rest + chunk.toString('latin1')
    const whole = text.length - (text.length % 4)
    this.#rest = text.slice(whole)
    if (whole === 0) return
    const quads = text.slice(0, whole)
    if (!QUADS.test(quads)) {
      this.#fail()
      return
    }
    // Padding ends what Buffer decodes.
    const parts = quads.match(/[^=]+=*/g) ?? []
    this.#next.data(parts.length === 1 ? Buffer.from(quads, 'base64') : joinDecoded(parts))
  }
  end(trailers: readonly string[] | undefined): void {
    if (this.#isBroken) return
    if (this.#rest === '') this.#next.end(trailers)
    else this.#fail()
  }
  #fail(): void {
    this.#isBroken = true
    this.#broken(new MeshError('MESH_MALFORMED_INPUT', 'a gRPC-Web request whose text is no base64'))
  }
}
function joinDecoded(parts: readonly string[]): Buffer {
  return Buffer.concat(parts.map((part) => Buffer.from(part, 'base64')))
}
const QUADS = /^(?:[A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)*$/

/** As far as it has come. @returns undefined: it is no base64 */
export function decodeTextBody(text: Buffer): Buffer | undefined {
  const decoded: Buffer[] = []
  let isBroken = false
  const data = (chunk: Buffer): void => {
    decoded.push(chunk)
  }
  new Base64Body({ data, end: doNothing }, () => (isBroken = true)).data(text)
  return isBroken ? undefined : Buffer.concat(decoded)
}

export class GrpcWebAnswer extends Through {
  readonly #isText: boolean
  /** Of an answer that is no gRPC: what it says becomes the message. */
  #words: { readonly head: ResponseHead; text: string } | undefined
  #text: Base64Frames | undefined

  constructor(inner: Downstream, isText: boolean) {
    super(inner)
    this.#isText = isText
  }

  override sendHead(head: ResponseHead, end: boolean): void {
    const { headers, status } = head
    const isForeign = !end && !(status === 200 && isGrpcType(findFirstValue(headers, 'content-type')))
    setHeader(headers, 'content-type', `application/grpc-web${this.#isText ? '-text' : ''}+proto`)
    if (isForeign) this.#words = { head, text: '' }
    else {
      if (this.#isText) this.#text = new Base64Frames()
      super.sendHead({ ...head, contentLength: UNKNOWN_LENGTH }, end)
    }
  }

  override sendData(chunk: Buffer): void {
    if (this.#words)
      this.#words.text += chunk.toString('latin1', 0, Math.max(0, MAX_MESSAGE_BYTES - this.#words.text.length))
    else if (this.#text) super.sendData(Buffer.from(this.#text.encode(chunk), 'latin1'))
    else super.sendData(chunk)
  }

  override sendEnd(trailers: readonly string[] | undefined): void {
    if (this.#words) {
      const { head, text } = this.#words
      this.#words = undefined
      setHeader(head.headers, 'grpc-message', encodeMessage(text))
      setHeader(head.headers, 'grpc-status', String(deriveGrpcStatus(head.status)))
      super.sendHead({ ...head, contentLength: 0 }, END)
      super.sendEnd(undefined)
      return
    }
    if (trailers && trailers.length > 0) super.sendData(this.#frameOf(trailers))
    super.sendEnd(undefined)
  }

  #frameOf(trailers: readonly string[]): Buffer {
    let lines = ''
    for (let i = 0; i < trailers.length; i += 2) lines += `${trailers[i]!}:${trailers[i + 1]!}\r\n`
    const frame = Buffer.alloc(FRAME_HEAD_BYTES + lines.length)
    frame[0] = TRAILERS_FLAG
    frame.writeUInt32BE(lines.length, 1)
    frame.write(lines, FRAME_HEAD_BYTES, 'latin1')
    return this.#text ? Buffer.from(frame.toString('base64'), 'latin1') : frame
  }
}

function isGrpcType(type: string | undefined): boolean {
  if (type === undefined) return false
  return /^application\/grpc(?:$|[+;])/.test(type) || BINARY.has(type.split(';', 1)[0]!.trim().toLowerCase())
}

/** Base64 of each message by itself, as Envoy writes it, without waiting for the whole of one. */
class Base64Frames {
  /** Of the message at hand: what its text is still to be made of, less than three bytes. */
  #rest: Buffer = NOTHING
  #head: number[] = []
  /** Bytes of the message that are still to come. */
  #left = 0

  encode(chunk: Buffer): string {
    let out = ''
    let at = 0
    while (at < chunk.length) {
      const from = at
      while (at < chunk.length && this.#head.length < FRAME_HEAD_BYTES) this.#head.push(chunk[at++]!)
      if (this.#head.length === FRAME_HEAD_BYTES && this.#left === 0) this.#left = lengthOf(this.#head)
      if (this.#head.length === FRAME_HEAD_BYTES) {
        const taken = Math.min(this.#left, chunk.length - at)
        at += taken
        this.#left -= taken
      }
      const isWhole = this.#head.length === FRAME_HEAD_BYTES && this.#left === 0
      out += this.#add(chunk.subarray(from, at), isWhole)
      if (isWhole) this.#head = []
    }
    return out
  }
  #add(bytes: Buffer, isLast: boolean): string {
    const all = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes])
    const whole = isLast ? all.length : all.length - (all.length % 3)
    this.#rest = Buffer.from(all.subarray(whole))
    return all.toString('base64', 0, whole)
  }
}
const NOTHING = Buffer.alloc(0)
const lengthOf = (head: readonly number[]): number =>
  head[1]! * 2 ** 24 + head[2]! * 2 ** 16 + head[3]! * 2 ** 8 + head[4]!
