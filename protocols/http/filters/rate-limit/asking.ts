/** A rate limit service is asked about a request. It has a time; whatever goes wrong is an answer, too. */
import { doNothing, guard } from '../../../../core/defects/guard.ts'
import type { Timer } from '../../../../core/os/clock.ts'
import type { GrpcAuthService } from '../../../../model/http/ext-authz.ts'
import { OwnCall, type OwnCallEnd } from '../../own-call.ts'
import type { HttpRuntime } from '../../runtime.ts'
import { findHeaderValue } from '../header-edit.ts'
import { readLimitAnswer, type LimitAnswer, type LimitQuestion } from './service.ts'

const MAX_ANSWER_BYTES = 64 * 1024

type Owner = { readonly source: string; readonly client: { readonly conn: { readonly id: string } } }
type Asked = { readonly service: GrpcAuthService; readonly question: LimitQuestion }

export class AskingLimit {
  readonly #rt: HttpRuntime
  readonly #owner: Owner
  readonly #asked: Asked
  readonly #done: (answer: LimitAnswer) => void
  #timer: Timer | undefined
  #call: OwnCall | undefined
  #hasAskedAnew = false
  #isOver = false

  constructor(rt: HttpRuntime, owner: Owner, asked: Asked, done: (answer: LimitAnswer) => void) {
    this.#rt = rt
    this.#owner = owner
    this.#asked = asked
    this.#done = done
  }

  start(): void {
    const { timeoutMs } = this.#asked.service
    const late = (): void => this.#fail(`the service gave no answer within ${timeoutMs} ms`)
    this.#timer = this.#rt.ctx.clock.after(
      timeoutMs,
      guard('exchange', (error) => this.#fail(error.message), late),
    )
    this.#startCall(false)
  }
  bodyGrew(): void {
    doNothing()
  }
  /** Nobody waits for the answer any more. */
  cancel(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#timer?.cancel()
    this.#call?.cancel()
  }

  #startCall(fresh: boolean): void {
    const { ctx, upstreams } = this.#rt
    const { service, question } = this.#asked
    const cluster = ctx.tables.get().cluster(service.cluster)
    if (!cluster) {
      this.#fail(`the service's cluster ${service.cluster} is unknown`)
      return
    }
    const options = { speaks: 'http2', fresh, host: service.authority, maxHostPicks: 0, ...KEPT } as const
    const request = { head: question.head, body: [question.bytes] }
    this.#call = new OwnCall(this.#owner.source, request, options, { onOver: (end) => this.#callOver(end) })
    this.#call.start(upstreams, ctx.clock, cluster)
  }

  #callOver(end: OwnCallEnd): void {
    switch (end.kind) {
      case 'answered': {
        const { head, bytes, trailers } = end.answer
        if (head.status !== 200) this.#fail(`the service answered with ${head.status}`)
        else {
          const status = findHeaderValue(trailers ?? [], 'grpc-status') ?? findHeaderValue(head.headers, 'grpc-status')
          this.#end(readLimitAnswer(bytes, status))
        }
        return
      }
      case 'moved':
        this.#startCall(true)
        return
      case 'failed':
        // The connection had been closed: a question that was counted after all counts twice, which is stricter.
        if (end.mayRepeat && !this.#hasAskedAnew) {
          this.#hasAskedAnew = true
          this.#startCall(true)
        } else this.#fail(end.error.message)
        return
      case 'too-large':
        this.#fail(`the answer of the service is larger than ${MAX_ANSWER_BYTES} bytes`)
        return
      case 'upgraded':
        this.#fail('the service switched protocols without being asked')
        return
      case 'late':
        // Not told: the time is the question's own.
        return
      default:
        end satisfies never
    }
  }

  #fail(why: string): void {
    this.#end({ kind: 'error', why })
  }
  #end(answer: LimitAnswer): void {
    if (this.#isOver) return
    this.cancel()
    if (answer.kind === 'error') {
      const { conn } = this.#owner.client
      const { cluster } = this.#asked.service
      this.#rt.ctx.log.warn(
        { evt: 'http.rate-limit', conn: conn.id, cluster, why: answer.why },
        'a rate limit service could not be asked',
      )
    }
    this.#done(answer)
  }
}
const KEPT = { maxAnswerBytes: MAX_ANSWER_BYTES, keepsAnswer: true }
