/** A request, and what its access log may tell of it. */
import type { LogFacts, TimePoint } from '../../model/access-log/facts.ts'

type Options = Partial<LogFacts> & {
  readonly fields?: Readonly<Record<string, string>>
  readonly answer?: Readonly<Record<string, string>>
  readonly trailers?: Readonly<Record<string, string>>
  readonly times?: Partial<Record<TimePoint, number>>
}

export function factsOf({ fields = {}, answer = {}, trailers = {}, times = {}, ...more }: Options = {}): LogFacts {
  const at = { host: '10.0.0.1', port: 80 }
  return {
    type: 'DownstreamEnd',
    startedMs: Date.UTC(2026, 0, 2, 3, 4, 5, 6),
    endedMs: Date.UTC(2026, 0, 2, 3, 4, 6),
    time: (point) => times[point],
    request: (name) => fields[name],
    response: (name) => answer[name],
    trailer: (name) => trailers[name],
    protocol: 'HTTP/1.1',
    upstreamProtocol: undefined,
    status: 200,
    grpcStatus: undefined,
    codeDetails: 'via_upstream',
    terminationDetails: undefined,
    flags: [],
    receivedBytes: 0,
    sentBytes: 0,
    attempts: 1,
    metadata: undefined,
    routeName: undefined,
    filterChain: undefined,
    cluster: undefined,
    upstream: undefined,
    upstreamName: undefined,
    upstreamLocal: undefined,
    upstreamPeer: undefined,
    upstreamFailure: undefined,
    upstreamOwnUri: undefined,
    connectionId: '1a',
    local: at,
    remote: { host: '2001:db8::1', port: 5 },
    client: { host: '10.0.0.9', port: 0 },
    serverName: undefined,
    tlsVersion: undefined,
    peer: undefined,
    ownUri: undefined,
    traceId: undefined,
    spanId: undefined,
    direction: 'outbound',
    peerWorkload: undefined,
    ...more,
  }
}
