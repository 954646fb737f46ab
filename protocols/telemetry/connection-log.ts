/** Lines of access logs about connections: those of the listener, and those of a TCP proxy. */
import type { MeshError } from '../../core/errors.ts'
import type { NetStream } from '../../core/os/network.ts'
import { FactsWithoutExchange } from '../../model/access-log/facts-without-exchange.ts'
import type { HostPort, LogFacts, TimePoint } from '../../model/access-log/facts.ts'
import { toEnvoyFlags } from '../../model/access-log/response-flags.ts'
import type { PeerIdentity } from '../../model/identity.ts'
import type { Listener } from '../../model/listener.ts'
import type { Workload } from '../../model/access-log/workload.ts'
import type { Connection } from '../connection.ts'
import type { Context } from '../context.ts'
import { getAccessLogs } from './access-logs.ts'
import { describeDenial } from './code-details.ts'
import { describeConnectFailure } from './failures.ts'
import { parseEndpointWorkload } from './peer.ts'

type Ended = {
  readonly accepted: Pick<NetStream, 'local' | 'remote'>
  readonly listener: Pick<Listener, 'direction'>
  /** Undefined: it came to no chain. */
  readonly conn: Connection | undefined
  readonly error: MeshError | undefined
  /** Who it says that it is. */
  readonly peer?: Workload | undefined
}
type LogContext = Pick<Context, 'accessLogs' | 'exports' | 'metrics' | 'random' | 'clock' | 'log' | 'identity'>

export function logConnection(ended: Ended & { readonly listener: Listener }, ctx: LogContext): void {
  const { listener, conn } = ended
  const { codec } = conn?.chain ?? {}
  const ofTcp = codec?.kind === 'tcp' ? codec.tcp.accessLogs : undefined
  if (ofTcp) getAccessLogs(ctx).write(ofTcp, new ConnectionLogFacts('TcpConnectionEnd', ended, ctx))
  if (listener.accessLogs) getAccessLogs(ctx).write(listener.accessLogs, new ConnectionLogFacts('NotSet', ended, ctx))
}

export class ConnectionLogFacts extends FactsWithoutExchange implements LogFacts {
  readonly type: 'TcpConnectionEnd' | 'NotSet'
  readonly startedMs: number
  readonly endedMs: number
  readonly protocol = undefined
  readonly status = 0
  readonly codeDetails = undefined
  readonly #durationMs: number
  readonly #ended: Ended
  readonly #ctx: Pick<LogContext, 'identity'>

  constructor(type: ConnectionLogFacts['type'], ended: Ended, ctx: Pick<LogContext, 'clock' | 'identity'>) {
    super()
    this.type = type
    this.#ended = ended
    this.#ctx = ctx
    const { conn } = ended
    this.endedMs = ctx.clock.wallMs()
    this.startedMs = conn?.startedWallMs ?? this.endedMs
    this.#durationMs = conn ? ctx.clock.monotonicMs() - conn.startedMs : 0
  }

  time(point: TimePoint): number | undefined {
    if (point === 'DS_RX_BEG') return 0
    return point === 'DS_TX_END' ? this.#durationMs : undefined
  }
  get terminationDetails(): string | undefined {
    const rule = this.#ended.error?.rule
    return rule === undefined ? undefined : describeDenial(rule)
  }
  get flags(): readonly string[] {
    return toEnvoyFlags(this.#ended.error?.row.flag ?? '-')
  }
  get receivedBytes(): number {
    return this.#ended.conn?.receivedBytes ?? 0
  }
  get sentBytes(): number {
    return this.#ended.conn?.sentBytes ?? 0
  }
  get attempts(): number {
    return this.#ended.conn?.upstream ? 1 : 0
  }
  get filterChain(): string | undefined {
    return this.#ended.conn?.chain.name || undefined
  }
  get cluster(): string | undefined {
    const cluster = this.#ended.conn?.cluster
    return cluster === '-' ? undefined : cluster
  }
  get upstream(): HostPort | undefined {
    const endpoint = this.#ended.conn?.upstream?.endpoint
    return endpoint && { host: endpoint.address, port: endpoint.port }
  }
  get upstreamName(): string | undefined {
    return this.#ended.conn?.upstream?.endpoint.hostname
  }
  get upstreamLocal(): HostPort | undefined {
    return this.#ended.conn?.upstream?.local
  }
  get upstreamPeer(): PeerIdentity | undefined {
    return this.#ended.conn?.upstream?.certificates?.peer
  }
  get upstreamFailure(): string | undefined {
    return describeConnectFailure(this.#ended.error)
  }
  get upstreamOwnUri(): string | undefined {
    return this.#ended.conn?.upstream?.certificates?.usesIdentity ? this.#ownUri : undefined
  }
  get connectionId(): string {
    return this.#ended.conn?.id ?? '0'
  }
  get local(): HostPort {
    return this.#ended.accepted.local
  }
  get remote(): HostPort {
    return this.#ended.accepted.remote
  }
  get client(): HostPort {
    return this.#ended.conn?.remote ?? this.#ended.accepted.remote
  }
  get serverName(): string | undefined {
    const { conn } = this.#ended
    return conn?.tls?.serverName || conn?.offered.serverName || undefined
  }
  get tlsVersion(): string | undefined {
    return this.#ended.conn?.tls?.version
  }
  get peer(): PeerIdentity | undefined {
    return this.#ended.conn?.tls?.peer
  }
  get ownUri(): string | undefined {
    return this.#ended.conn?.tls ? this.#ownUri : undefined
  }
  get #ownUri(): string | undefined {
    return this.#ctx.identity.current()?.spiffeId.uri
  }
  get direction(): LogFacts['direction'] {
    return this.#ended.listener.direction
  }
  get peerWorkload(): Workload | undefined {
    const { peer, conn } = this.#ended
    const workload = conn?.upstream?.endpoint.workload
    return (
      peer ?? (this.direction === 'outbound' && workload !== undefined ? parseEndpointWorkload(workload) : undefined)
    )
  }
}
