/** envoy.filters.network.tcp_proxy: one upstream connection for one downstream connection. */
import { MeshError, toMeshError, type ErrorCode } from '../../core/errors.ts'
import { doNothing, guard } from '../../core/defects/guard.ts'
import type { Timer } from '../../core/os/clock.ts'
import type { Cluster } from '../../model/cluster.ts'
import type { Workload } from '../../model/access-log/workload.ts'
import { formatEnvoyFlags } from '../../model/access-log/response-flags.ts'
import type { TcpProxy } from '../../model/listener.ts'
import { ENDED, type Connection, type Outcome } from '../connection.ts'
import type { Context } from '../context.ts'
import { pickCluster } from '../router.ts'
import { ConnectionLogFacts } from '../telemetry/connection-log.ts'
import type { OpenConnection } from '../telemetry/tcp.ts'
import { getTelemetry } from '../telemetry/telemetry.ts'
import { findRefusal } from '../tls/client.ts'
import type { Upstreams, UpstreamStream } from '../upstream-api.ts'
import { getWaiting } from '../waiting.ts'
import { hash64 } from '../xx-hash.ts'
import { isPeerExpected, startExchange } from './peer-exchange.ts'
import { splice, type SpliceOptions } from './splice.ts'
import { toSignal } from '../../core/runtime/notice.ts'

/** Envoy's tcp_proxy default. */
const DEFAULT_IDLE_MS = 3_600_000

type TcpContext = Pick<
  Context,
  'tables' | 'random' | 'clock' | 'limits' | 'metrics' | 'budget' | 'telemetry' | 'identity'
>

/**
 * Never rejects. A drain leaves it open: the protocol is not ours, so nobody knows where it could end (limits.drainMs
 * bounds it).
 */
export async function serveTcp(
  conn: Connection,
  tcp: TcpProxy,
  ctx: TcpContext,
  upstreams: Upstreams,
): Promise<Outcome> {
  const { tables, random } = ctx
  const sni = tcp.bySni ? (conn.tls?.serverName ?? conn.offered.serverName) : ''
  const name = sni === '' ? pickCluster(tcp, random)?.name : sni
  const cluster = name === undefined ? undefined : tables.get().cluster(name)
  if (!cluster)
    return {
      error: new MeshError(
        'MESH_NO_CLUSTER',
        `the cluster ${name?.slice(0, 255) ?? '(none)'} of listener ${conn.listener.name} is unknown`,
      ),
    }
  conn.cluster = cluster.name
  using life = new Life(tcp.maxConnectionMs, ctx)
  let upstream: UpstreamStream
  try {
    upstream = await connect(cluster, conn, {
      tcp,
      upstreams,
      signal: AbortSignal.any([toSignal(conn.aborted), life.ended]),
    })
  } catch (thrown) {
    const error = conn.aborted.aborted ? undefined : toMeshError(thrown)
    countOpened(conn, ctx, { cluster, flags: error?.row.flag ?? '-' })?.[Symbol.dispose]()
    return { error }
  }
  conn.upstream = upstream
  using counted = countOpened(conn, ctx, { cluster, upstream, flags: '-' })
  const preambles = startExchange(conn, upstream, ctx, (peer) => counted?.peerIs(peer))
  const how = { idleMs: tcp.idleMs ?? DEFAULT_IDLE_MS, ended: life.ended, ...preambles }
  const end = await carry(conn, upstream, how, ctx)
  return end === undefined ? ENDED : { error: end }
}

/** max_downstream_connection_duration. */
class Life implements Disposable {
  readonly #ended = new AbortController()
  readonly #timer: Timer | undefined

  constructor(maxMs: number | undefined, { clock }: Pick<Context, 'clock'>) {
    const end = guard('tcp', doNothing, () => {
      this.#ended.abort(
        new MeshError('MESH_STREAM_DURATION', `not over within ${maxMs} ms (max_downstream_connection_duration)`),
      )
    })
    if (maxMs !== undefined) this.#timer = clock.after(maxMs, end)
  }
  get ended(): AbortSignal {
    return this.#ended.signal
  }
  [Symbol.dispose](): void {
    this.#timer?.cancel()
  }
}

