/** A rate limit service is asked about a request; whatever goes wrong is an answer, too. */
import { doNothing } from '../../../../core/defects/guard.ts'
import type { GrpcAuthService } from '../../../../model/http/ext-authz.ts'
import { readUnary } from '../../grpc-unary.ts'
import type { HttpRuntime } from '../../runtime.ts'
import { ServiceQuestion, type FramedQuestion, type ServiceAnswer } from '../../service-question.ts'
import { readLimitAnswer, type LimitAnswer } from './service.ts'

type Owner = { readonly source: string; readonly client: { readonly conn: { readonly id: string } } }
type Asked = { readonly service: GrpcAuthService; readonly question: FramedQuestion }

export class AskingLimit {
  readonly #rt: HttpRuntime
  readonly #owner: Owner
  readonly #service: GrpcAuthService
  readonly #question: ServiceQuestion
  readonly #done: (answer: LimitAnswer) => void

  constructor(rt: HttpRuntime, owner: Owner, { service, question }: Asked, done: (answer: LimitAnswer) => void) {
    this.#rt = rt
    this.#owner = owner
    this.#service = service
    this.#done = done
    this.#question = new ServiceQuestion(rt, { source: owner.source, service, question }, (answer) => this.#end(answer))
  }

  start(): void {
    this.#question.start()
  }
  bodyGrew(): void {
    doNothing()
  }
  /** Nobody waits for the answer any more. */
  cancel(): void {
    this.#question.cancel()
  }

  #end(said: ServiceAnswer): void {
    const answer = said.kind === 'answered' ? readUnary(said.answer, readLimitAnswer) : said
    if (answer.kind === 'error')
      this.#rt.ctx.log.warn(
        {
          evt: 'http.rate-limit',
          conn: this.#owner.client.conn.id,
          cluster: this.#service.cluster,
          why: answer.why,
        },
        'a rate limit service could not be asked',
      )
    this.#done(answer)
  }
}
