/** One request of our own with a body, through a cluster of the mesh. */
import type { Clock, Timer } from '../../core/os/clock.ts'
import { MeshError } from '../../core/errors.ts'
import { guard } from '../../core/defects/guard.ts'
import type { Cluster } from '../../model/cluster.ts'
import type { Post } from '../telemetry/tracing/exporter.ts'
import { findFirstValue } from './filters/header-edit.ts'
import type { CallEvents, HttpCall, HttpUpstreams, PendingCall, ResponseHead } from './message.ts'

const TIMEOUT_MS = 10_000
/** Of an answer that nobody reads. */
const MAX_ANSWER_BYTES = 1024 * 1024

/** Rejects with the codes of HttpUpstreams.startCall, and MESH_UPSTREAM_TIMEOUT. */
export function createPost(upstreams: HttpUpstreams, clock: Clock): Post {
  return (cluster, request) =>
    new Promise((resolve, reject) => {
      new PostCall(request, { clock, resolve, reject }).start(upstreams, cluster)
    })
}

type Request = Parameters<Post>[1]
type Answer = Awaited<ReturnType<Post>>

class PostCall implements CallEvents {
  readonly #request: Request
  readonly #resolve: (answer: Answer) => void
  readonly #reject: (error: MeshError) => void
  readonly #timer: Timer
  #pending: PendingCall | undefined
  #call: HttpCall | undefined
  #status = 0
  #grpcStatus: string | undefined
  #receivedBytes = 0
  #isOver = false

  constructor(
    request: Request,
    o: {
      readonly clock: Clock
      readonly resolve: (answer: Answer) => void
      readonly reject: (error: MeshError) => void
    },
  ) {
    this.#request = request
    this.#resolve = o.resolve
    this.#reject = o.reject
    const late = (): void => this.#giveUp(new MeshError('MESH_UPSTREAM_TIMEOUT', `no answer within ${TIMEOUT_MS} ms`))
    this.#timer = o.clock.after(
      TIMEOUT_MS,
      guard('upstream', (error) => this.#giveUp(error), late),
    )
  }

  start(upstreams: HttpUpstreams, cluster: Cluster): void {
    const { speaks, authority } = this.#request
    const pending = upstreams.startCall(
      cluster,
      { source: '', speaks, fresh: false, host: authority, originalDst: undefined, maxHostPicks: 3 },
      this,
    )
    if (!this.#isOver) this.#pending = pending
  }

  onCallPicked(): void {
    /* nothing depends on it */
  }
  onCallMoved(): void {
    this.#end(new MeshError('MESH_UPSTREAM_RESET', 'the cluster was replaced'))
  }
  onCall(call: HttpCall): void {
    this.#pending = undefined
    this.#call = call
    const { authority, path, headers, body } = this.#request
    const method = 'POST'
    const more = { scheme: 'http', maybeTrailers: false, upgrade: undefined } as const
    call.sendHead({ method, authority, path, headers, bodyLength: body.length, ...more }, body.length === 0)
    call.sendData(body)
    call.sendEnd(undefined)
    call.flush()
  }
  onCallInformational(): void {
    /* nobody waits for one */
  }
  onCallHead(head: ResponseHead): void {
    this.#status = head.status
    this.#grpcStatus = findFirstValue(head.headers, 'grpc-status')
  }
  onCallData(chunk: Buffer): void {
    this.#receivedBytes += chunk.length
    if (this.#receivedBytes > MAX_ANSWER_BYTES)
      this.#giveUp(new MeshError('MESH_UPSTREAM_PROTOCOL', 'the answer is larger than any of that kind'))
  }
  onCallPause(): void {
    /* what has come is read already */
  }
  onCallDrained(): void {
    /* all is handed over at once */
  }
  onCallEnd(trailers: readonly string[] | undefined): void {
    this.#grpcStatus = (trailers && findFirstValue(trailers, 'grpc-status')) ?? this.#grpcStatus
    this.#end(undefined)
  }
  onCallUpgraded(_head: ResponseHead, stream: { destroy(): void }): void {
    stream.destroy()
    this.#end(new MeshError('MESH_UPSTREAM_PROTOCOL', 'the endpoint switched protocols without being asked'))
  }
  onCallFailed(error: MeshError): void {
    this.#end(error)
  }

  #giveUp(error: MeshError): void {
    if (this.#isOver) return
    const [call, pending] = [this.#call, this.#pending]
    this.#end(error)
    call?.cancel()
    pending?.cancel()
  }

  #end(error: MeshError | undefined): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#timer.cancel()
    this.#call = undefined
    this.#pending = undefined
    if (error) this.#reject(error)
    else this.#resolve({ status: this.#status, grpcStatus: this.#grpcStatus })
  }
}
