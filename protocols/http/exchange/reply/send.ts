/** Sends answers that meshlet gives itself, in the words of the listener. */
import type { MeshError } from '../../../../core/errors.ts'
import type { HttpConnectionManager } from '../../../../model/listener.ts'
import type { HeaderEdit } from '../../../../model/route.ts'
import type { SubstitutionFacts } from '../../../../model/substitution.ts'
import { readHttpManager } from '../../../codecs.ts'
import type { Connection } from '../../../connection.ts'
import type { Context } from '../../../context.ts'
import { isGrpc } from '../../../router.ts'
import { isGrpcWeb } from '../../filters/bodies/body-filter.ts'
import { editHeaders } from '../../filters/header-edit.ts'
import type { Downstream } from '../../message.ts'
import type { HttpRuntime } from '../../runtime.ts'
import { BrokenRequestFacts, RequestLogFacts } from '../log-facts.ts'
import { answerHead, editWithFacts, formatHttpDate, type HeaderFacts } from '../outgoing.ts'
import { formatFlags, reportBroken, type ExchangeRecord } from '../record.ts'
import type { Plan } from '../planning/plan.ts'
import { createErrorReply, toAnswer, type LocalAnswer, type LocalReply } from './reply.ts'
import { rewriteReply, type ReplyFacts } from './rewrite.ts'

/** An exchange that answers by itself. */
type Replying = HeaderFacts & {
  readonly http: Pick<HttpConnectionManager, 'serverName' | 'localReply'>
  readonly down: Downstream
}

/** Whole. The record has its error. */
export function sendLocalReply(reply: LocalReply, exchange: Replying, ctx: Context): void {
  const { request, record, http, down } = exchange
  const { plan } = record
  // Headers of the answer may say headers of the request, as filters have changed them.
  const changes = plan && listUnmade(plan, record)
  if (changes) editWithFacts(request.headers, changes, exchange, undefined, 0)
  let edits = plan?.responseEdits ?? []
  let said = reply
  // Envoy's filter of CORS sends the answer to a preflight itself: it is no local reply.
  const isPreflight = plan?.kind === 'answer' && plan.fields !== undefined
  if (!isPreflight) {
    // As in Envoy: who adds a header to a route's answers means all of them. What the route says, and the filter that
    // answers, is there when the listener looks; the other filters come behind it.
    const first = edits.slice(0, plan?.routeEdits)
    if (first.length > 0) editWithFacts(reply.headers, first, exchange, reply.headers, reply.status)
    edits = edits.slice(first.length)
    if (http.localReply) said = rewriteReply(reply, http.localReply, describe(exchange, ctx))
  }
  // The filter of gRPC-Web makes a message of the text.
  const isWeb = isGrpcWeb(plan?.bodies)
  const grpc = isGrpc(request.header('content-type')) && !isWeb
  const { head, body } = toAnswer(isWeb ? { ...said, end: '' } : said, grpc)
  record.status = head.status
  const withBody = body !== undefined && request.method !== 'HEAD'
  down.sendHead(answerHead(head, edits, exchange, http.serverName, undefined), !withBody)
  if (withBody) {
    record.sentBytes += body.length
    down.sendData(body)
  }
  down.sendEnd(undefined)
  down.flush()
}

/** @returns changes of the request that nobody has made yet */
function listUnmade(plan: Plan, { endpoint }: Pick<ExchangeRecord, 'endpoint'>): readonly HeaderEdit[] | undefined {
  if (plan.kind !== 'forward') return plan.requestEdits
  // As in Envoy, a route changes a request when there is an endpoint for it. Copies have what the request has.
  return endpoint || plan.mirrors ? undefined : plan.requestEdits.slice(0, plan.filterEdits ?? 0)
}

function describe(exchange: Replying, { clock, random }: Context): ReplyFacts {
  const { record } = exchange
  return {
    facts: ({ status, headers, text }) => {
      record.status = status
      record.responseHeaders = headers
      return new RequestLogFacts(exchange, {
        flags: formatFlags(record),
        durationMs: clock.monotonicMs() - record.startedMs,
        endedMs: clock.wallMs(),
        localReplyBody: text,
      })
    },
    edit: (headers, edit, status) => editWithFacts(headers, [edit], exchange, headers, status),
    random,
  }
}

/** The answer to what was no request, and therefore has no exchange; it is counted and logged. */
export function answerBroken(
  conn: Connection,
  protocol: string,
  error: MeshError,
  rt: HttpRuntime,
  grpc = false,
): LocalAnswer {
  const { clock, random } = rt.ctx
  const nowMs = clock.wallMs()
  const { localReply } = readHttpManager(conn)
  const reply = rewriteReply(createErrorReply(error), localReply, {
    facts: ({ status, text }) => new BrokenRequestFacts(conn, { protocol, status, error, nowMs, localReplyBody: text }),
    edit: (headers, edit, status) => editHeaders(headers, [edit], brokenFacts(conn, protocol, status, nowMs)),
    random,
  })
  const answer = toAnswer(reply, grpc)
  answer.head.headers.push('date', formatHttpDate(nowMs))
  reportBroken(conn, protocol, answer.head.status, error, rt)
  return answer
}

function brokenFacts(
  { remote, local, tls }: Connection,
  protocol: string,
  status: number,
  startedMs: number,
): SubstitutionFacts {
  return {
    client: remote,
    remote,
    local,
    protocol,
    startedMs,
    serverName: tls?.serverName ?? '',
    routeName: '',
    cluster: '',
    status,
    peer: tls?.peer,
    request: () => undefined,
    response: () => undefined,
  }
}
