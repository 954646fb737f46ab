import type { StringMatch } from '../matcher.ts'
import type { HeaderEdit } from '../route.ts'

/** envoy.config.core.v3.HealthCheck, decoded: how each endpoint of a cluster is asked whether it is well. */
export type HealthCheck = {
  readonly asks: HttpAsk | TcpAsk | GrpcAsk
  readonly timeoutMs: number
  /** Failures in a row after which a host gets nothing; successes in a row after which it gets something again. */
  readonly unhealthyThreshold: number
  readonly healthyThreshold: number
  readonly intervals: CheckIntervals
  /** The connection stays open for the next question. */
  readonly reusesConnection: boolean
  /** Also what changes nothing is logged. */
  readonly logsFailures: boolean
  readonly logsSuccesses: boolean
  /** In place of those of the transport (tls_options). */
  readonly alpnProtocols?: readonly string[]
  /** In place of the endpoint's, when its transport is chosen (transport_socket_match_criteria). */
  readonly transportLabels?: Readonly<Record<string, string>>
}

/** From the end of one question to the next. */
export type CheckIntervals = {
  /** Of a host that is well. */
  readonly healthyMs: number
  /** Of one that was found well, and not often enough yet. */
  readonly healthyEdgeMs: number
  readonly unhealthyMs: number
  readonly unhealthyEdgeMs: number
  /** Before the cluster was ever used. */
  readonly noTrafficMs: number
  readonly noTrafficHealthyMs: number
  /** The first question comes at some moment within it. */
  readonly initialJitterMs: number
  /** Added to each interval: up to so much, and up to so many percent of it. */
  readonly jitterMs: number
  readonly jitterPercent: number
}

export type HttpAsk = {
  readonly kind: 'http'
  readonly method: string
  readonly path: string
  /** '' = the name of the cluster. */
  readonly host: string
  readonly headers: HeaderEdit
  readonly body: Uint8Array
  readonly codec: 'http1' | 'http2'
  readonly expected: readonly StatusRange[]
  /** What else is no reason to give a host up at once. */
  readonly retriable: readonly StatusRange[]
  /** Found in the answer's body, one after another. */
  readonly receive: readonly Uint8Array[]
  readonly maxBodyBytes: number
  /** Of x-envoy-upstream-healthchecked-cluster in the answer. */
  readonly serviceName?: StringMatch
}
/** `start` included, `end` not. */
export type StatusRange = { readonly start: number; readonly end: number }

/** Without anything to receive a connection is enough. */
export type TcpAsk = {
  readonly kind: 'tcp'
  readonly send: Uint8Array
  readonly receive: readonly Uint8Array[]
}

/** grpc.health.v1.Health/Check. */
export type GrpcAsk = {
  readonly kind: 'grpc'
  readonly service: string
  /** '' = the name of the cluster. */
  readonly authority: string
  readonly headers: HeaderEdit
}
