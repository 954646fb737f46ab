/** A service is asked whether a connection may go on (envoy.filters.network.ext_authz). */
import { MeshError } from '../../../../core/errors.ts'
import { guard } from '../../../../core/defects/guard.ts'
import { memoize } from '../../../../core/memoize.ts'
import type { Cell, Metrics } from '../../../../core/metrics.ts'
import { NETWORK_RBAC_METADATA, type ConnectionAuthz } from '../../../../model/http/ext-authz.ts'
import { matchesMetadata, type Metadata } from '../../../../model/http/metadata.ts'
import { collectFacts, decideShadow, describeShadow } from '../../../authz.ts'
import type { Connection } from '../../../connection.ts'
import type { Context } from '../../../context.ts'
import type { HttpUpstreams } from '../../message.ts'
import { OwnCall, type OwnAnswer, type OwnCallEnd } from '../../own-call.ts'
import { findHeaderValue } from '../header-edit.ts'
import { readCertificate } from './certificate.ts'
import { makeConnectionQuestion, readGrpcAnswer } from './grpc-service.ts'
import { toSignal } from '../../../../core/runtime/notice.ts'

/** Of an answer; a service says yes or no. */
const MAX_ANSWER_BYTES = 64 * 1024

type Result = 'ok' | 'denied' | 'error'
const cellsOf = memoize((metrics: Metrics): Readonly<Record<Result, Cell>> =>
  metrics
    .counter('mesh_connection_ext_authz_total', 'Connections that an authorization service was asked about.', [
      'result',
    ])
    .cells(['ok', 'denied', 'error']),
)

/** Never rejects. @returns why the connection is refused */
export async function askAboutConnection(
  conn: Connection,
  settings: ConnectionAuthz,
  ctx: Context,
  upstreams: HttpUpstreams,
): Promise<MeshError | undefined> {
  const { enabledBy, service } = settings
  if (enabledBy && !matchesMetadata(enabledBy, collectMetadata(conn))) return undefined
  const said = await ask(conn, settings, ctx, upstreams)
  if (said instanceof MeshError) return said
  cellsOf(ctx.metrics)[said.result].value++
  switch (said.result) {
    case 'ok':
      return undefined
    case 'denied':
      return new MeshError('MESH_EXT_AUTHZ_DENIED', 'the authorization service refuses the connection')
    case 'error':
      ctx.log.warn(
        { evt: 'connection.ext-authz', conn: conn.id, cluster: service.cluster, why: said.why },
        'an authorization service could not be asked',
      )
      return settings.failureAllows ? undefined : new MeshError('MESH_EXT_AUTHZ_UNAVAILABLE', said.why)
    default:
      return said satisfies never
  }
}

type Said = { readonly result: 'ok' | 'denied' } | { readonly result: 'error'; readonly why: string }
const failed = (why: string): Said => ({ result: 'error', why })

/** @returns an error where nobody waits for the answer any more */
function ask(
  conn: Connection,
  settings: ConnectionAuthz,
  ctx: Context,
  upstreams: HttpUpstreams,
): Promise<Said | MeshError> {
  const { service } = settings
  const { stream, draining, aborted } = conn
  return new Promise((resolve) => {
    const question = makeConnectionQuestion(settings, conn, {
      own: ctx.identity.current()?.spiffeId.uri,
      certificate: settings.sendsCertificate ? readCertificate(conn) : undefined,
    })
    const request = { head: question.head, body: [question.bytes] }
    let call: OwnCall | undefined
    const start = (fresh: boolean): void => {
      const cluster = ctx.tables.get().cluster(service.cluster)
      if (!cluster) {
        settle(failed(`the service's cluster ${service.cluster} is unknown`))
        return
      }
      const options = { ...OPTIONS, fresh, host: service.authority }
      call = new OwnCall(conn.remote.host, request, options, { onOver: (end) => callOver(end, fresh) })
      call.start(upstreams, ctx.clock, cluster)
    }
    // A question may be asked twice: where the cluster was replaced, or a connection of the pool had been closed.
    const callOver = (end: OwnCallEnd, wasFresh: boolean): void => {
      if (end.kind === 'moved' || (end.kind === 'failed' && end.mayRepeat && !wasFresh)) start(end.kind === 'failed')
      else settle(explain(end))
    }
    const late = guard('network', ignore, () => {
      settle(failed(`the service gave no answer within ${service.timeoutMs} ms`))
    })
    const timer = ctx.clock.after(service.timeoutMs, late)
    const left = guard('network', ignore, () => {
      settle(new MeshError('MESH_CLIENT_GONE', 'the client left while a service was asked about it'))
    })
    const ended = AbortSignal.any([toSignal(draining), toSignal(aborted)])
    const settle = (with_: Said | MeshError): void => {
      timer.cancel()
      stream.off('close', left)
      ended.removeEventListener('abort', left)
      call?.cancel()
      resolve(with_)
    }
    stream.once('close', left)
    ended.addEventListener('abort', left, { once: true })
    if (stream.destroyed || ended.aborted) left()
    else start(false)
  })
}
const OPTIONS = { speaks: 'http2', maxHostPicks: 0, maxAnswerBytes: MAX_ANSWER_BYTES, keepsAnswer: true } as const
function ignore(): void {
  /* there is nobody to tell */
}

function explain(end: OwnCallEnd): Said {
  switch (end.kind) {
    case 'answered':
      return readAnswer(end.answer)
    case 'failed':
      return failed(end.error.message)
    case 'moved':
    case 'late':
      return failed('the service gave no answer')
    case 'too-large':
      return failed(`the answer of the service is larger than ${MAX_ANSWER_BYTES} bytes`)
    case 'upgraded':
      return failed('the service switched protocols without being asked')
    default:
      return end satisfies never
  }
}
function readAnswer({ head, bytes, trailers }: OwnAnswer): Said {
  if (head.status !== 200) return failed(`the service answered with ${head.status}`)
  const status = findHeaderValue(trailers ?? [], 'grpc-status') ?? findHeaderValue(head.headers, 'grpc-status')
  const verdict = readGrpcAnswer(bytes, status)
  if (verdict.kind === 'ok' || verdict.kind === 'denied') return { result: verdict.kind }
  return failed(verdict.kind === 'error' ? verdict.why : 'the answer is none to a connection')
}

/** What the policies of the chain have found out, as Envoy's RBAC filter writes it. */
function collectMetadata(conn: Connection): Metadata {
  const facts = collectFacts(conn)
  const found = conn.chain.policies.map(({ shadow }) =>
    shadow?.prefix === undefined ? {} : describeShadow(shadow.prefix, decideShadow(shadow, facts)),
  )
  return { [NETWORK_RBAC_METADATA]: Object.assign({}, ...found) as Record<string, string> }
}
