/** One device on the relay: its WebSocket, and what its streams are for. */
import { fromBinary, toBinary } from '@bufbuild/protobuf'
import type { WebSocket } from 'ws'
import { detach, guard } from '../../core/defects/guard.ts'
import { MeshError, toMeshError } from '../../core/errors.ts'
import { packMessage } from '../../core/relay/compression.ts'
import type { Kind } from '../../core/relay/kinds.ts'
import { Mux } from '../../core/relay/mux.ts'
import { toPort } from '../../core/relay/port.ts'
import type { RelayStream } from '../../core/relay/stream.ts'
import { STREAM_FLAGS } from '../../proto/relay/xds.ts'
import { IstioCertificateRequestSchema, IstioCertificateResponseSchema } from '../../proto/gen/istio/v1/auth/ca_pb.ts'
import { AdsStream, type AdsOptions } from '../api/ads/stream.ts'
import { checkCaller, describeHolder, type Caller, type Credentials } from '../api/authenticate.ts'
import { answerCertificateRequest, reportCertificateRefused } from '../api/certificate-messages.ts'
import type { CertificateService } from '../api/certificate-service.ts'
import type { ReportIntake } from '../reports/intake.ts'
import { ReportReceiver, type NamedNode } from '../reports/receiver.ts'
import { REPORT_LIMITS } from '../../model/fleet/report.ts'
import { RelayCall } from './ads-call.ts'
import { createRelayConversation } from './conversation.ts'
import type { HeldBytes } from './held-bytes.ts'
import type { History } from './history.ts'

export type RelaySessionOptions = {
  readonly ads: AdsOptions
  readonly certificates: CertificateService
  readonly history: History
  readonly held: HeldBytes
  readonly maxRequestBytes: number
  readonly intake: ReportIntake
  /** Of the device's key. Rejects: the stream is reset with it */
  readonly answerRequest: (jws: string) => Promise<Uint8Array>
}
/** Whose connection it is, as it was when it began. */
export type RelayPeer = {
  readonly credentials: Credentials
  readonly caller: Caller
  /** Of the registry, before the caller was let in. */
  readonly revision: string | undefined
  readonly ip: string
  /** Address and port. */
  readonly address: string
  readonly withDictionary: boolean
  /** For so long it may be silent before its next ping. */
  readonly silenceMs: number
}

/** Streams that one device may have open. */
const MAX_STREAMS = 16
/** Each is asked for who it is: one who opens and resets them in a loop must not keep the hub from all others. */
const OPENED_WINDOW = { ms: 60_000, streams: 64 }
/** A ping is late by what the link takes; then the device is gone. */
const LATE_MS = 30_000
/** Longer than any device waits. */
export const MAX_SILENCE_MS = 2 * 3_600_000
/** For the device's own word of goodbye. */
const CLOSE_MS = 400
/** RFC 6455 §7.4.1: policy violation; the reason is the code of the error. */
const CLOSE_CODE = 1008

export class RelaySession implements Disposable {
  readonly #websocket: WebSocket
  readonly #peer: RelayPeer
  readonly #o: RelaySessionOptions
  readonly #mux: Mux
  readonly #owned = new DisposableStack()
  readonly #receiver: ReportReceiver
  /** Why it is over. */
  #reason: MeshError | undefined
  #goneAtMs: number
  #opened = { sinceMs: 0, streams: 0 }

