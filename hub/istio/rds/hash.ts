/** What of a request decides about its host (core/route/route.go consistentHashToHashPolicy). */
import { formatDuration } from '../kinds/durations.ts'
import type { ConsistentHash, TrafficPolicy } from '../kinds/destination-rule.ts'
import type { Destination } from '../kinds/fields.ts'
import { compact, type Json } from '../json.ts'
import type { Proxy } from '../mesh/proxy.ts'
import { chooseRule } from '../mesh/sidecar-scope.ts'
import { selectSubset } from '../mesh/traffic-policy.ts'

export function makeHashPolicy(hash: ConsistentHash): Json {
  if (hash.httpHeaderName !== undefined) return { header: { header_name: hash.httpHeaderName } }
  if (hash.httpQueryParameterName !== undefined) return { query_parameter: { name: hash.httpQueryParameterName } }
  if (hash.httpCookie === undefined) return { connection_properties: { source_ip: hash.useSourceIp === true } }
  const { name, ttl, path, attributes } = hash.httpCookie
  return {
    cookie: compact({
      name,
      ttl: ttl && formatDuration(ttl),
      path: path || undefined,
      attributes: attributes?.length ? attributes.map((a) => compact({ name: a.name, value: a.value })) : undefined,
    }),
  }
}

function ofPort(policy: TrafficPolicy | undefined, port: number | undefined): ConsistentHash | undefined {
  return policy?.portLevelSettings?.find((s) => s.port.number === port)?.loadBalancer?.consistentHash
}

/** Of a destination that a route names: the port's, the subset's, the rule's. */
export function findHash(proxy: Proxy, { host, subset = '', port }: Destination): ConsistentHash | undefined {
  const rule = chooseRule(proxy.mesh, proxy, proxy.scope.byHost.get(host))?.spec
  const own = selectSubset(rule, subset)?.trafficPolicy
  return (
    ofPort(own, port?.number) ??
    own?.loadBalancer?.consistentHash ??
    ofPort(rule?.trafficPolicy, port?.number) ??
    rule?.trafficPolicy?.loadBalancer?.consistentHash
  )
}

/** Of a service without routes. */
export function findServiceHash(proxy: Proxy, host: string, port: number): ConsistentHash | undefined {
  const policy = chooseRule(proxy.mesh, proxy, proxy.scope.byHost.get(host))?.spec.trafficPolicy
  return ofPort(policy, port) ?? policy?.loadBalancer?.consistentHash
}
