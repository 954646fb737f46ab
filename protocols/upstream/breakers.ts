/** What a cluster may have under way at once (envoy.config.cluster.v3.CircuitBreakers, DEFAULT priority). */
import type { Breakers } from '../../agent/model/cluster.ts'

export class Load {
  connections = 0
  pending = 0
  requests = 0
  retries = 0

  mayConnect({ maxConnections }: Breakers): boolean { return this.connections < maxConnections }
  mayWait({ maxPendingRequests }: Breakers): boolean { return this.pending < maxPendingRequests }
  mayRequest({ maxRequests }: Breakers): boolean { return this.requests < maxRequests }
  mayRetry({ maxRetries, retryBudget }: Breakers): boolean {
    if (!retryBudget) return this.retries < maxRetries
    return this.retries < Math.max(retryBudget.minConcurrent, (this.requests * retryBudget.percent) / 100)
  }
}