  constructor(websocket: WebSocket, peer: RelayPeer, options: RelaySessionOptions) {
    this.#websocket = websocket
    this.#peer = peer
    this.#o = options
    const { watcher, registry, clock } = options.ads
    this.#receiver = this.#createReceiver()
    const holder = describeHolder(peer.caller)
    this.#mux = new Mux({
      side: 'hub',
      part: 'hub',
      port: toPort(websocket, 'hub'),
      maxMessageBytes: (kind) => (kind === 'report' ? REPORT_LIMITS.bytes : options.maxRequestBytes),
      maxStreams: MAX_STREAMS,
      onStream: (stream, head) => this.#accept(stream, head),
      held: (change) => options.held.add(holder, change),
    })
    this.#goneAtMs = clock.monotonicMs() + peer.silenceMs + LATE_MS
    const check = (what: 'end' | 'all'): Promise<void> => checkCaller(peer.caller, what, { registry, clock })
    this.#owned.use(watcher.enter({ check, end: (reason) => this.end(reason) }, peer.revision))
    this.#listen()
  }

  /** False: nothing came for longer than the device has said. */
  isThere(nowMs: number): boolean {
    return nowMs < this.#goneAtMs
  }

  /** Of the nodes whose configuration goes over it. */
  get nodeNames(): readonly string[] {
    return this.#receiver.nodeNames
  }
  open(kind: Kind, head?: Uint8Array): RelayStream {
    return this.#mux.open(kind, head)
  }

  /** Tells the device why. */
  end(reason: MeshError): void {
    if (this.#owned.disposed) return
    this.#close(reason)
    this.#websocket.close(CLOSE_CODE, reason.code)
    // Who does not answer keeps nothing.
    this.#o.ads.clock.after(CLOSE_MS, () => this.#websocket.terminate())
  }
  /** The device is not there any more. */
  terminate(): void {
    this.#close(new MeshError('MESH_CONTROL_UNREACHABLE', 'the device is silent'))
    this.#websocket.terminate()
  }
  [Symbol.dispose](): void {
    this.end(new MeshError('MESH_DRAINING', 'the hub is stopping'))
  }

  #listen(): void {
    const broken = (): void => this.terminate()
    this.#websocket.on(
      'message',
      guard('hub', broken, (data: Buffer) => {
        if (this.#owned.disposed) return
        try {
          this.#mux.receive(data)
          this.#heard()
        } catch (thrown) {
          this.end(toMeshError(thrown))
        }
      }),
    )
    this.#websocket.on(
      'ping',
      guard('hub', broken, (said: Buffer) => this.#heard(Number(said.toString('latin1')))),
    )
    this.#websocket.on('error', guard('hub', broken, broken))
    this.#websocket.on(
      'close',
      guard('hub', broken, () => this.#close(new MeshError('MESH_CONTROL_UNREACHABLE', 'the connection is closed'))),
    )
  }

  /** @param silenceMs until the next ping, as the device says */
  #heard(silenceMs = this.#peer.silenceMs): void {
    const nowMs = this.#o.ads.clock.monotonicMs()
    const waitMs = Number.isFinite(silenceMs) ? Math.min(Math.max(0, silenceMs), MAX_SILENCE_MS) : MAX_SILENCE_MS
    this.#goneAtMs = Math.max(this.#goneAtMs, nowMs + waitMs + LATE_MS)
  }

  #accept(stream: RelayStream, head: Uint8Array): void {
    this.#countOpened()
    switch (stream.kind) {
      case 'configuration':
        this.#configure(stream, (head[0] ?? 0) === STREAM_FLAGS.whole)
        return
      case 'certificate':
        this.#answerOnce(stream, (message) => this.#certify(message))
        return
      case 'request':
        this.#answerOnce(stream, (message) => this.#answerRequest(message))
        return
      case 'report':
        this.#receiver.accept(stream)
        return
      case 'command':
      case 'tunnel':
        throw new MeshError('MESH_CONTROL_PROTOCOL', `a device opens no stream for a ${stream.kind}`)
    }
  }

  #createReceiver(): ReportReceiver {
    const { ads, intake } = this.#o
    const holder = describeHolder(this.#peer.caller)
    return new ReportReceiver({
      take: (name, report, expected) => intake.take(name, report, expected),
      admit: () => ads.budgets.report(holder),
      refused: (reason) => intake.refused({ ip: this.#peer.ip, holder }, reason),
    })
  }

  /** Throws MESH_CONTROL_SLOW_DOWN, which ends the connection: the next costs the device a handshake, too. */
  #countOpened(): void {
    const { clock, budgets } = this.#o.ads
    const nowMs = clock.monotonicMs()
    if (nowMs - this.#opened.sinceMs >= OPENED_WINDOW.ms) this.#opened = { sinceMs: nowMs, streams: 0 }
    if (++this.#opened.streams <= OPENED_WINDOW.streams) return
    budgets.exceeded('relay-streams')
    const reason = new MeshError(
      'MESH_CONTROL_SLOW_DOWN',
      `more than ${OPENED_WINDOW.streams} streams within ${OPENED_WINDOW.ms / 1_000} s`,
    )
    this.end(reason)
    throw reason
  }

  #configure(stream: RelayStream, whole: boolean): void {
    const { ads, history, maxRequestBytes } = this.#o
    const bytes = ads.metrics
      .counter('mesh_hub_relay_sent_bytes_total', 'Bytes of configuration that the hub sent over the relay.')
      .cell({})
    const call = new RelayCall({
      stream,
      withDictionary: this.#peer.withDictionary,
      maxRequestBytes,
      onSent: (length) => {
        bytes.value += length
      },
    })
    const { credentials, ip, address } = this.#peer
    const peer = {
      credentials,
      ip,
      address,
      fail: (reason: MeshError) => call.fail(reason),
      over: 'the relay',
      enter: (node: NamedNode) => this.#receiver.enter(node),
      endReason: () => this.#reason?.message,
    }
    new AdsStream(call, createRelayConversation(history, { whole }), peer, ads)
  }

  /** A stream is for one question. */
  #answerOnce(stream: RelayStream, answer: (message: Uint8Array) => Promise<Uint8Array>): void {
    let isAsked = false
    const onMessage = (message: Uint8Array): void => {
      if (isAsked) {
        stream.reset(new MeshError('MESH_CONTROL_PROTOCOL', `a stream is for one ${stream.kind}`))
        return
      }
      isAsked = true
      detach(
        'hub',
        this.#answer(stream, () => answer(message)),
      )
    }
    stream.listen({ onMessage })
  }

  async #answer(stream: RelayStream, answer: () => Promise<Uint8Array>): Promise<void> {
    try {
      // Nobody would learn of a certificate that counts against the token.
      if (stream.isOver) throw new MeshError('MESH_CONTROL_UNREACHABLE', 'the device has gone')
      stream.send(await answer())
      stream.end()
    } catch (thrown) {
      const reason = toMeshError(thrown)
      reportCertificateRefused(this.#o.ads, this.#peer.ip, reason)
      stream.reset(reason)
    }
  }

  async #certify(message: Uint8Array): Promise<Uint8Array> {
    const { certificates, ads } = this.#o
    const request = parseRequest(message)
    // As it is now: a certificate may have been revoked since the connection began.
    const caller = await ads.authenticate(this.#peer.credentials)
    // Outside of its chain of renewals a copy of it would not be found.
    if (caller.by === 'key')
      throw new MeshError('MESH_CONTROL_FORBIDDEN', 'the device has a key of its own and renews by it')
    if (this.#owned.disposed) throw new MeshError('MESH_CONTROL_UNREACHABLE', 'the device has gone')
    const response = await answerCertificateRequest(certificates, caller, request, this.#peer.ip)
    return toBinary(IstioCertificateResponseSchema, response)
  }

  async #answerRequest(message: Uint8Array): Promise<Uint8Array> {
    const answer = await this.#o.answerRequest(Buffer.from(message).toString('latin1'))
    return packMessage(answer, { withDictionary: this.#peer.withDictionary })
  }

  #close(reason: MeshError): void {
    if (this.#owned.disposed) return
    this.#reason = reason
    this.#owned.dispose()
    this.#mux.end(reason)
  }
}

function parseRequest(message: Uint8Array) {
  try {
    return fromBinary(IstioCertificateRequestSchema, message)
  } catch (cause) {
    throw new MeshError('MESH_MALFORMED_INPUT', 'the request for a certificate cannot be read', { cause })
  }
}
