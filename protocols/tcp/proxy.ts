/** envoy.filters.network.tcp_proxy: one upstream connection for one downstream connection. */
import { MeshError, toMeshError } from '../../core/errors.ts'
import type { TcpProxy } from '../../model/listener.ts'
import { ENDED, type Connection, type Outcome } from '../connection.ts'
import type { Context } from '../context.ts'
import { pickCluster } from '../router.ts'
import { refusalOf } from '../tls/client.ts'
import type { Upstreams, UpstreamStream } from '../upstream-api.ts'
import { waitingOf } from '../waiting.ts'
import { splice } from './splice.ts'

/** Envoy's tcp_proxy default. */
const DEFAULT_IDLE_MS = 3_600_000

/**
 * Never rejects. A drain leaves it open: the protocol is not ours, so nobody knows where it could end (limits.drainMs
 * bounds it).
 */
export async function serveTcp(
  conn: Connection,
  tcp: TcpProxy,
  ctx: Pick<Context, 'tables' | 'random' | 'clock' | 'limits' | 'metrics' | 'budget'>,
  upstreams: Upstreams,
): Promise<Outcome> {
  const { tables, random, clock, limits } = ctx
  const picked = pickCluster(tcp, random)
  const cluster = picked && tables.get().cluster(picked.name)
  if (!cluster)
    return {
      error: new MeshError(
        'MESH_NO_CLUSTER',
        `the cluster ${picked?.name ?? '(none)'} of listener ${conn.listener.name} is unknown`,
      ),
    }
  conn.cluster = cluster.name
  let upstream: UpstreamStream
  try {
    upstream = await upstreams.connect(cluster, {
      signal: conn.aborted,
      speaks: 'tcp',
      originalDst: conn.originalDst,
      host: conn.tls?.serverName ?? conn.offered.serverName,
    })
  } catch (thrown) {
    return { error: conn.aborted.aborted ? undefined : toMeshError(thrown) }
  }
  let givenUp: MeshError | undefined
  const stop = new AbortController()
  const holder = {
    client: conn.remote.host,
    giveUp: (error: MeshError): void => {
      givenUp ??= error
      stop.abort(error)
    },
  }
  const how = await splice(conn.stream, upstream.stream, {
    clock,
    signal: AbortSignal.any([conn.aborted, stop.signal]),
    waiting: waitingOf(ctx),
    holder,
    maxBufferBytes: limits.maxBufferBytes,
    idleMs: tcp.idleMs ?? DEFAULT_IDLE_MS,
    forwarded: (bytes) => {
      conn.receivedBytes += bytes
    },
    returned: (bytes) => {
      conn.sentBytes += bytes
    },
  })
  upstream.stream.destroy()
  upstream.release(how === 'far-failed' ? 'failed' : 'ok')
  switch (how) {
    case 'far-failed':
      return {
        error:
          refusalOf(upstream.stream) ??
          new MeshError('MESH_UPSTREAM_RESET', `the connection to cluster ${cluster.name} broke`),
      }
    case 'near-failed':
      return { error: new MeshError('MESH_CLIENT_GONE', 'the client reset the connection') }
    case 'idle':
      return { error: new MeshError('MESH_IDLE_TIMEOUT', `nothing moved for ${tcp.idleMs ?? DEFAULT_IDLE_MS} ms`) }
    case 'aborted':
      return givenUp ? { error: givenUp } : ENDED
    case 'ended':
      return ENDED
    default:
      return how satisfies never
  }
}
