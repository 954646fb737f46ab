/** What a host is asked over, which is the way that the cluster's traffic goes, and what an answer is compared with. */
import type { Cluster, Endpoint, Transport } from '../../../model/cluster.ts'
import type { HealthCheck } from '../../../model/http/health-check.ts'
import type { Verdict } from './progress.ts'

/** Rejects when no answer came, with what happened or the signal's reason. */
export type Ask = (signal: AbortSignal) => Promise<Verdict>

/** One host's asking, with the connection that stays open in between. */
export type Asker = Disposable & { readonly ask: Ask }

/** Envoy's Envoy/HC, which servers may know. */
export const USER_AGENT = 'Envoy/HC'

/** Where an endpoint is asked: at another port or address where its configuration names one. */
export function deriveCheckedEndpoint(endpoint: Endpoint, { transportLabels }: HealthCheck): Endpoint {
  const { others: _, ...rest } = endpoint
  const { check } = endpoint
  const isElsewhere = check?.address !== undefined || check?.port !== undefined
  return {
    ...rest,
    ...(!isElsewhere && endpoint.others && { others: endpoint.others }),
    address: check?.address ?? endpoint.address,
    port: check?.port ?? endpoint.port,
    transportLabels: transportLabels ?? endpoint.transportLabels,
  }
}

/** The cluster as its hosts are asked over: nothing of what bounds traffic, and a connection that stays while it may. */
export function deriveCheckedCluster(cluster: Cluster, check: HealthCheck): Cluster {
  const { asks, timeoutMs, alpnProtocols } = check
  const withAlpn = (transport: Transport): Transport =>
    alpnProtocols && transport.kind === 'tls'
      ? { ...transport, tls: { ...transport.tls, onlyAlpn: alpnProtocols } }
      : transport
  return {
    ...cluster,
    protocol: asks.kind === 'grpc' || (asks.kind === 'http' && asks.codec === 'http2') ? 'http2' : 'http1',
    connectTimeoutMs: timeoutMs,
    idleMs: Infinity,
    maxRequestsPerConnection: undefined,
    maxConnectionMs: undefined,
    breakers: UNLIMITED,
    transport: withAlpn(cluster.transport),
    transportMatches: cluster.transportMatches.map((m) => ({ ...m, transport: withAlpn(m.transport) })),
  }
}
const UNLIMITED: Cluster['breakers'] = {
  maxConnections: Infinity,
  maxPendingRequests: Infinity,
  maxRequests: Infinity,
  maxRetries: 0,
  retryBudget: undefined,
}

/** Each part is there, one behind another. */
export function containsInOrder(received: Buffer, parts: readonly Uint8Array[]): boolean {
  let at = 0
  for (const part of parts) {
    const found = received.indexOf(part, at)
    if (found < 0) return false
    at = found + part.length
  }
  return true
}

export const PASSED: Verdict = { kind: 'passed', isDegraded: false }
export function createFailure(reason: string, more: { isRetriable?: boolean; excludes?: boolean } = {}): Verdict {
  const { isRetriable = false, excludes = false } = more
  return { kind: 'failed', by: 'active', isRetriable, excludes, reason }
}
