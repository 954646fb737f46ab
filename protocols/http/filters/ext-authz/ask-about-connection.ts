/** A service is asked whether a connection may go on (envoy.filters.network.ext_authz). */
import { MeshError } from '../../../../core/errors.ts'
import { memoize } from '../../../../core/memoize.ts'
import type { Cell, Metrics } from '../../../../core/metrics.ts'
import { NETWORK_RBAC_METADATA, type ConnectionAuthz } from '../../../../model/http/ext-authz.ts'
import { matchesMetadata, type Metadata } from '../../../../model/http/metadata.ts'
import { collectFacts, decideShadow, describeShadow } from '../../../authz.ts'
import type { Connection } from '../../../connection.ts'
import type { Context } from '../../../context.ts'
import { readUnary } from '../../grpc-unary.ts'
import type { HttpUpstreams } from '../../message.ts'
import type { OwnAnswer } from '../../own-call.ts'
import { askForConnection } from '../../connection-question.ts'
import { readCertificate } from './certificate.ts'
import { makeConnectionQuestion, readGrpcAnswer } from './grpc-service.ts'

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
async function ask(
  conn: Connection,
  settings: ConnectionAuthz,
  ctx: Context,
  upstreams: HttpUpstreams,
): Promise<Said | MeshError> {
  const question = makeConnectionQuestion(settings, conn, {
    own: ctx.identity.current()?.spiffeId.uri,
    certificate: settings.sendsCertificate ? readCertificate(conn) : undefined,
  })
  const said = await askForConnection(conn, { service: settings.service, question }, { ctx, upstreams })
  if (said instanceof MeshError) return said
  return said.kind === 'answered' ? readAnswer(said.answer) : failed(said.why)
}

function readAnswer(answer: OwnAnswer): Said {
  const verdict = readUnary(answer, readGrpcAnswer)
  if (verdict.kind === 'ok' || verdict.kind === 'denied') return { result: verdict.kind }
  return failed(verdict.kind === 'error' ? verdict.why : 'the answer is none to a connection')
}

/**
 * What the policies of the chain have found out, as Envoy's RBAC filter writes it. Of those behind the service, too:
 * Envoy asks when the second data comes.
 */
function collectMetadata(conn: Connection): Metadata {
  const facts = collectFacts(conn)
  const found = conn.chain.policies.map(({ shadow }) =>
    shadow?.prefix === undefined ? {} : describeShadow(shadow.prefix, decideShadow(shadow, facts)),
  )
  return { [NETWORK_RBAC_METADATA]: Object.assign({}, ...found) as Record<string, string> }
}
