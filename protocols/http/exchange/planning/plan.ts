/** What is to be done with a request: the plans, and what they are made of. */
import type { Random } from '../../../../core/os/clock.ts'
import type { MeshError } from '../../../../core/errors.ts'
import type { Cluster } from '../../../../model/cluster.ts'
import type { HttpConnectionManager } from '../../../../model/listener.ts'
import type { AuthBody, ExtAuthz, GrpcAuthService } from '../../../../model/http/ext-authz.ts'
import type { HealthCheckFilter } from '../../../../model/http/health-check-filter.ts'
import type { ForwardAction, HeaderEdit, RetryPolicy } from '../../../../model/route.ts'
import type { Tables } from '../../../../model/tables.ts'
import type { ShadowDecision } from '../../../authz.ts'
import type { Context } from '../../../context.ts'
import type { RequestFacts, Routed } from '../../../router.ts'
import type { BodyFilter } from '../../filters/bodies/body-filter.ts'
import type { CorsDecision } from '../../filters/cors.ts'
import type { Verdict } from '../../filters/ext-authz/verdict.ts'
import type { LimitAnswer } from '../../filters/rate-limit/service.ts'
import type { LimitFound } from '../../filters/rate-limit/filter.ts'
import type { Session } from '../../filters/session.ts'
import type { InjectedFault } from '../../filters/fault.ts'
import type { ClientFacts } from '../../filters/policy-facts.ts'
import type { MirrorTarget } from '../../mirrors.ts'
import type { FramedQuestion } from '../../service-question.ts'

export type PlanInput = {
  readonly tables: Tables
  readonly http: HttpConnectionManager
  /** Its path is normalised (path-normalize.ts). */
  readonly request: RequestFacts
  readonly client: ClientFacts
  /** What the request wants to switch to (upgrade.ts); undefined = nothing. */
  readonly upgrade: string | undefined
  readonly random: Random
  /** The client's, where something is counted by it; left out: a request that comes alone. */
  readonly connection?: object
  /** Changes the request's fields in place; left out: there are none. */
  readonly edit?: (edits: readonly HeaderEdit[], routeName: string) => void
  /** Tokens are judged by, and by keys. */
  readonly clocks: Pick<Context, 'clock' | 'tokenTime' | 'remoteKeys' | 'telemetry'>
}

export type Common = {
  /** Wait so long before doing it (a fault). */
  readonly delayMs: number
  /** What AUDIT and dry-run policies found, for counters and logs; undefined in the usual case of none. */
  readonly shadow: readonly ShadowDecision[] | undefined
  /** Of the route that matched, whatever became of the request then; '' = it has no name, or there was none. */
  readonly routeName: string
  /** That it leads to, where that is one; for logs. */
  readonly routeCluster?: string | undefined
  /** Of every answer, also of our own; in the order they apply, empty in the usual case. */
  readonly responseEdits: readonly HeaderEdit[]
  /** So many of them are the route's and of the filter that answers, and come first; left out: all. */
  readonly routeEdits?: number
  /** What rate limits have found, for counters. */
  readonly limited?: readonly LimitFound[] | undefined
  /** Of a cross-origin request. */
  readonly cors?: CorsDecision | undefined
  /** The endpoint that a client wants, and is told. */
  readonly session?: Session | undefined
  /** It is a question whether this node is well. `keepsHealth`: the answer is kept for others. */
  readonly health?: HealthCheckFilter | undefined
  readonly keepsHealth?: boolean | undefined
  /** In the order they apply. Of a request that goes nowhere, too: headers of the answer may say its own. */
  readonly requestEdits?: readonly HeaderEdit[]
  /** What the filters that were passed make of bodies. */
  readonly bodies?: readonly BodyFilter[] | undefined
}
export type Plan = ForwardPlan | AnswerPlan | RefusePlan | DeniedPlan | PausedPlan
/** Something is waited for; then it goes on. */
export type PausedPlan = WaitPlan | GatherPlan | KeysPlan | LimitPlan
/** A key that a token names is looked for at its issuer; then it goes on. */
export type KeysPlan = Common & {
  readonly kind: 'keys'
  /** Never rejects. */
  readonly looked: Promise<unknown>
  resume(): Plan
}
/** A service that counts requests is asked; with its answer it goes on. */
export type LimitPlan = Common & {
  readonly kind: 'limit'
  readonly service: GrpcAuthService
  readonly question: FramedQuestion
  resume(answer: LimitAnswer): Plan
}
/** All of the body is awaited, if it is not larger; then it goes on. */
export type GatherPlan = Common & {
  readonly kind: 'gather'
  readonly maxBytes: number
  resume(isTooLarge: boolean): Plan
}
/** An authorization service is asked; with its verdict it goes on. */
export type WaitPlan = Common & {
  readonly kind: 'wait'
  readonly authz: ExtAuthz
  /** What of the body it gets. */
  readonly authBody: AuthBody | undefined
  readonly context: Readonly<Record<string, string>>
  resume(verdict: Verdict): Plan
}
/** An authorization service has refused, or could not be asked, or a rate limit: their own words. */
export type DeniedPlan = Common & {
  readonly kind: 'denied'
  readonly status: number
  /** A byte a character. */
  readonly body: string
  /** Of gRPC callers, where it does not follow from the status. */
  readonly grpcStatus?: number | undefined
  readonly error: MeshError
  /** Envoy's %RESPONSE_CODE_DETAILS%, where it does not follow from the error. */
  readonly details?: string
}
export type ForwardPlan = Common & {
  readonly kind: 'forward'
  readonly routed: Routed
  readonly action: ForwardAction
  readonly cluster: Cluster
  readonly retry: RetryPolicy | undefined
  /** Undefined: as agent.yaml says. */
  readonly retriesUnsafe?: boolean | undefined
  /** To be asked for; it is permitted. */
  readonly upgrade: string | undefined
  /** After rewrites. */
  readonly path: string
  readonly authority: string
  /** A rewrite says `authority`, perhaps the same as before. */
  readonly hasNewHost?: boolean
  readonly requestEdits: readonly HeaderEdit[]
  /** So many of them are those of filters, and come first; left out: none. */
  readonly filterEdits?: number
  /** Get a copy of the request. */
  readonly mirrors?: readonly MirrorTarget[] | undefined
}
/** A direct response, a redirect (`location`), an injected abort (`fault`) or a preflight's answer (`fields`). */
export type AnswerPlan = Common & {
  readonly kind: 'answer'
  readonly status: number
  readonly body: string
  readonly location: string | undefined
  readonly fault: InjectedFault['abort']
  /** A preflight's, flat; there is no body. */
  readonly fields?: readonly string[]
  /** Envoy's %RESPONSE_CODE_DETAILS%; left out: direct_response. */
  readonly details?: string
}
/**
 * `error`: MESH_PEER_NOT_ALLOWED (then `rule` says which), MESH_TOKEN_REFUSED, MESH_TOKEN_AUDIENCE, MESH_CHAIN_BLOCKED, MESH_ROUTE_BLOCKED, MESH_NO_ROUTE,
 * MESH_UPGRADE_NOT_PERMITTED or MESH_NO_CLUSTER.
 */
export type RefusePlan = Common & {
  readonly kind: 'refuse'
  readonly error: MeshError
  readonly rule: string | undefined
  /** Of the answer, where the error's own does not count. */
  readonly status?: number
}
