/** What Istio's standard metrics are told of an exchange that is over. */
import type { StatsFilter } from '../../../model/telemetry.ts'
import type { Workload } from '../../../model/access-log/workload.ts'
import type { LogFacts } from '../../../model/access-log/facts.ts'
import { formatEnvoyFlags } from '../../../model/access-log/response-flags.ts'
import { findPeer } from '../../telemetry/http.ts'
import type { GrpcMessages } from '../../telemetry/grpc-messages.ts'
import type { RequestEnds } from '../../telemetry/http-group.ts'
import { findFirstValue } from '../filters/header-edit.ts'
import { deriveGrpcStatus } from './reply/grpc-words.ts'
import type { Endpoint } from '../../../model/cluster.ts'
import type { CertificatesUsed } from '../../../model/identity.ts'
import type { HttpConnectionManager } from '../../../model/listener.ts'
import type { RequestHead } from '../message.ts'
import type { Plan } from './planning/plan.ts'
import type { RequestOrigin } from './request-origin.ts'

/** Of an exchange. */
type Counted = {
  readonly record: {
    readonly status: number
    readonly receivedBytes: number
    readonly sentBytes: number
    readonly endpoint: Endpoint | undefined
    readonly plan: Plan | undefined
    readonly upstream: CertificatesUsed | undefined
    readonly peerMetadata: string | undefined
    readonly grpcStatus: string | undefined
    readonly trailers: readonly string[] | undefined
    readonly firstByteMs: number | undefined
    readonly isGrpc: boolean
    readonly messages?: GrpcMessages
  }
  readonly request: RequestHead
  readonly client: RequestOrigin
  readonly http: Pick<HttpConnectionManager, 'exchange'>
}

export function reportToIstio(
  exchange: Counted,
  filter: StatsFilter,
  result: { readonly flags: string; readonly durationMs: number; readonly facts: () => LogFacts },
): void {
  const { record, client } = exchange
  const ends = findEnds(exchange, filter)
  const { durationMs, facts } = result
  const told = {
    durationMs,
    flags: formatEnvoyFlags(result.flags),
    status: record.status,
    grpcStatus: record.isGrpc ? findGrpcStatus(record) : undefined,
    receivedBytes: record.receivedBytes,
    sentBytes: record.sentBytes,
  }
  client.reporter.report(ends, told, facts)
  if (record.messages) client.reporter.reportMessages(ends, record.messages, facts)
}

/** Of a stream that lasts: as soon as the answer says who the server is. */
export function reportMessagesSoFar(exchange: Counted, filter: StatsFilter, facts: () => LogFacts): void {
  const { record, client } = exchange
  if (record.messages && record.firstByteMs !== undefined)
    client.reporter.reportMessages(findEnds(exchange, filter), record.messages, facts)
}

/** Of what is said of itself by the other side: the client on the way in, the server on the way out. */
type Said = Pick<Counted, 'request' | 'client' | 'http'> & {
  readonly record: Pick<Counted['record'], 'peerMetadata' | 'endpoint'>
}

function findSaid({ record, request, client, http }: Said): Parameters<typeof findPeer>[0] {
  const isServer = client.conn.listener.direction === 'inbound'
  const by = isServer ? http.exchange?.clientBy : undefined
  return {
    reporter: isServer ? 'destination' : 'source',
    endpoint: record.endpoint,
    metadata: !isServer ? record.peerMetadata : by?.includes('headers') ? request.peerMetadata : undefined,
    baggage: by?.includes('baggage') ? request.header('baggage') : undefined,
  }
}

export const findPeerWorkload = (exchange: Said): Workload | undefined => findPeer(findSaid(exchange))

function findEnds(exchange: Counted, filter: StatsFilter): RequestEnds {
  const { record, request, client } = exchange
  const { conn } = client
  const { plan } = record
  const isServer = conn.listener.direction === 'inbound'
  const withTls = isServer ? conn.tls !== undefined : (record.upstream?.usesIdentity ?? false)
  const peer = isServer ? conn.tls?.peer : record.upstream?.peer
  return {
    ...findSaid(exchange),
    filter,
    cluster: plan?.kind === 'forward' ? plan.cluster : undefined,
    routeName: plan?.routeName ?? '',
    host: request.authority,
    ownPrincipal: withTls ? client.ownPrincipal : undefined,
    peerPrincipal: peer?.spiffeId?.uri,
  }
}

/** As Envoy has it: trailers, headers, what the HTTP status means; '' without an answer, -1 for what is no number. */
export function findGrpcStatus({
  trailers,
  grpcStatus,
  status,
}: Pick<Counted['record'], 'trailers' | 'grpcStatus' | 'status'>): string {
  const said = (trailers && findFirstValue(trailers, 'grpc-status')) ?? grpcStatus
  if (said !== undefined) return /^\d{1,3}$/.test(said) ? said : '-1'
  return status === 0 ? '' : String(deriveGrpcStatus(status))
}
