/** Questions whether this node is well (envoy.filters.http.health_check): which they are, and what they are told. */
import { memoize } from '../../../core/memoize.ts'
import type { Clock } from '../../../core/os/clock.ts'
import type { Cluster } from '../../../model/cluster.ts'
import type { HealthCheckFilter } from '../../../model/http/health-check-filter.ts'
import { matchesHeader } from '../../../model/matcher.ts'
import type { Tables } from '../../../model/tables.ts'
import { collectHeaderValues, type RequestFacts } from '../../router.ts'
import type { Downstream, RequestHead, ResponseHead } from '../message.ts'
import { Through } from './bodies/through.ts'

/** Hosts of a cluster, and those of them that get requests. */
export type HostCount = { readonly total: number; readonly available: number }

/** Who knows how the node and its endpoints are: one for everybody with the same context. */
class NodeHealth {
  /** All of it; a connection may end in order for other reasons (its certificate, its listener's settings). */
  isDraining = false
  #count: (cluster: Cluster) => HostCount = () => ({ total: 0, available: 0 })

  use(count: (cluster: Cluster) => HostCount): void {
    this.#count = count
  }
  count(cluster: Cluster): HostCount {
    return this.#count(cluster)
  }
}
export const getNodeHealth = memoize((_ctx: object) => new NodeHealth())

/** What the endpoint said last. Shared by all connections of the listener. */
class KeptAnswer {
  #status = 0
  #isDegraded = false
  #untilMs = -Infinity

  keep(status: number, isDegraded: boolean, untilMs: number): void {
    this.#status = status
    this.#isDegraded = isDegraded
    this.#untilMs = untilMs
  }
  find(nowMs: number): { readonly status: number; readonly isDegraded: boolean } | undefined {
    return nowMs < this.#untilMs ? { status: this.#status, isDegraded: this.#isDegraded } : undefined
  }
}
const getKept = memoize((_filter: HealthCheckFilter) => new KeptAnswer())

export type HealthAsk = {
  readonly request: RequestFacts
  readonly isDraining: boolean
  readonly tables: Tables
  readonly clock: Pick<Clock, 'monotonicMs'>
  readonly hosts: { count(cluster: Cluster): HostCount }
}
/** `details`: Envoy's %RESPONSE_CODE_DETAILS%. */
export type HealthTold = { readonly status: number; readonly details: string; readonly isDegraded?: boolean }

export function isHealthCheck({ headers }: HealthCheckFilter, request: RequestFacts): boolean {
  return headers.every((match) => matchesHeader(match, collectHeaderValues(request, match.name)))
}

/** @returns undefined: the endpoint is asked */
export function tellHealth(filter: HealthCheckFilter, ask: HealthAsk): HealthTold | undefined {
  if (ask.isDraining) return failed('health_check_failed')
  if (filter.passesThrough) {
    const kept = filter.cacheMs > 0 ? getKept(filter).find(ask.clock.monotonicMs()) : undefined
    return kept && { ...kept, details: 'health_check_cached' }
  }
  let details = 'health_check_ok'
  for (const { name, minPercent } of filter.clusters) {
    const why = findLack(ask, name, minPercent)
    if (why !== undefined) return failed(why)
    details = 'health_check_ok_cluster_healthy'
  }
  return { status: 200, details }
}
const failed = (details: string): HealthTold => ({ status: 503, details })

function findLack({ tables, hosts }: HealthAsk, name: string, minPercent: number): string | undefined {
  const cluster = tables.cluster(name)
  if (!cluster) return 'health_check_failed_no_cluster_found'
  const { total, available } = hosts.count(cluster)
  if (total === 0) return minPercent === 0 ? undefined : 'health_check_failed_cluster_empty'
  return 100 * available < total * minPercent ? 'health_check_failed_cluster_unhealthy' : undefined
}

/**
 * As in Envoy nobody reports its trace.
 * @returns the client's side; what it is told is kept where others are to be told the same
 */
export function watchHealth(
  {
    health,
    keepsHealth,
  }: { readonly health?: HealthCheckFilter | undefined; readonly keepsHealth?: boolean | undefined },
  { request, down }: { readonly request: RequestHead; readonly down: Downstream },
  clock: Pick<Clock, 'monotonicMs'>,
): Downstream {
  if (request.span) request.span = { ...request.span, isSampled: false }
  return health && keepsHealth ? new Keeping(health, down, clock) : down
}
class Keeping extends Through {
  readonly #filter: HealthCheckFilter
  readonly #clock: Pick<Clock, 'monotonicMs'>

  constructor(filter: HealthCheckFilter, inner: Downstream, clock: Pick<Clock, 'monotonicMs'>) {
    super(inner)
    this.#filter = filter
    this.#clock = clock
  }
  override sendHead(head: ResponseHead, end: boolean): void {
    const isDegraded = head.headers.includes('x-envoy-degraded')
    getKept(this.#filter).keep(head.status, isDegraded, this.#clock.monotonicMs() + this.#filter.cacheMs)
    super.sendHead(head, end)
  }
}
