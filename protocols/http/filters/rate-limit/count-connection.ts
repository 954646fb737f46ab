/** A service counts connections, before anything is said on them (envoy.filters.network.ratelimit). */
import { MeshError } from '../../../../core/errors.ts'
import { memoize } from '../../../../core/memoize.ts'
import type { ConnectionCounter } from '../../../../model/http/connection-limit.ts'
import { parseSubstitution, substitute, type SubstitutionFacts } from '../../../../model/substitution.ts'
import type { Connection } from '../../../connection.ts'
import type { Context } from '../../../context.ts'
import { askForConnection } from '../../connection-question.ts'
import { readUnary } from '../../grpc-unary.ts'
import type { HttpUpstreams } from '../../message.ts'
import { countLimits } from './counters.ts'
import type { LimitResult } from './filter.ts'
import { makeLimitQuestion, readLimitAnswer } from './service.ts'

/** Never rejects. @returns why the connection is refused */
export async function countConnection(
  conn: Connection,
  settings: ConnectionCounter,
  ctx: Context,
  upstreams: HttpUpstreams,
): Promise<MeshError | undefined> {
  const { service, domain, statPrefix: prefix, failureDenies } = settings
  const question = makeLimitQuestion(service, domain, describeConnection(settings, conn))
  const said = await askForConnection(conn, { service, question }, { ctx, upstreams })
  if (said instanceof MeshError) return said
  const answer = said.kind === 'answered' ? readUnary(said.answer, readLimitAnswer) : said
  const note = (result: LimitResult): void => countLimits([{ prefix, result }], ctx.metrics)
  switch (answer.kind) {
    case 'ok':
      note('ok')
      return undefined
    case 'over':
      note('refused')
      return new MeshError('MESH_RATE_LIMITED', 'a rate limit service says that it is too much')
    case 'error':
      note(failureDenies ? 'refused' : 'unknown')
      ctx.log.warn(
        { evt: 'connection.rate-limit', conn: conn.id, cluster: service.cluster, why: answer.why },
        'a rate limit service could not be asked',
      )
      return failureDenies ? new MeshError('MESH_RATE_LIMIT_UNAVAILABLE', answer.why) : undefined
    default:
      return answer satisfies never
  }
}

const parseDescriptors = memoize(({ descriptors }: ConnectionCounter) =>
  descriptors.map((entries) => entries.map(([key, value]) => [key, parseSubstitution(value)] as const)),
)
function describeConnection(settings: ConnectionCounter, conn: Connection): Parameters<typeof makeLimitQuestion>[2] {
  const facts = collectFacts(conn)
  return parseDescriptors(settings).map((entries) => ({
    entries: entries.map(([key, value]) => [key, substitute(value, facts)]),
  }))
}

/** What is known before TLS. A name that is not there is `-`, as in access logs. */
function collectFacts({ remote, local, offered, startedWallMs }: Connection): SubstitutionFacts {
  return {
    client: remote,
    remote,
    local,
    protocol: '',
    startedMs: startedWallMs,
    serverName: offered.serverName || '-',
    routeName: '',
    cluster: '',
    status: 0,
    peer: undefined,
    request: () => undefined,
  }
}