/** No byte has gone anywhere, so another endpoint may have it (max_connect_attempts). */
async function connect(
  cluster: Cluster,
  conn: Connection,
  { tcp, upstreams, signal }: { readonly tcp: TcpProxy; readonly upstreams: Upstreams; readonly signal: AbortSignal },
): Promise<UpstreamStream> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await upstreams.connect(cluster, {
        signal,
        speaks: 'tcp',
        exchangesPeers: cluster.exchangesPeers,
        originalDst: conn.originalDst,
        client: conn,
        forwardPort: tcp.forwardPort,
        host: conn.tls?.serverName ?? conn.offered.serverName,
        hash: tcp.hashesSource ? hash64(conn.remote.host) : undefined,
      })
    } catch (thrown) {
      const { code, row } = toMeshError(thrown)
      const mayHelp = row.origin === 'upstream' && !NO_OTHER.has(code)
      if (signal.aborted || !mayHelp || attempt >= (tcp.maxConnectAttempts ?? 1)) throw thrown
    }
  }
}
/** Another attempt would end the same. */
const NO_OTHER: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['MESH_NO_ENDPOINT', 'MESH_UPSTREAM_OVERFLOW'])

/** In istio_tcp_* metrics, where the chain has the filter for them. */
function countOpened(
  conn: Connection,
  ctx: TcpContext,
  o: { readonly cluster: Cluster; readonly upstream?: UpstreamStream; readonly flags: string },
): OpenConnection | undefined {
  const { stats: filter } = conn.chain
  if (!filter) return undefined
  const isServer = conn.listener.direction === 'inbound'
  const used = o.upstream?.certificates
  const withTls = isServer ? conn.tls !== undefined : (used?.usesIdentity ?? false)
  const ends = {
    filter,
    cluster: o.cluster,
    endpoint: o.upstream?.endpoint,
    ownPrincipal: withTls ? ctx.identity.current()?.spiffeId.uri : undefined,
    peerPrincipal: (isServer ? conn.tls?.peer : used?.peer)?.spiffeId?.uri,
    flags: formatEnvoyFlags(o.flags),
    facts: (peer: Workload | undefined) =>
      new ConnectionLogFacts(
        'TcpConnectionEnd',
        { accepted: conn, listener: conn.listener, conn, error: undefined, peer },
        ctx,
      ),
  }
  return getTelemetry(ctx).tcp.opened(conn, ends, o.upstream !== undefined && isPeerExpected(conn, o.upstream))
}

type Carried = Pick<SpliceOptions, 'nearPreamble' | 'farPreamble'> & {
  readonly idleMs: number
  readonly ended: AbortSignal
}

/** @returns undefined after an end in order, or one of our own */
async function carry(
  conn: Connection,
  upstream: UpstreamStream,
  { idleMs, ended, ...preambles }: Carried,
  ctx: TcpContext,
): Promise<MeshError | undefined> {
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
    clock: ctx.clock,
    signal: AbortSignal.any([toSignal(conn.aborted), stop.signal, ended]),
    waiting: getWaiting(ctx),
    holder,
    maxBufferBytes: ctx.limits.maxBufferBytes,
    idleMs,
    ...preambles,
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
      return (
        findRefusal(upstream.stream) ??
        new MeshError('MESH_UPSTREAM_RESET', `the connection to cluster ${conn.cluster} broke`)
      )
    case 'near-failed':
      return new MeshError('MESH_CLIENT_GONE', 'the client reset the connection')
    case 'idle':
      return new MeshError('MESH_IDLE_TIMEOUT', `nothing moved for ${idleMs} ms`)
    case 'aborted':
      return givenUp ?? (ended.aborted ? toMeshError(ended.reason) : undefined)
    case 'ended':
      return undefined
    default:
      return how satisfies never
  }
}
