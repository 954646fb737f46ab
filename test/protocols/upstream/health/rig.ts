/** A health check, and a cluster whose hosts are asked by it. */
import type { Cluster } from '../../../../model/cluster.ts'
import type { HealthCheck, HttpAsk } from '../../../../model/http/health-check.ts'
import { cluster, endpoint, ORIGIN } from '../../http/harness.ts'

export const HTTP: HttpAsk = {
  kind: 'http',
  method: 'GET',
  path: '/healthz',
  host: '',
  headers: { add: [], remove: [] },
  body: new Uint8Array(),
  codec: 'http1',
  expected: [{ start: 200, end: 201 }],
  retriable: [],
  receive: [],
  maxBodyBytes: 1024,
}

export function checkOf(
  more: Partial<HealthCheck> = {},
  intervals: Partial<HealthCheck['intervals']> = {},
): HealthCheck {
  return {
    asks: HTTP,
    timeoutMs: 1_000,
    unhealthyThreshold: 2,
    healthyThreshold: 2,
    reusesConnection: true,
    logsFailures: false,
    logsSuccesses: false,
    intervals: {
      healthyMs: 10_000,
      healthyEdgeMs: 3_000,
      unhealthyMs: 5_000,
      unhealthyEdgeMs: 2_000,
      noTrafficMs: 60_000,
      noTrafficHealthyMs: 40_000,
      initialJitterMs: 0,
      jitterMs: 0,
      jitterPercent: 0,
      ...intervals,
    },
    ...more,
  }
}

/** Without panic: who is not well gets nothing. */
export function checkedCluster(check: HealthCheck, more: Partial<Cluster> = {}): Cluster {
  return cluster([endpoint(ORIGIN.host, ORIGIN.port)], { healthCheck: check, panicPercent: 0, ...more })
}
export const WELL = 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n'
export const UNWELL = 'HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n'
