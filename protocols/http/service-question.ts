/**
 * One question to a service of the mesh, as filters ask it about what they let pass. It has a time, and is asked once
 * more where a connection of the pool had been closed; whatever goes wrong is an answer in words.
 */
import { guard } from '../../core/defects/guard.ts'
import type { MeshError } from '../../core/errors.ts'
import type { Timer } from '../../core/os/clock.ts'
import type { AuthService } from '../../model/http/ext-authz.ts'
import type { Context } from '../context.ts'
import { getWaiting, type Hold } from '../waiting.ts'
import type { HttpUpstreams, UpstreamRequest } from './message.ts'
import { OwnCall, type OwnAnswer, type OwnCallEnd } from './own-call.ts'

/** Of an answer; a service says yes or no. */
const MAX_ANSWER_BYTES = 64 * 1024
/** Less of a question is not counted against the memory budget. */
const COUNTED_BYTES = 4 * 1024
const BOUNDS = { maxHostPicks: 0, maxAnswerBytes: MAX_ANSWER_BYTES, keepsAnswer: true } as const

export type FramedQuestion = { readonly head: UpstreamRequest; readonly bytes: Buffer }
export type NoAnswer = { readonly kind: 'error'; readonly why: string }
export type ServiceAnswer = { readonly kind: 'answered'; readonly answer: OwnAnswer } | NoAnswer

type Way = {
  readonly upstreams: HttpUpstreams
  readonly ctx: Pick<Context, 'clock' | 'tables' | 'metrics' | 'budget'>
}
type Asked = {
  /** Whose doing it is. */
  readonly source: string
  readonly service: Pick<AuthService, 'kind' | 'cluster' | 'authority' | 'timeoutMs'>
  readonly question: FramedQuestion
  /** Others need the memory. Left out: it counts as no answer. */
  readonly giveUp?: (error: MeshError) => void
}

export class ServiceQuestion {
  readonly #way: Way
  readonly #asked: Asked
  readonly #done: (answer: ServiceAnswer) => void
  #timer: Timer | undefined
  /** A question with a body is a copy of it, for as long as the service takes. */
  #hold: Hold | undefined
  #call: OwnCall | undefined
  #hasAskedAnew = false
  #isOver = false

  /** @param done called once, unless it is cancelled before */
  constructor(way: Way, asked: Asked, done: (answer: ServiceAnswer) => void) {
    this.#way = way
    this.#asked = asked
    this.#done = done
  }

  start(): void {
    const { source, service, question, giveUp } = this.#asked
    const { timeoutMs } = service
    const { length } = question.bytes
    if (length > COUNTED_BYTES) {
      this.#hold = getWaiting(this.#way.ctx).hold({
        client: source,
        giveUp: giveUp ?? ((error) => this.#fail(error.message)),
      })
      this.#hold.set(length)
    }
    const late = (): void => this.#fail(`the service gave no answer within ${timeoutMs} ms`)
    this.#timer = this.#way.ctx.clock.after(
      timeoutMs,
      guard('exchange', (error) => this.#fail(error.message), late),
    )
    this.#startCall(false)
  }
  /** Nobody waits for the answer any more. */
  cancel(): void {
    this.#isOver = true
    this.#hold?.set(0)
    this.#timer?.cancel()
    this.#call?.cancel()
  }

  #startCall(fresh: boolean): void {
    const { upstreams, ctx } = this.#way
    const { source, service, question } = this.#asked
    const cluster = ctx.tables.get().cluster(service.cluster)
    if (!cluster) {
      this.#fail(`the service's cluster ${service.cluster} is unknown`)
      return
    }
    const speaks = service.kind === 'grpc' ? 'http2' : 'http1'
    const options = { ...BOUNDS, speaks, fresh, host: service.authority } as const
    const request = { head: question.head, body: question.bytes.length === 0 ? [] : [question.bytes] }
    this.#call = new OwnCall(source, request, options, { onOver: (end) => this.#callOver(end) })
    this.#call.start(upstreams, ctx.clock, cluster)
  }

  #callOver(end: OwnCallEnd): void {
    switch (end.kind) {
      case 'answered':
        this.#end(end)
        return
      case 'moved':
        this.#startCall(false)
        return
      case 'failed':
        // A question may be asked twice: one that was counted after all counts twice, which is stricter.
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
        // Not told: the time is the question's own, whoever is tried.
        return
      default:
        end satisfies never
    }
  }

  #fail(why: string): void {
    this.#end({ kind: 'error', why })
  }
  #end(answer: ServiceAnswer): void {
    if (this.#isOver) return
    this.cancel()
    this.#done(answer)
  }
}
