import type { HeaderMatch } from '../matcher.ts'

/** envoy.extensions.filters.http.health_check.v3.HealthCheck: questions whether this node is well. */
export type HealthCheckFilter = {
  /** The endpoint is asked, too; else the answer is given here. */
  readonly passesThrough: boolean
  /** Which requests are such questions: all of them hold. */
  readonly headers: readonly HeaderMatch[]
  /** What the endpoint said is said again for so long; 0 = it is asked each time. */
  readonly cacheMs: number
  /** This node is well while so many percent of each cluster's endpoints are; not asked where it passes through. */
  readonly clusters: readonly { readonly name: string; readonly minPercent: number }[]
}
