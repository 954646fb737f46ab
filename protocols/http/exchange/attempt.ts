/**
 * One try to send an exchange to one host, from waiting for a connection to the end of the answer. It carries bytes
 * between the client's codec and the endpoint's. The exchange decides what an answer or a failure means.
 */
import type { Duplex } from 'node:stream'
import type { MeshError } from '../../../core/errors.ts'
import type { Cluster, Endpoint } from '../../../model/cluster.ts'
import type {
  CallEvents,
  Downstream,
  HttpCall,
  PendingCall,
  RequestHead,
  ResponseHead,
  Sent,
  UpstreamRequest,
} from '../message.ts'
import type { HttpRuntime } from '../runtime.ts'
import { findPlacement } from '../filters/hash.ts'
import type { ForwardPlan } from './planning/plan.ts'
import type { ExchangeRecord } from './record.ts'
import type { ReplayBuffer } from './replay-buffer.ts'
import type { RequestOrigin } from './request-origin.ts'

/** The exchange, as its attempt sees it. The attempt is over before onMoved, onEnd, onUpgraded or onFailed is called. */
export interface AttemptOwner {
  /** Address of the client. */
  readonly source: string
  readonly client: RequestOrigin
  readonly request: RequestHead
  /** The client's address as trusted hops tell it. */
  readonly remoteIp: string
  readonly record: ExchangeRecord
  readonly body: ReplayBuffer
  readonly down: Downstream
  /** The client has been sent the head of an answer, and not its end. */
  readonly isAnswering: boolean
  /** Headers as the route wants them for this attempt. */
  requestToSend(): UpstreamRequest
  onPicked(endpoint: Endpoint): void
  onMoved(): void
  /** The connection was given the head, and as much of the body as has come. */
  onSending(): void
  onInformational(head: ResponseHead): void
  onHead(head: ResponseHead, end: boolean): void
  onEnd(trailers: readonly string[] | undefined): void
  onUpgraded(head: ResponseHead, stream: Duplex, rest: Buffer | undefined): void
  onFailed(error: MeshError, sent: Sent, reused: boolean): void
}

const HASHING: ReadonlySet<Cluster['balancer']['kind']> = new Set(['ring-hash', 'maglev'])

export class Attempt implements CallEvents {
  readonly #owner: AttemptOwner
  #state: 'connecting' | 'open' | 'over' = 'connecting'
  /** While connecting. */
  #pending: PendingCall | undefined
  /** While open. */
  #call: HttpCall | undefined
  /** How much of the request the connection was given. */
  sent: Sent = 'nothing'

  constructor(owner: AttemptOwner) {
    this.#owner = owner
  }

  get source(): string {
    return this.#owner.source
  }
  get isOpen(): boolean {
    return this.#state === 'open'
  }

  /**
   * @param fresh not on a connection from the pool
   * @param tried hosts that were tried before
   */
  start({ upstreams }: HttpRuntime, plan: ForwardPlan, fresh: boolean, tried: readonly Endpoint[] | undefined): void {
    const { client, request } = this.#owner
    const pending = upstreams.startCall(
      plan.cluster,
      {
        source: client.source,
        speaks: request.version === 'HTTP/2' ? 'http2' : 'http1',
        fresh,
        host: plan.authority,
        originalDst: client.conn.originalDst,
        client: client.conn,
        hash: this.#hash(plan),
        // As Envoy: another attempt may go elsewhere.
        wanted:
          plan.session?.address !== undefined && !tried?.length && this.#owner.record.tries === 1
            ? { address: plan.session.address, isStrict: plan.session.settings.isStrict }
            : undefined,
        avoid: plan.retry?.avoidPreviousHosts ? tried : undefined,
        maxHostPicks: plan.retry?.maxHostPicks ?? 0,
        triedPriorities:
          tried && plan.retry?.avoidPreviousPriorities
            ? { hosts: tried, every: plan.retry.avoidPreviousPriorities }
            : undefined,
      },
      this,
    )
    // The call may have been opened, and may have failed, before startCall returned.
    if (this.#state === 'connecting') this.#pending = pending
  }

  #hash({ action, cluster }: ForwardPlan): bigint | undefined {
    if (action.hash.length === 0 || !HASHING.has(cluster.balancer.kind)) return undefined
    const { request, remoteIp, client, record } = this.#owner
    const { remote, local } = client.conn
    // Once for all attempts: the cookie that the answer brings is the one that placed them.
    record.placement ??= findPlacement(action.hash, {
      header: (name) => request.header(name),
      values: (name) => request.values(name),
      path: request.path,
      remoteIp,
      connection: `${remote.host}:${remote.port}${local.host}:${local.port}`,
    })
    return record.placement.hash
  }

