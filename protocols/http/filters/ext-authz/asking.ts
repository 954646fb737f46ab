/**
 * One question to an authorization service, from as much of the request's body as it is to have to its answer. It has a
 * time and a size; whatever goes wrong is a verdict, too.
 */
import type { MeshError } from '../../../../core/errors.ts'
import type { AuthBody } from '../../../../model/http/ext-authz.ts'
import type { ReplayBuffer } from '../../exchange/replay-buffer.ts'
import type { RequestOrigin } from '../../exchange/request-origin.ts'
import type { WaitPlan } from '../../exchange/planning/plan.ts'
import { readUnary } from '../../grpc-unary.ts'
import type { Downstream, RequestHead } from '../../message.ts'
import type { OwnAnswer } from '../../own-call.ts'
import type { HttpRuntime } from '../../runtime.ts'
import { ServiceQuestion } from '../../service-question.ts'
import { isTextRequest } from '../bodies/body-filter.ts'
import { decodeTextBody } from '../bodies/grpc-web.ts'
import { makeGrpcQuestion, readGrpcAnswer } from './grpc-service.ts'
import { readCertificate } from './certificate.ts'
import { makeHttpQuestion, readHttpAnswer, type SentBody } from './http-service.ts'
import { findBadChange, findImpossible, type Verdict } from './verdict.ts'

/** The exchange, as its question sees it. */
export interface AskOwner {
  readonly source: string
  readonly request: RequestHead
  readonly client: RequestOrigin
  readonly body: ReplayBuffer
  readonly down: Downstream
  readonly remoteIp: string
  abort(error: MeshError): void
}

export class Asking {
  readonly #rt: HttpRuntime
  readonly #owner: AskOwner
  readonly #plan: WaitPlan
  readonly #done: (verdict: Verdict) => void
  #state: 'gathering' | 'asking' | 'over' = 'gathering'
  #question: ServiceQuestion | undefined

  constructor(rt: HttpRuntime, owner: AskOwner, plan: WaitPlan, done: (verdict: Verdict) => void) {
    this.#rt = rt
    this.#owner = owner
    this.#plan = plan
    this.#done = done
  }

  start(): void {
    const { request, body, down } = this.#owner
    const settings = this.#wantsBody()
    if (settings) {
      // One byte more shows that it is too large.
      body.raise(settings.maxBytes + 1)
      if (request.expectContinue) down.sendContinue()
    }
    this.bodyGrew()
  }

  /** More of it has come, or its end. */
  bodyGrew(): void {
    if (this.#state !== 'gathering') return
    const { request, body } = this.#owner
    const settings = this.#wantsBody()
    if (settings) {
      const isTooLarge = Math.max(body.bytes, request.bodyLength) > settings.maxBytes
      if (isTooLarge && !settings.partial) {
        this.#end({ kind: 'too-large' })
        return
      }
      if (!body.ended && !(settings.partial && body.bytes >= settings.maxBytes)) return
    }
    this.#ask(settings)
  }

  #wantsBody(): AuthBody | undefined {
    const { request } = this.#owner
    return request.bodyLength === 0 || request.upgrade !== undefined || request.method === 'CONNECT'
      ? undefined
      : this.#plan.authBody
  }

  #ask(settings: AuthBody | undefined): void {
    this.#state = 'asking'
    const { request, body, client, remoteIp } = this.#owner
    const { authz, context, bodies } = this.#plan
    const { service } = authz
    const come = Buffer.concat(settings ? body.chunks : [])
    // As the endpoint gets it, where a filter before this one decodes it.
    const bytes = isTextRequest(bodies) ? decodeTextBody(come) : come
    if (!bytes) {
      this.#fail('a gRPC-Web request whose text is no base64')
      return
    }
    const sent: SentBody = settings && {
      bytes: bytes.subarray(0, settings.maxBytes),
      isPartial: !body.ended || body.bytes > settings.maxBytes,
    }
    const question =
      service.kind === 'http'
        ? { head: makeHttpQuestion(request, sent, authz, service), bytes: sent?.bytes ?? NOTHING }
        : makeGrpcQuestion(authz, {
            request,
            body: sent,
            asBytes: settings?.asBytes ?? false,
            client: client.facts(remoteIp),
            clientPort: client.conn.remote.port,
            ownPrincipal: client.ownPrincipal,
            certificate: authz.sendsCertificate ? readCertificate(client.conn) : undefined,
            startedMs: this.#rt.ctx.clock.wallMs(),
            context,
          })
    // Who cannot be asked for want of memory does not pass where a service may fail.
    const giveUp = (error: MeshError): void => this.#owner.abort(error)
    const asked = { source: this.#owner.source, service, question, giveUp }
    this.#question = new ServiceQuestion(this.#rt, asked, (said) => {
      this.#end(said.kind === 'answered' ? this.#read(said.answer) : said)
    })
    this.#question.start()
  }

  /** Nobody waits for the answer any more. */
  cancel(): void {
    if (this.#state === 'over') return
    this.#state = 'over'
    this.#question?.cancel()
  }

  #end(verdict: Verdict): void {
    if (this.#state === 'over') return
    this.cancel()
    const bad = this.#plan.authz.validates ? findBadChange(verdict) : findImpossible(verdict)
    const said: Verdict =
      bad === undefined ? verdict : { kind: 'invalid', why: `the service wants to change ${bad.slice(0, 64)}` }
    const { metrics, ctx } = this.#rt
    metrics.extAuthz[said.kind].value++
    const { client } = this.#owner
    if (said.kind === 'error' || said.kind === 'invalid')
      ctx.log.warn(
        { evt: 'http.ext-authz', conn: client.conn.id, cluster: this.#plan.authz.service.cluster, why: said.why },
        said.kind === 'error'
          ? 'an authorization service could not be asked'
          : 'what an authorization service wants cannot be done',
      )
    this.#done(said)
  }
  #fail(why: string): void {
    this.#end({ kind: 'error', why })
  }

  #read(answer: OwnAnswer): Verdict {
    const { service } = this.#plan.authz
    if (service.kind === 'grpc') return readUnary(answer, readGrpcAnswer)
    const { head, bytes } = answer
    return readHttpAnswer(head.status, head.headers, bytes, service)
  }
}
const NOTHING = Buffer.alloc(0)
