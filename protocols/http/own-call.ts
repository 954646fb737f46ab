/** One request of our own, whole when it begins, through a cluster of the mesh. It is over once, whatever happens. */
import type { Duplex } from 'node:stream'
import type { MeshError } from '../../core/errors.ts'
import { doNothing, guard } from '../../core/defects/guard.ts'
import type { Clock, Timer } from '../../core/os/clock.ts'
import type { Cluster } from '../../model/cluster.ts'
import type {
  CallEvents,
  CallOptions,
  HttpCall,
  HttpUpstreams,
  PendingCall,
  ResponseHead,
  Sent,
  UpstreamRequest,
} from './message.ts'

export type OwnRequest = {
  readonly head: UpstreamRequest
  readonly body: readonly Buffer[]
  readonly trailers?: readonly string[] | undefined
}
export type OwnAnswer = {
  readonly head: ResponseHead
  /** Empty where the answer is not kept. */
  readonly bytes: Buffer
  readonly trailers: readonly string[] | undefined
}
export type OwnCallEnd =
  | { readonly kind: 'answered'; readonly answer: OwnAnswer }
  /** `mayRepeat`: the connection came from the pool and had been closed. */
  | { readonly kind: 'failed'; readonly error: MeshError; readonly mayRepeat: boolean }
  /** The cluster was replaced while the call waited: nothing of it was sent. */
  | { readonly kind: 'moved' }
  /** `timeoutMs` is over. */
  | { readonly kind: 'late' }
  /** The answer is larger than `maxAnswerBytes`. */
  | { readonly kind: 'too-large' }
  /** The endpoint switched protocols without being asked. */
  | { readonly kind: 'upgraded' }

export type OwnCallOptions = Omit<CallOptions, 'source'> & {
  /** Undefined: somebody else looks at the time. */
  readonly timeoutMs?: number
  readonly maxAnswerBytes: number
  readonly keepsAnswer: boolean
  /** Of it the beginning alone; left out: all. */
  readonly maxKeptBytes?: number
}
export type OwnCallEvents = {
  onSent?(): void
  /** So much of the answer is in memory. */
  onKept?(bytes: number): void
  onOver(end: OwnCallEnd): void
}

export class OwnCall implements CallEvents {
  readonly source: string
  readonly #request: OwnRequest
  readonly #options: OwnCallOptions
  readonly #events: OwnCallEvents
  #timer: Timer | undefined
  #pending: PendingCall | undefined
  #call: HttpCall | undefined
  #head: ResponseHead | undefined
  readonly #chunks: Buffer[] = []
  #bytes = 0
  #isOver = false

  /** @param source whose doing it is; '' = our own */
  constructor(source: string, request: OwnRequest, options: OwnCallOptions, events: OwnCallEvents) {
    this.source = source
    this.#request = request
    this.#options = options
    this.#events = events
  }

  start(upstreams: Pick<HttpUpstreams, 'startCall'>, clock: Clock, cluster: Cluster): void {
    const { timeoutMs, maxAnswerBytes: _, keepsAnswer: __, maxKeptBytes: ___, ...options } = this.#options
    if (timeoutMs !== undefined)
      this.#timer = clock.after(
        timeoutMs,
        guard(
          'upstream',
          (error) => this.#giveUp({ kind: 'failed', error, mayRepeat: false }),
          () => this.#giveUp({ kind: 'late' }),
        ),
      )
    const pending = upstreams.startCall(cluster, { ...options, source: this.source }, this)
    // The call may have been opened, and may have failed, before startCall returned.
    if (!this.#isOver && !this.#call) this.#pending = pending
  }

  /** Nobody waits for it any more; nothing more is told. */
  cancel(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#timer?.cancel()
    const [call, pending] = [this.#call, this.#pending]
    this.#call = undefined
    this.#pending = undefined
    call?.cancel()
    pending?.cancel()
  }
  #giveUp(end: OwnCallEnd): void {
    if (this.#isOver) return
    this.cancel()
    this.#events.onOver(end)
  }
  /** The call is over by itself: there is nothing to cancel. */
  #end(end: OwnCallEnd): void {
    this.#call = undefined
    this.#pending = undefined
    this.#giveUp(end)
  }

  onCallPicked(): void {
    doNothing()
  }
  onCallMoved(): void {
    this.#end({ kind: 'moved' })
  }
  onCall(call: HttpCall): void {
    this.#pending = undefined
    this.#call = call
    const { head, body, trailers } = this.#request
    const isBodiless = body.length === 0 && !trailers
    call.sendHead(head, isBodiless)
    for (const chunk of body) call.sendData(chunk)
    if (!isBodiless) call.sendEnd(trailers)
    this.#events.onSent?.()
    call.flush()
  }
  onCallInformational(): void {
    doNothing()
  }
  onCallHead(head: ResponseHead): void {
    this.#head = head
  }
  onCallData(chunk: Buffer): void {
    const { maxAnswerBytes, keepsAnswer, maxKeptBytes = Infinity } = this.#options
    const room = maxKeptBytes - this.#bytes
    this.#bytes += chunk.length
    if (this.#bytes > maxAnswerBytes) this.#giveUp({ kind: 'too-large' })
    else if (keepsAnswer && room > 0) {
      this.#chunks.push(Buffer.from(chunk.subarray(0, room)))
      this.#events.onKept?.(Math.min(this.#bytes, maxKeptBytes))
    }
  }
  onCallEnd(trailers: readonly string[] | undefined): void {
    this.#end({ kind: 'answered', answer: { head: this.#head!, bytes: Buffer.concat(this.#chunks), trailers } })
  }
  onCallPause(): void {
    doNothing()
  }
  onCallDrained(): void {
    doNothing()
  }
  onCallUpgraded(_head: ResponseHead, stream: Duplex): void {
    stream.destroy()
    this.#end({ kind: 'upgraded' })
  }
  onCallFailed(error: MeshError, _sent: Sent, reused = false): void {
    this.#end({ kind: 'failed', error, mayRepeat: reused && this.#bytes === 0 })
  }
}