  /** Gives the attempt up. Nothing more is told to the exchange. */
  cancel(): void {
    const pending = this.#pending
    const call = this.#call
    this.#over()
    call?.cancel()
    pending?.cancel()
  }

  #over(): void {
    this.#state = 'over'
    this.#pending = undefined
    this.#call = undefined
  }

  /* The request. Only while open. */

  sendData(chunk: Buffer): void {
    const { body, down } = this.#owner
    const call = this.#call!
    call.sendData(chunk)
    body.passed()
    if (!call.flush()) down.pauseRequest()
  }

  sendEnd(trailers: readonly string[] | undefined): void {
    const call = this.#call!
    call.sendEnd(trailers)
    this.sent = 'all'
    this.#owner.record.sentMs = this.#owner.record.stopwatch?.monotonicMs()
    call.flush()
  }

  resumeResponse(): void {
    this.#call?.resumeResponse()
  }

  /* From the client codec. */

  onCallPicked(endpoint: Endpoint): void {
    const { record } = this.#owner
    record.pickedMs = record.stopwatch?.monotonicMs()
    this.#owner.onPicked(endpoint)
  }

  onCallMoved(): void {
    this.#over()
    this.#owner.onMoved()
  }

  onCall(call: HttpCall): void {
    this.#state = 'open'
    this.#pending = undefined
    this.#call = call
    const owner = this.#owner
    const { body, down } = owner
    const { record } = owner
    record.upstream = call.certificates
    record.upstreamLocal = call.local
    record.upstreamProtocol = call.version
    record.callMs = record.stopwatch?.monotonicMs()
    const request = owner.requestToSend()
    const isBodiless = request.bodyLength === 0
    call.sendHead(request, isBodiless)
    for (const chunk of body.chunks) call.sendData(chunk)
    body.passed()
    if (body.ended && !isBodiless) call.sendEnd(body.trailers)
    this.sent = isBodiless || body.ended ? 'all' : 'part'
    if (this.sent === 'all') record.sentMs = record.callMs
    owner.onSending()
    if (call.flush() && !body.ended) down.resumeRequest()
  }

  onCallInformational(head: ResponseHead): void {
    this.#owner.onInformational(head)
  }

  onCallHead(head: ResponseHead, end: boolean): void {
    this.#owner.onHead(head, end)
  }

  onCallData(chunk: Buffer): void {
    const { record, down } = this.#owner
    record.sentBytes += chunk.length
    record.messages?.responses.add(chunk)
    down.sendData(chunk)
  }

  onCallEnd(trailers: readonly string[] | undefined): void {
    this.#over()
    const { record } = this.#owner
    record.answerEndMs = record.stopwatch?.monotonicMs()
    if (trailers) record.trailers = trailers
    this.#owner.onEnd(trailers)
  }

  onCallPause(): void {
    const { isAnswering, down } = this.#owner
    if (isAnswering && !down.flush()) this.#call?.pauseResponse()
  }

  onCallDrained(): void {
    const { body, down } = this.#owner
    if (!body.ended) down.resumeRequest()
  }

  onCallUpgraded(head: ResponseHead, stream: Duplex, rest: Buffer | undefined): void {
    this.#over()
    this.#owner.onUpgraded(head, stream, rest)
  }

  onCallFailed(error: MeshError, sent: Sent, reused = false): void {
    this.#over()
    this.#owner.onFailed(error, sent, reused)
  }
}
