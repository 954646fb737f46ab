/**
 * The answers of one HTTP/1.1 connection as bytes (RFC 9112 §6, §9), one after the other: framing, what ends the
 * connection, and back-pressure.
 */
import type { Duplex } from 'node:stream'
import type { MeshError } from '../../../core/errors.ts'
import type { Connection } from '../../connection.ts'
import { readHttpManager } from '../../codecs.ts'
import type { Outlet } from '../../outlet.ts'
import { CHUNKED, isBodiless, isInformational, formatResponseFraming, UNTIL_CLOSE } from '../codec/framing.ts'
import { writeHeaderCase } from '../codec/header-case.ts'
import { Gather, formatResponseHead } from '../codec/h1-write.ts'
import type { Downstream, ResponseHead } from '../message.ts'
import { createSecondAnswer } from './second-answer.ts'

const CONTINUE = 'HTTP/1.1 100 Continue\r\n\r\n'

/** The connection, as its answers see it. */
export interface H1AnswerOwner {
  /** Answers are still sent as HTTP. */
  readonly isOpen: boolean
  /** All of the request has come. */
  readonly isRequestDone: boolean
  /** No further request is taken. */
  readonly isLeaving: boolean
  readonly outlet: Outlet
  /** Something has moved. */
  touch(): void
  setIdleMs(ms: number): void
  /** The stream, and what has come after the request. */
  handOver(): { readonly stream: Duplex; readonly rest: Buffer | undefined }
  finished(error: MeshError | undefined): void
}

export class H1Answer implements Downstream {
  readonly #conn: Connection
  readonly #owner: H1AnswerOwner
  readonly #out: Gather
  /** Of the request at hand; 'GET' while its head is not known. */
  method = 'GET'
  version: 'HTTP/1.0' | 'HTTP/1.1' = 'HTTP/1.1'
  /** To be sent with a 101. */
  #upgrade: string | undefined
  /** The connection takes another request after this answer. */
  keepAlive = true
  /** It ends with its head, whatever an endpoint sends after it. */
  #isBodiless = false
  /** Its head was said, and not all of it. */
  #isBegun = false
  /** All of it was said. */
  #isSaid = false

  constructor(conn: Connection, owner: H1AnswerOwner) {
    this.#conn = conn
    this.#owner = owner
    this.#out = new Gather(conn.stream)
  }

  /** A request has begun. */
  begin(version: 'HTTP/1.0' | 'HTTP/1.1', upgrade: string | undefined, keepAlive: boolean): void {
    this.version = version
    this.#upgrade = upgrade
    this.keepAlive = keepAlive
    this.#isBegun = false
    this.#isSaid = false
  }

  sendContinue(): void {
    if (!this.#owner.isOpen) return
    this.#out.text(CONTINUE)
    this.flush()
  }

  sendInformational(head: ResponseHead): void {
    if (!this.#owner.isOpen || this.version !== 'HTTP/1.1' || !isInformational(head.status)) return
    this.#out.text(this.#format(head, ''))
    // It is worth something before the answer only (RFC 8297).
    this.flush()
  }

  sendHead(head: ResponseHead, end: boolean): void {
    const owner = this.#owner
    if (!owner.isOpen) return
    if (this.#isBegun) throw createSecondAnswer()
    this.#isBegun = true
    // An answer that begins before the request's end closes the connection (Envoy: the same): nobody knows how much is
    // still to come.
    if (owner.isLeaving || !owner.isRequestDone) this.keepAlive = false
    const { status } = head
    let framing = formatResponseFraming(status, head.contentLength, this.method, this.version, end)
    if (framing === UNTIL_CLOSE) {
      framing = ''
      this.keepAlive = false
    }
    this.#out.chunked = framing === CHUNKED
    this.#isBodiless = isBodiless(status, this.method)
    this.#out.text(this.#format(head, this.keepAlive ? framing : `${framing}connection: close\r\n`))
  }

  #format({ status, headers, names }: ResponseHead, framing: string): string {
    const text = formatResponseHead(status, headers, framing)
    const { headerCase } = readHttpManager(this.#conn)
    return names || headerCase ? writeHeaderCase(text, headerCase, names) : text
  }

  sendData(chunk: Buffer): void {
    if (this.#owner.isOpen && !this.#isBodiless) this.#out.body(chunk)
  }
  sendEnd(trailers: readonly string[] | undefined): void {
    this.#out.end(trailers)
    this.#isBegun = false
    this.#isSaid = true
  }

  flush(): boolean {
    const owner = this.#owner
    if (!owner.isOpen || this.#out.empty) return true
    this.#conn.sentBytes += this.#out.flush()
    // After the last of it comes `finished`, with a deadline of its own.
    if (!this.#isSaid) owner.touch()
    return !owner.outlet.isFull()
  }

  pauseRequest(): void {
    if (!this.#owner.isRequestDone) this.#conn.stream.pause()
  }
  resumeRequest(): void {
    const { isRequestDone, isOpen } = this.#owner
    if (!isRequestDone && isOpen && this.#conn.stream.isPaused()) this.#conn.stream.resume()
  }
  setIdleMs(ms: number): void {
    this.#owner.setIdleMs(ms)
  }

  takeOver(head: ResponseHead): { readonly stream: Duplex; readonly rest: Buffer | undefined } {
    const upgrade = head.status === 101 ? this.#upgrade : undefined
    const more = upgrade === undefined ? '' : `connection: upgrade\r\nupgrade: ${upgrade}\r\n`
    this.#out.text(this.#format(head, more))
    this.#conn.sentBytes += this.#out.flush()
    return this.#owner.handOver()
  }
  finished(error: MeshError | undefined): void {
    this.#owner.finished(error)
  }
}
